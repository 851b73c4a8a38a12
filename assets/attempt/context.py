"""What a stage is given and what it gives back: a view of its attempt, and means to work on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from assets.attempt.monitor import Monitor, Stop
from assets.attempt.spending import Spending
from assets.attempt.view import AttemptView
from assets.models.roles import Cast
from lake.tables import Completion, Row
from lake.writer import Writer
from launchers import Launcher

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """The rows of a stage attempt, committed together, and figures about them."""

    rows: Sequence[Row]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """An attempt, and all that may be used to work on it."""

    view: AttemptView
    writer: Writer
    cast: Callable[[], Cast]
    """Makes the models of the campaign; only stages that ask models need them."""
    launcher: Launcher
    level: str
    """Sandbox level that the attempt's jobs run at."""
    spending: Spending
    monitor: Monitor
    stop: Stop

    @cached_property
    def models(self) -> Cast:
        """Who answers."""
        return self.cast()

    def facts(self, row_type: type[R]) -> list[R]:
        """What this attempt recorded before it was resumed."""
        return self.writer.facts(row_type, self.view.attempt)

    @cached_property
    def stored_completions(self) -> Mapping[str, Completion]:
        """Model calls that this attempt had paid for before it was resumed, by id."""
        return {row.completion_id: row for row in self.facts(Completion)}

    def record(self, *rows: Row) -> None:
        """Make facts durable now; they reach the lake within about a second."""
        self.writer.record(*rows)
