"""What a run may take: training and scoring as one sum, against the campaign's own baseline.

Where a model may learn is up to a patch: while it is trained, or in the server that is scored. So
the processor time of both counts as one. Of a server it counts from where patched code begins,
which its evaluator measures; what Python and the libraries take to start is nobody's work. It is
taken off what shares are counted in, too: a share of 1.2 is a fifth more steps.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.environment import COMPUTE_LIMIT, TIMED_AGAIN
from assets.results.judging import Judgement
from lake.tables import Blame, Run, RunStatus

COMPUTE = "compute"
"""Verdict, and the measure that is the share: 1 is what the baseline takes."""
STARTING, ANSWERING = "starting_cpu_seconds", "answering_cpu_seconds"
"""Measures of an evaluator: processor time of the servers up to where patched code begins, and from
there on, summed over the servers."""
TRAINING_START = "training_start_cpu_seconds"
"""Measure: of training's processor time, what passed before patched code began."""
PASSES = "audit_passes"
"""Measure of an evaluator: the servers of its leak audit, each a fresh one."""
LEAST_WORK = 0.25
"""CPU seconds. Of less work, differences are those of starting and of the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Processor time of one run, seconds."""

    training: float
    """Of the whole process tree, from where patched code begins if that is told."""
    scoring: float
    """Of the servers from where patched code begins; of all of scoring where that is not told."""
    start: float
    """In `training`: of the start of Python with the libraries, as a server of the same job took
    for it; 0 where that is told apart, or nothing is told."""

    @property
    def total(self) -> float:
        """What counts."""
        return self.training + self.scoring

    @classmethod
    def by(cls, run: Run) -> "Spent | None":
        """What a run took; None where the supervisor did not say."""
        if run.cpu_seconds is None or run.score_cpu_seconds is None:
            return None
        known = run.measures
        started = known.get(TRAINING_START, 0.0)
        servers = 1 + known.get(PASSES, 0)
        return cls(
            training=run.cpu_seconds - started,
            scoring=known.get(ANSWERING, run.score_cpu_seconds),
            start=0.0 if started else known.get(STARTING, 0.0) / servers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRule:
    """The rule of a profile whose compute is processor time."""

    baseline: Sequence[Spent]
    """Of the campaign's own finished baseline runs."""
    limit: float = COMPUTE_LIMIT
    """The largest share that counts."""

    @classmethod
    def of(cls, baselines: Sequence[Run], *, limit: float = COMPUTE_LIMIT) -> "ComputeRule":
        """The rule that a campaign's own baseline runs give."""
        done = [run for run in baselines if run.status is RunStatus.FINISHED]
        found = [spent for run in done if (spent := Spent.by(run)) is not None]
        return cls(baseline=found, limit=limit)

    @property
    def total(self) -> float:
        """The baseline's sum."""
        return statistics.median(each.total for each in self.baseline)

    @property
    def scoring(self) -> float:
        """The scoring in it."""
        return statistics.median(each.scoring for each in self.baseline)

    @property
    def start(self) -> float:
        """What one start takes."""
        return statistics.median(each.start for each in self.baseline)

    def share(self, spent: Spent) -> float:
        """What was spent, as a multiple of what the baseline spends without its start."""
        return 1 + (spent.total - self.total) / max(self.total - self.start, LEAST_WORK)

    def judge(self, run: Run) -> Judgement:
        """Whether a run is within the limit, above it, or it cannot be known."""
        spent = Spent.by(run)
        if spent is None or not self.baseline:
            reason = "no baseline's compute is known, so its own cannot be compared"
            verdicts = {COMPUTE: f"not judged: {reason}"}
            return Judgement(blame=Blame.SETUP, reason=reason, verdicts=verdicts)
        share = self.share(spent)
        said = (
            f"{spent.training:.2f} CPU-s of training and {spent.scoring:.2f} of scoring, "
            f"the baseline's sum is {self.total:.2f}: {share:.2f}x its work"
        )
        return verdict_on(share, said, limit=self.limit)


def verdict_on(share: float, said: str, *, limit: float) -> Judgement:
    """The judgement on a share.

    Args:
        share: 1 is what the baseline takes.
        said: what it rests on, in words.
        limit: the largest that counts.
    """
    measures = {COMPUTE: round(share, 3)}
    if share <= limit:
        return Judgement(verdicts={COMPUTE: f"passed: {said}"}, measures=measures)
    return Judgement(
        blame=Blame.TIMEOUT,
        reason=f"{said}; at most {limit:g}x counts",
        verdicts={COMPUTE: f"violated: {said}"},
        measures=measures,
    )


def is_close(share: float | None) -> bool:
    """Whether a share above the limit may be the machine's doing, and is timed again."""
    return share is not None and COMPUTE_LIMIT < share <= TIMED_AGAIN
