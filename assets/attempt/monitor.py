"""What a long step tells whoever watches, and how the user tells it to stop."""

import threading
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsProgress:
    """Where the jobs of an epoch stand."""

    epoch: int
    total: int
    done: int
    running: int
    failed: int
    adopted: int
    what: str = "jobs"
    """What is counted: jobs, late jobs, audits of what they gave, or calls of models."""
    values: tuple[tuple[str, float], ...] = ()
    """(idea title, value as the evaluator reported it) of finished jobs; not judged yet."""


class Monitor(Protocol):
    """Somebody who watches."""

    def jobs(self, progress: JobsProgress) -> None:
        """Called when something changed, and about every second while jobs run."""
        ...


class Silent:
    """Nobody watches."""

    def jobs(self, progress: JobsProgress) -> None:
        """Nothing."""


class StopLevel(IntEnum):
    """How much the user wants to stop."""

    GO = 0
    """Work on."""
    FINISH = 1
    """No new work, wait for what runs."""
    CANCEL = 2
    """Cancel what runs."""


@dataclass(slots=True)
class Stop:
    """Raised by signals, read by loops; only ever goes up."""

    level: StopLevel = StopLevel.GO
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def press(self) -> StopLevel:
        """One more Ctrl-C."""
        with self._lock:
            self.level = StopLevel(min(self.level + 1, StopLevel.CANCEL))
            return self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the caller brings along: a monitor, a stop, perhaps a sandbox level.

    Nothing where Dagster runs the steps by itself.
    """

    monitor: Monitor = field(default_factory=Silent)
    stop: Stop = field(default_factory=Stop)
    sandbox: str | None = None
    """Level named on this call."""
    permitted: bool = True
    """Whether that level may be weaker than the campaign's own."""
