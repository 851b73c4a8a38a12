"""One job as a stage wants it, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lake.tables import Blame, Run, RunStatus
from launchers import JobResult, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for a launcher."""

    ordinal: int
    """Place in its attempt, from 0; different for each job of an attempt."""
    run_id: str
    """Equal for identical jobs of an attempt; they run once."""
    run_key: str
    """What is computed: one result may stand in for another job of the same key."""
    spec: Callable[[], JobSpec]
    """Made when the job starts, since time limits follow from jobs that have ended."""
    files: Callable[[], Mapping[str, bytes]]
    """The patched tree; asked for when the job is submitted, which most adopted ones never are."""
    essential: bool = False
    """Whether an epoch cannot be complete without its outcome, as for baselines."""
    is_bygone: bool = False
    """Whether what it computes cannot be computed here any more: it is waited for, but never begun
    again, and counts as lost where nobody has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended: by a result of its own or another job's, or by an earlier row."""

    result: JobResult | None = None
    run: Run | None = None
    """A row of the lake that stands in."""
    reused_from: str | None = None
    """The run whose outcome this is, where the job was not run for this attempt."""

    @property
    def is_inconclusive(self) -> bool:
        """Whether it says nothing about the work."""
        return self.result is not None and self.result.is_inconclusive

    @property
    def value(self) -> float | None:
        """As the evaluator reported it; not judged yet."""
        if self.run is not None:
            return self.run.value
        evaluation = self.result.evaluation if self.result else None
        return evaluation.value if evaluation else None


def may_stand_in(status: str, blame: str | None, *, deterministic: bool) -> bool:
    """Whether an outcome may stand for another job with the same run_key.

    Never infrastructure, cancelled or timeout; a failure of training only where it would fail again
    in the same way.
    """
    if status == RunStatus.FINISHED:
        return True
    return status == RunStatus.FAILED and blame == Blame.TRAIN and deterministic
