"""Whether a run's value counts: pure rules, each with its verdict in words."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.config.environment import COMPUTE_LIMIT, Manifest
from assets.results.better import Better
from lake.tables import Blame, Run, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A value, or the blame and the reason why there is none."""

    value: float | None = None
    blame: Blame | None = None
    reason: str | None = None
    verdicts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRule:
    """The CPU-time rule of a profile whose compute is CPU time."""

    baseline_seconds: Sequence[float]
    """CPU time of training of the campaign's own finished baseline runs."""
    baseline_scoring: Sequence[float]
    """CPU time of scoring of these runs."""

    @classmethod
    def of(cls, baselines: Sequence[Run]) -> "ComputeRule":
        """The rule that a campaign's own baseline runs give."""
        done = [run for run in baselines if run.status is RunStatus.FINISHED]
        return cls(
            baseline_seconds=[run.cpu_seconds for run in done if run.cpu_seconds],
            baseline_scoring=[run.score_cpu_seconds for run in done if run.score_cpu_seconds],
        )

    def judge(self, training: float | None, scoring: float | None) -> Judgement:
        """Whether both are within the limit, one is above it, or it cannot be known.

        Args:
            training: CPU seconds.
            scoring: CPU seconds.
        """
        verdicts: dict[str, str] = {}
        found = (
            ("compute", "training", training, self.baseline_seconds),
            ("scoring", "scoring", scoring, self.baseline_scoring),
        )
        for name, what, seconds, baseline in found:
            if seconds is None or not baseline:
                reason = f"no baseline's {what} is known, so its compute cannot be compared"
                verdicts[name] = f"not judged: {reason}"
                return Judgement(blame=Blame.SETUP, reason=reason, verdicts=verdicts)
            median = statistics.median(baseline)
            said = f"{seconds:.2f} CPU-s, {seconds / median:.2f}x the baselines' {median:.2f}"
            if seconds > COMPUTE_LIMIT * median:
                reason = f"{what} took {said}; at most {COMPUTE_LIMIT}x counts"
                verdicts[name] = f"violated: {said}"
                return Judgement(blame=Blame.TIMEOUT, reason=reason, verdicts=verdicts)
            verdicts[name] = f"passed: {said}"
        return Judgement(verdicts=verdicts)


def judge(run: Run, manifest: Manifest, rule: ComputeRule | None) -> Judgement:
    """Decide whether a run's value counts: it ended, within compute, finite, believable."""
    verdicts, value = dict(run.verdicts), run.value
    if run.status is not RunStatus.FINISHED:
        blame = run.blame or Blame.INFRASTRUCTURE
        return Judgement(blame=blame, reason=run.reason or run.status.value, verdicts=verdicts)
    compute = rule.judge(run.cpu_seconds, run.score_cpu_seconds) if rule else None
    verdicts |= compute.verdicts if compute else {}
    if compute and compute.blame:
        return Judgement(blame=compute.blame, reason=compute.reason, verdicts=verdicts)
    if value is None or not math.isfinite(value):
        reason = f"the evaluator gave {value!r} for {manifest.metric}, expected a finite number"
        return Judgement(blame=Blame.EVALUATE, reason=reason, verdicts=verdicts)
    return _believe(value, manifest, verdicts)


def _believe(value: float, manifest: Manifest, verdicts: dict[str, str]) -> Judgement:
    better = Better.of(manifest)
    bound = f"{'below' if better.minimize else 'above'} {manifest.floor}"
    if better.beats(value, manifest.floor):
        verdicts["floor"] = f"violated: {value} is {bound}"
        reason = f"{manifest.metric} {value} is better than can be believed ({bound})"
        return Judgement(blame=Blame.GUARD, reason=reason, verdicts=verdicts)
    verdicts["floor"] = f"passed: not {bound}"
    return Judgement(value=value, verdicts=verdicts)


def reward(value: float, *, minimize: bool) -> float:
    """Higher is better: the inverse of a minimised metric, as in the paper.

    That is above 0, since its floor is and what is below is not believed.
    """
    return 1 / value if minimize else value
