"""One attempt of a stage, open or closed: what it rests on and what it sees.

A view starts nothing and writes nothing; `attempt.context` adds the means.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypedDict, TypeVar

from pydantic import ValidationError

from assets.config.environment import COMPUTE_LIMIT, Environment, Profile
from assets.config.settings import CampaignSettings, recorded_settings
from assets.config.setup import Setup
from assets.models.brief import brief_of
from assets.models.requests import EnvironmentBrief
from assets.results.better import Better
from assets.results.compute import ComputeRule
from assets.results.history import History
from assets.results.judging import Rule
from assets.results.memory import MemoryRule
from assets.strategies import Proof, Strategy, strategy_of
from lake.attempts import Attempt, AttemptLog, AttemptState, Read
from lake.delta import Lake
from lake.ids import content_id
from lake.stages import stage_of
from lake.tables import Row, Run, Stage

R = TypeVar("R", bound=Row)


class Keys(TypedDict):
    """Columns that every row of an attempt carries."""

    campaign: str
    epoch: int
    n: int


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One attempt of one stage of one epoch."""

    campaign: str
    setup: Setup
    lake: Lake
    log: AttemptLog
    attempt: Attempt
    history: History
    _known: dict[Read, list[Any]] = field(default_factory=dict, init=False, repr=False)
    """Rows that were already read, by the read."""

    @property
    def settings(self) -> CampaignSettings:
        """Of the campaign; for a closed attempt, those that it was made under.

        Those that a version with other keys recorded cannot be read: then today's stand here.
        """
        return self.setup.settings

    @property
    def environment(self) -> Environment:
        """What is patched."""
        return self.setup.environment

    @property
    def profile(self) -> Profile:
        """The size that is run."""
        return self.setup.profile

    @property
    def epoch(self) -> int:
        """From 0."""
        return self.attempt.epoch

    @property
    def n(self) -> int:
        """Number of the attempt."""
        return self.attempt.n

    @property
    def stage(self) -> Stage:
        """What is worked on."""
        return self.attempt.stage

    @property
    def keys(self) -> Keys:
        """Columns that every row of the attempt carries."""
        return Keys(campaign=self.campaign, epoch=self.epoch, n=self.n)

    @property
    def better(self) -> Better:
        """What counts as better."""
        return Better.of(self.environment.manifest)

    @property
    def strategy(self) -> Strategy:
        """How the campaign searches."""
        return strategy_of(self.settings.strategy, self.better)

    @property
    def proof(self) -> Proof:
        """What a value must rest on before its idea may be a parent or the winner."""
        deep = self.environment.manifest.audit.deep
        return Proof(deep=deep, confirmations=self.settings.confirm.needed)

    @cached_property
    def brief(self) -> EnvironmentBrief:
        """What models are told about the environment."""
        return brief_of(self.environment, self.settings.profile)

    @cached_property
    def chain(self) -> dict[Stage, Read]:
        """The attempts of this epoch that this one rests on, each as it was read."""
        return self.log.chain(self.attempt.reads, self.epoch)

    def rows(self, row_type: type[R]) -> Sequence[R]:
        """The rows of a stage of this epoch, as this attempt sees them; read once.

        Args:
            row_type: of an earlier stage, or of the stage itself where the attempt is complete.
        """
        stage = stage_of(row_type)
        read = self.attempt.read if stage is self.stage else self.chain[stage]
        if read not in self._known:
            self._known[read] = self.lake.layer(row_type, self.campaign, read)
        return self._known[read]

    @cached_property
    def baselines(self) -> list[Run]:
        """The first epoch's runs of the unpatched environment, as this attempt recorded its read.

        The current ones where it recorded none.
        """
        reads = [text for text in self.attempt.reads if _is_of_baselines(Read.parse(text))]
        if not reads:
            return self.history.baseline_runs()
        seen = self.history.read_by(reads)
        return [each.run for each in seen if each.is_baseline and each.run is not None]

    def seed(self, *purpose: str | int) -> int:
        """A number from the random stream (campaign seed, epoch, attempt, purpose)."""
        return int(content_id(self.settings.seed, self.epoch, self.n, *purpose), 16) % 2**31

    def compute_rule(
        self, own: Sequence[Run], *, limit: float = COMPUTE_LIMIT
    ) -> ComputeRule | None:
        """The CPU-time rule, where the profile has one.

        Args:
            own: baseline runs of this epoch; they count in the first epoch, which has no others.
            limit: largest share of the baseline's compute.
        """
        if self.profile.compute != "cpu":
            return None
        return ComputeRule.of(self._compared(own), limit=limit)

    def rules(self, own: Sequence[Run], *, limit: float = COMPUTE_LIMIT) -> list[Rule]:
        """What the baseline says of any run.

        Args:
            own: as for the CPU-time rule.
            limit: of the CPU-time rule.
        """
        compute = self.compute_rule(own, limit=limit)
        memory = MemoryRule.of(self._compared(own), self.environment.manifest, self.profile)
        return [rule for rule in (compute, memory) if rule is not None]

    def _compared(self, own: Sequence[Run]) -> Sequence[Run]:
        return self.baselines if self.epoch else own


def _is_of_baselines(read: Read) -> bool:
    return read.stage is Stage.RUNS and read.epoch == 0


def view_of(
    setup: Setup, lake: Lake, log: AttemptLog, attempt: Attempt, *, reads: Sequence[str] = ()
) -> AttemptView:
    """An attempt as it is worked on, or as it was: a closed one with the settings that it recorded.

    What of the settings decides an open attempt is the same now as when it began; the rest may have
    changed, and holds as it is now. So do all settings where the recorded ones cannot be read.

    Args:
        setup: the campaign as it is on disk now.
        lake: where the rows are.
        log: the campaign's attempts.
        attempt: of any state.
        reads: what it rests on, where that has grown since it was recorded.
    """
    settings = setup.settings
    if attempt.state is not AttemptState.OPEN and attempt.config:
        with suppress(ValidationError):  # of a version with other keys
            settings = recorded_settings(attempt.config)
    return AttemptView(
        campaign=attempt.campaign,
        setup=replace(setup, settings=settings),
        lake=lake,
        log=log,
        attempt=replace(attempt, reads=tuple(reads)) if reads else attempt,
        history=History(lake, log, attempt.campaign),
    )
