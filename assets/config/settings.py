"""What a campaign's `defs.yaml` may say: every key with its type, bounds and default.

Defaults are the paper's (arXiv 2601.14525). Keys for what does not exist yet are refused with
"not available yet", so that a file written for them fails on load and not hours later.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from assets.config.connection import Connection, StrictModel
from assets.config.roles import (
    CATALOG,
    DIFFS,
    PROVIDERS,
    RECORDED,
    REVISIONS,
    WITHOUT_PROVIDER,
    Ideator,
    Implementer,
    ProviderSettings,
    Role,
    connection_of,
)
from assets.config.yaml_file import explain, read_yaml, words_of
from assets.errors import CampaignError
from lake.stages import DEFINITIONS, Definitions, of_strategy

THRESHOLD = 0.65
"""Jaccard similarity from which two ideas count as one. Measured. Different ideas: at most 0.35 (46
of the catalog, 1,035 pairs), at most 0.49 (6 pairs about the same lines of code). Copies with
slight changes of wording: 0.81 to 0.93 (6). Rewordings: 0.13 to 0.24 (6), which no threshold
finds."""
COMPONENT = "assets.campaign.Campaign"
NAME_PATTERN = r"[A-Za-z][A-Za-z0-9_]{0,99}"


class StrategySettings(StrictModel):
    """How an epoch's ideas follow from earlier scores."""

    kind: Literal["evolution", "best_of_n", "rl"] = "evolution"
    ideas_per_call: Annotated[int, Field(ge=1, le=100)] = 10
    parents: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most ideas above the baseline that exploitation varies."""
    context: Annotated[int, Field(ge=0, le=1000)] = 100
    """Most earlier ideas that exploration is shown."""


class Novelty(StrictModel):
    """What a language model's idea must differ in from all ideas of the campaign."""

    threshold: Annotated[float, Field(gt=0, le=1)] = THRESHOLD
    """Jaccard similarity of their words from which an idea is rejected; 1 rejects copies only."""
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    """Answers of one call that may hold rejected ideas."""


class Confirm(StrictModel):
    """Winners that run again with more seeds."""

    top: Annotated[int, Field(ge=0, le=100)] = 0
    """Best ideas of an epoch that are run again; 0 for no confirmation."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """Runs of each of them, with seeds that were drawn after the patch."""

    @property
    def needed(self) -> int:
        """Valid confirmations that a parent must have."""
        return self.seeds if self.top else 0


class LauncherSettings(StrictModel):
    """Where jobs run."""

    kind: Literal["local", "sky"] = "local"
    slots: Annotated[int, Field(ge=1, le=1024)] = 2
    """Jobs at once."""


Cap = Annotated[float, Field(gt=0)] | None


class Budget(StrictModel):
    """What may be spent; None is no cap. At a cap nothing new starts and what runs is kept."""

    max_usd: Cap = None
    """US dollars, for the whole campaign with all its attempts."""
    max_gpu_hours: Cap = None
    max_usd_per_epoch: Cap = None
    max_gpu_hours_per_epoch: Cap = None

    @property
    def caps_money(self) -> bool:
        """Whether prices must be known."""
        return self.max_usd is not None or self.max_usd_per_epoch is not None


class CampaignSettings(StrictModel):
    """The `attributes` of a campaign."""

    environment: Annotated[str, Field(min_length=1)]
    """Name of a folder in `environments/`, or a path from the project's top."""
    profile: Annotated[str, Field(min_length=1)] = "cpu"
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    batch: Annotated[int, Field(ge=1, le=10_000)] = 80
    """Ideas per epoch."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    strategy: StrategySettings = StrategySettings()
    ideators: Annotated[list[Ideator], Field(min_length=1)]
    implementer: Implementer
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    """By name; `anthropic` and `openai` are there by default."""
    novelty: Novelty = Novelty()
    confirm: Confirm = Confirm()
    launcher: LauncherSettings = LauncherSettings()
    published: bool = False
    """Whether a model may write patches although the hidden data of the profile were published."""
    sandbox: Literal["auto", "bwrap", "landlock", "none"] = "auto"
    budget: Budget = Budget()
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of an epoch's jobs that must end before it counts as complete, once all have begun.
    Later ones join their own epoch when they end."""
    remeasure: bool = False
    """Whether a rerun runs every job again, so that noise is measured again."""

    @model_validator(mode="after")
    def _only_what_exists(self) -> "CampaignSettings":
        asked = [message for wanted, message in self._later_work() if wanted]
        if asked:
            raise ValueError("; ".join(f"{message} is not available yet" for message in asked))
        return self

    @model_validator(mode="after")
    def _roles_fit(self) -> "CampaignSettings":
        named = [(f"ideators.{n}", role) for n, role in enumerate(self.ideators)]
        problems = []
        for where, role in [*named, ("implementer", self.implementer)]:
            try:
                self._check_role(role)
            except ValueError as error:
                problems.append(f"{where}: {words_of(error)}")
        if self.implementer.model == CATALOG:
            problems += [f"implementer: {words}" for words in self._unfit_for_a_catalog()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unfit_for_a_catalog(self) -> Iterator[str]:
        """Why the implementer cannot be a catalog, which knows the edits of its own ideas only."""
        file = self.catalog_of(self.implementer)
        for n, role in enumerate(self.ideators):
            if role.model not in WITHOUT_PROVIDER:
                yield (
                    f"model: found catalog, which has no edits for ideas of ideators.{n} "
                    f"({role.model}), expected the name of a provider"
                )
            elif role.model == CATALOG and self.catalog_of(role) != file:
                own, other = (name or "the environment's own" for name in (file, role.name))
                yield (
                    f"name: found the catalog {own}, but ideators.{n} draws from {other}, "
                    "expected one catalog for all"
                )
        one = "catalog gives one answer"
        if self.samples > 1:
            yield f"diffs: found {self.samples}, {one}, expected 1"
        if self.revisions:
            yield f"revisions: found {self.revisions}, {one}, expected 0"

    def _check_role(self, role: Role) -> None:
        """Whether a role's model is known and takes its options.

        Raises:
            ValueError: saying what was found and what was expected.
        """
        if role.model in WITHOUT_PROVIDER:
            if role.options:
                raise ValueError(f"options: found {sorted(role.options)}, {role.model} takes none")
            if role.model == RECORDED and role.name is None:
                raise ValueError("name: expected the campaign whose completions are used again")
            return
        connection = self.connection(role)
        if self.budget.caps_money and not connection.is_priced:
            raise ValueError(
                f"name: the price of {connection.name} is not known, so budget.max_usd could "
                f"not be kept; expected a `price` under providers.{role.model}"
            )

    def catalog_of(self, role: Role) -> str | None:
        """The file of a role whose model is `catalog`, from the project's top.

        None is the environment's own. An implementer that names none has the first ideator's.
        """
        first = self.ideators[0]
        if role.name is None and isinstance(role, Implementer) and first.model == CATALOG:
            return first.name
        return role.name

    def connection(self, role: Role) -> Connection:
        """How the model of a role is reached.

        Raises:
            ValueError: its provider is not known, or it cannot be asked like this.
        """
        provider = self.all_providers.get(role.model)
        if provider is None:
            known = ", ".join([*WITHOUT_PROVIDER, *self.all_providers])
            raise ValueError(f"model: found {role.model!r}, expected one of {known}")
        return connection_of(role, provider)

    @property
    def asking(self) -> tuple[Role, ...]:
        """Roles that ask a provider."""
        roles = (*self.ideators, self.implementer)
        return tuple(role for role in roles if role.model not in WITHOUT_PROVIDER)

    @property
    def all_providers(self) -> Mapping[str, ProviderSettings]:
        """Those that the file names, and the usual ones."""
        return {**PROVIDERS, **self.providers}

    @property
    def samples(self) -> int:
        """Answers that are asked for at once to patch one idea."""
        return self.implementer.diffs or (1 if self.implementer.model == CATALOG else DIFFS)

    @property
    def revisions(self) -> int:
        """How often failed answers are given back to the implementer."""
        given = self.implementer.revisions
        return given if given is not None else 0 if self.implementer.model == CATALOG else REVISIONS

    def stages(self, definitions: Definitions = DEFINITIONS) -> Definitions:
        """The stages that the campaign has, out of those that are declared."""
        return of_strategy(self.strategy.kind, definitions)

    def _later_work(self) -> list[tuple[bool, str]]:
        return [
            (self.strategy.kind == "rl", "strategy.kind: rl"),
            (self.launcher.kind == "sky", "launcher.kind: sky"),
        ]


def recorded_settings(config: str) -> CampaignSettings:
    """The settings in what an attempt recorded.

    Raises:
        ValidationError: they come from a version with other keys.
    """
    found = json.loads(config).get("settings", {})
    return CampaignSettings.model_validate_json(json.dumps(found))


def campaign_names(folder: Path) -> list[str]:
    """Every folder with a `defs.yaml`, readable or not."""
    return sorted(path.parent.name for path in folder.glob("*/defs.yaml"))


def read_campaign(folder: Path, name: str) -> CampaignSettings:
    """Load the campaign called `name`.

    Raises:
        CampaignError: if there is none, its name cannot be a Dagster name, or its file is wrong.
    """
    path = folder / name / "defs.yaml"
    if not os.path.isfile(path):  # a name may be too long to be asked for
        known = ", ".join(campaign_names(folder)) or "none"
        raise CampaignError(
            f"{folder}: no campaign {name!r}; there is {known}. "
            "A campaign is a folder with a defs.yaml"
        )
    if not re.fullmatch(NAME_PATTERN, name):
        raise CampaignError(
            f"{path}: the folder name {name!r} cannot be a campaign's; expected a letter, "
            "then up to 99 letters, digits and underscores"
        )
    return read_settings(path)


def read_settings(path: Path) -> CampaignSettings:
    """Load one `defs.yaml`.

    Raises:
        CampaignError: naming the file and, for each wrong field, what was found and expected.
    """
    document = read_yaml(path)
    if not isinstance(document, dict) or document.get("type") != COMPONENT:
        found = document.get("type") if isinstance(document, dict) else type(document).__name__
        raise CampaignError(
            f"{path}: type: found {found!r}, expected {COMPONENT!r} with its `attributes` below it"
        )
    unknown = sorted(map(str, document.keys() - {"type", "attributes"}))
    if unknown:
        raise CampaignError(f"{path}: {unknown[0]}: unknown key, expected `type` and `attributes`")
    try:
        return CampaignSettings.model_validate(document.get("attributes") or {})
    except ValidationError as error:
        raise CampaignError(explain(path, CampaignSettings, error)) from error
