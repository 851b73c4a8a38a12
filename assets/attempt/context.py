"""What a stage is given and what it gives back. Stage files know nothing else of the house."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict, TypeVar

from assets.attempt.monitor import Monitor, Stop
from assets.attempt.spending import Spending
from assets.config.data import PreparedData
from assets.config.environment import Environment, Profile
from assets.config.settings import CampaignSettings
from assets.models.brief import brief_of
from assets.models.requests import EnvironmentBrief, Model
from assets.results.history import History
from lake.attempts import Attempt, AttemptLog, Read
from lake.delta import Lake
from lake.ids import content_id
from lake.tables import Completion, Row, RunEvent, Stage
from lake.writer import Writer
from launchers import Launcher

R = TypeVar("R", bound=Row)


class Keys(TypedDict):
    """Columns that every row of an attempt carries."""

    campaign: str
    epoch: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """The rows of a stage attempt, committed together, and figures about them."""

    rows: Sequence[Row]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """One attempt of one stage of one epoch, with all that it may use."""

    campaign: str
    settings: CampaignSettings
    environment: Environment
    profile: Profile
    data: PreparedData
    evaluator: str
    """Hash of what decides a score: scoring files, hidden data, audit settings, floor."""
    lake: Lake
    writer: Writer
    attempt: Attempt
    log: AttemptLog
    chain: Mapping[Stage, Read]
    """The attempts of this epoch that this one rests on."""
    history: History
    ideators: Sequence[Model]
    """As many as the settings name, in their order."""
    implementer: Model
    spending: Spending
    launcher: Launcher
    monitor: Monitor
    stop: Stop
    sandbox_level: str = "none"
    """Level that the attempt's jobs run at."""

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
    def minimize(self) -> bool:
        """Whether lower values of the metric are better."""
        return self.environment.manifest.direction == "minimize"

    @cached_property
    def brief(self) -> EnvironmentBrief:
        """What models are told of the environment."""
        return brief_of(self.environment, self.settings.profile)

    def seed(self, *purpose: str | int) -> int:
        """A number from the random stream (campaign seed, epoch, attempt, purpose)."""
        return int(content_id(self.settings.seed, self.epoch, self.n, *purpose), 16) % 2**31

    def upstream(self, row_type: type[R], stage: Stage) -> list[R]:
        """Rows of an earlier stage of this epoch, as this attempt sees them."""
        return self.lake.layer(row_type, self.campaign, self.chain[stage])

    def facts(self, row_type: type[R]) -> list[R]:
        """What this attempt recorded before it was resumed."""
        return self.writer.facts(row_type, self.attempt)

    @cached_property
    def stored_completions(self) -> Mapping[str, Completion]:
        """Model calls that this attempt had paid for before it was resumed, by id."""
        return {row.completion_id: row for row in self.facts(Completion)}

    @cached_property
    def stored_events(self) -> frozenset[str]:
        """Ids of what this attempt had recorded of its jobs before it was resumed."""
        return frozenset(row.event_id for row in self.facts(RunEvent))

    def record(self, *rows: Row) -> None:
        """Make facts durable now; they reach the lake within about a second."""
        self.writer.record(*rows)
