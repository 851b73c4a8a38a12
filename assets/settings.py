"""What a campaign's `defs.yaml` may say: every key with its type, bounds and default.

Defaults are the paper's (arXiv 2601.14525). Keys that ask for more than exists are known and
refused with "not available yet", so that a file written for them fails on load and not at night.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assets.errors import CampaignError

COMPONENT = "assets.campaign.Campaign"
NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"


class Section(BaseModel):
    """A part of `defs.yaml`: unknown keys are errors, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Strategy(Section):
    """How an epoch's ideas follow from earlier scores."""

    kind: Literal["evolution", "best_of_n", "rl"] = "evolution"
    ideas_per_call: Annotated[int, Field(ge=1, le=100)] = 10
    parents: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most ideas above the baseline that exploitation varies."""
    context: Annotated[int, Field(ge=0, le=1000)] = 100
    """Most earlier ideas that exploration is shown."""


class Ideator(Section):
    """A model that proposes ideas."""

    model: Literal["anthropic", "openai", "catalog", "recorded"]
    name: str | None = None
    """Which model of the provider; for `catalog` a catalog file, default: the environment's own."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    options: dict[str, Any] = Field(default_factory=dict)


class Implementer(Section):
    """The model that turns ideas into patches."""

    model: Literal["anthropic", "openai", "catalog", "recorded"]
    name: str | None = None
    diffs: Annotated[int, Field(ge=1, le=100)] | None = None
    revisions: Annotated[int, Field(ge=0, le=10)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Confirm(Section):
    """Winners that run again with more seeds."""

    top: Annotated[int, Field(ge=0, le=100)] = 0
    seeds: Annotated[int, Field(ge=1, le=100)] = 3


class LauncherSettings(Section):
    """Where jobs run."""

    kind: Literal["local", "sky"] = "local"
    slots: Annotated[int, Field(ge=1, le=1024)] = 2
    """Jobs at once."""


class Budget(Section):
    """What may be spent; None is no cap."""

    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_gpu_hours: Annotated[float, Field(gt=0)] | None = None


class CampaignSettings(Section):
    """The `attributes` of a campaign."""

    environment: Annotated[str, Field(min_length=1)]
    """Name of a folder in `environments/`, or a path from the project's top."""
    profile: Annotated[str, Field(min_length=1)] = "cpu"
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    batch: Annotated[int, Field(ge=1, le=10_000)] = 80
    """Ideas an epoch."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    strategy: Strategy = Strategy()
    ideators: Annotated[list[Ideator], Field(min_length=1)]
    implementer: Implementer
    confirm: Confirm = Confirm()
    launcher: LauncherSettings = LauncherSettings()
    sandbox: Literal["auto", "bwrap", "landlock", "none"] = "auto"
    budget: Budget = Budget()
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of an epoch's jobs that must end before it counts as complete."""
    remeasure: bool = False
    """Whether a rerun buys every job again, so that noise is measured anew."""

    @model_validator(mode="after")
    def _only_what_exists(self) -> "CampaignSettings":
        asked = [message for wanted, message in self._later_work() if wanted]
        if asked:
            raise ValueError("; ".join(f"{message} is not available yet" for message in asked))
        return self

    def _later_work(self) -> list[tuple[bool, str]]:
        models = {i.model for i in self.ideators}
        diffs, revisions = self.implementer.diffs, self.implementer.revisions
        return [
            (self.strategy.kind == "rl", "strategy.kind: rl"),
            (models != {"catalog"}, f"ideators: {', '.join(sorted(models - {'catalog'}))}"),
            (len(self.ideators) > 1, "ideators: more than one"),
            (self.implementer.model != "catalog", f"implementer.model: {self.implementer.model}"),
            (
                (diffs or 1) > 1,
                f"implementer.diffs: {diffs} (catalog gives one answer, expected 1)",
            ),
            (any(i.options for i in self.ideators), "ideators.options (catalog takes none)"),
            (bool(self.implementer.options), "implementer.options (catalog takes none)"),
            ((revisions or 0) > 0, f"implementer.revisions: {revisions} (catalog, expected 0)"),
            (self.confirm.top > 0, f"confirm.top: {self.confirm.top}"),
            (self.launcher.kind == "sky", "launcher.kind: sky"),
            (self.budget != Budget(), "budget"),
            (self.quorum < 1, f"quorum: {self.quorum} (below 1)"),
        ]


def campaign_names(folder: Path) -> list[str]:
    """Every folder with a `defs.yaml`, readable or not."""
    return sorted(path.parent.name for path in folder.glob("*/defs.yaml"))


def read_campaign(folder: Path, name: str) -> CampaignSettings:
    """Load the campaign called `name`.

    Raises:
        CampaignError: if there is none, its name cannot be a Dagster name, or its file is wrong.
    """
    path = folder / name / "defs.yaml"
    if not path.is_file():
        known = ", ".join(campaign_names(folder)) or "none"
        raise CampaignError(
            f"{folder}: no campaign {name!r}; there is {known}. "
            "A campaign is a folder with a defs.yaml"
        )
    if not re.match(NAME_PATTERN, name):
        raise CampaignError(
            f"{path}: the folder name {name!r} cannot be a campaign's; expected a letter, "
            "then letters, digits and underscores"
        )
    return read_settings(path)


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def read_settings(path: Path) -> CampaignSettings:
    """Load one `defs.yaml`.

    Raises:
        CampaignError: naming the file and, for each wrong field, what was found and expected.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CampaignError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(document, dict) or document.get("type") != COMPONENT:
        found = document.get("type") if isinstance(document, dict) else type(document).__name__
        raise CampaignError(
            f"{path}: type: found {found!r}, expected {COMPONENT!r} with its `attributes` below it"
        )
    unknown = sorted(set(document) - {"type", "attributes"})
    if unknown:
        raise CampaignError(f"{path}: {unknown[0]}: unknown key, expected `type` and `attributes`")
    try:
        return CampaignSettings.model_validate(document.get("attributes") or {})
    except ValidationError as error:
        raise CampaignError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = [f"{path}: {len(error.errors())} field(s) cannot be used"]
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "attributes"
        found = (
            ""
            if problem["type"] in ("missing", "value_error")
            else f" (found {problem['input']!r})"
        )
        expected = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            expected = f"unknown key; expected one of {_known_keys(problem['loc'])}"
            found = ""
        lines.append(f"  {field}: {expected}{found}")
    return "\n".join([*lines, "Mend the file and run the command again; nothing was changed."])


def _known_keys(location: tuple[int | str, ...]) -> str:
    """Keys of the section that an unknown key stands in."""
    section: Any = CampaignSettings
    for part in location[:-1]:
        if isinstance(part, str):
            kind = section.model_fields[part].annotation
            section = next((inner for inner in get_args(kind) if inner is not type(None)), kind)
    return ", ".join(section.model_fields)
