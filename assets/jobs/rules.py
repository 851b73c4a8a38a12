"""How a pool treats its jobs: what whoever makes one may choose."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from launchers import JobResult

MOST_RESTARTS = 1
"""Times that a process starts a job again after an end that says nothing: lost, infrastructure.
Whoever runs the command again, perhaps after a repair, gives it one more try."""


def always(result: JobResult) -> bool:
    """Whatever the result."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a pool treats its jobs."""

    stopped: str
    """What is said when the user has stopped it."""
    may_restart: Callable[[JobResult], bool] = always
    """Whether another try may help after a result that says nothing."""
    quorum: float = 1.0
    """Share of the jobs that must have ended for `run` to return, once all have begun."""
    beside: Collection[str] = ()
    """Run ids of jobs of other attempts that may still take slots."""
    flushes: bool = True
    """Whether what is recorded is moved to the lake meanwhile; not where somebody else does."""
