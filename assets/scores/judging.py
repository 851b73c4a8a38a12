"""Scores: what trusted code makes of the jobs. One row per scored run and evaluator."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.environment import Manifest
from assets.stage import Context, Produced
from lake.ids import score_id
from lake.tables import Blame, Idea, IdeaKind, Patch, Run, RunStatus, Score, ScoreStatus, Stage

COMPUTE_LIMIT = 1.5
"""Most CPU time of training, in medians of the campaign's own baseline runs."""


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
    """CPU time of the campaign's own finished baseline runs."""

    def judge(self, cpu_seconds: float | None) -> Judgement:
        """Within the limit, above it, or not to be told."""
        if not self.baseline_seconds or cpu_seconds is None:
            reason = "no baseline run of the campaign finished, so compute cannot be compared"
            return Judgement(
                blame=Blame.SETUP, reason=reason, verdicts={"compute": f"unknown: {reason}"}
            )
        median = statistics.median(self.baseline_seconds)
        said = f"{cpu_seconds:.2f} CPU-s, {cpu_seconds / median:.2f}x the baselines' {median:.2f}"
        if cpu_seconds > COMPUTE_LIMIT * median:
            reason = f"training took {said}; at most {COMPUTE_LIMIT}x counts"
            return Judgement(
                blame=Blame.TIMEOUT, reason=reason, verdicts={"compute": f"violated: {said}"}
            )
        return Judgement(verdicts={"compute": f"passed: {said}"})


def judge(
    run: Run, evaluation: Mapping[str, Any], manifest: Manifest, rule: ComputeRule | None
) -> Judgement:
    """Decide whether a run's value counts: it ended, within compute, finite, believable."""
    verdicts = dict(evaluation.get("verdicts") or {})
    value = evaluation.get("value")
    if run.status is not RunStatus.FINISHED:
        blame = run.blame or Blame.INFRASTRUCTURE
        return Judgement(blame=blame, reason=run.reason or run.status.value, verdicts=verdicts)
    compute = rule.judge(run.cpu_seconds) if rule else None
    verdicts |= compute.verdicts if compute else {}
    if compute and compute.blame:
        return Judgement(blame=compute.blame, reason=compute.reason, verdicts=verdicts)
    if not isinstance(value, int | float) or not math.isfinite(value):
        reason = f"the evaluator gave {value!r} for {manifest.metric}, expected a finite number"
        return Judgement(blame=Blame.EVALUATE, reason=reason, verdicts=verdicts)
    return _believe(float(value), manifest, verdicts)


def _believe(value: float, manifest: Manifest, verdicts: dict[str, str]) -> Judgement:
    minimize = manifest.direction == "minimize"
    bound = f"{'below' if minimize else 'above'} {manifest.floor}"
    if value < manifest.floor if minimize else value > manifest.floor:
        verdicts["floor"] = f"violated: {value} is {bound}"
        reason = f"{manifest.metric} {value} is better than can be believed ({bound})"
        return Judgement(blame=Blame.GUARD, reason=reason, verdicts=verdicts)
    verdicts["floor"] = f"passed: not {bound}"
    return Judgement(value=value, verdicts=verdicts)


def reward(value: float, *, minimize: bool) -> float:
    """Higher is better: the inverse of a minimised metric, as in the paper."""
    return 1 / value if minimize else value


def produce(context: Context) -> Produced:
    """Judge every run of the epoch."""
    rule = _compute_rule(context)
    rows = [_score(context, run, rule) for run in context.upstream(Run, Stage.RUNS)]
    valid = sum(row.status is ScoreStatus.VALID for row in rows)
    blamed = {f"blame_{b}": sum(row.blame is b for row in rows) for b in Blame}
    counts = {"valid": valid, "invalid": len(rows) - valid}
    return Produced(rows=rows, counts=counts | {k: v for k, v in blamed.items() if v})


def _compute_rule(context: Context) -> ComputeRule | None:
    if context.profile.compute != "cpu":
        return None
    runs = _own_baselines(context) if context.epoch == 0 else context.history.baseline_runs()
    seconds = [r.cpu_seconds for r in runs if r.status is RunStatus.FINISHED and r.cpu_seconds]
    return ComputeRule(baseline_seconds=seconds)


def _own_baselines(context: Context) -> list[Run]:
    ideas = {i.idea_id for i in context.upstream(Idea, Stage.IDEAS) if i.kind is IdeaKind.BASELINE}
    patches = {p.patch_id for p in context.upstream(Patch, Stage.PATCHES) if p.idea_id in ideas}
    return [run for run in context.upstream(Run, Stage.RUNS) if run.patch_id in patches]


def _score(context: Context, run: Run, rule: ComputeRule | None) -> Score:
    evaluation = json.loads(run.result) if run.result else {}
    manifest = context.environment.manifest
    judged = judge(run, evaluation, manifest, rule)
    minimize = manifest.direction == "minimize"
    value = judged.value
    return Score(
        **context.keys,
        score_id=score_id(run_id=run.run_id, evaluator=context.evaluator),
        run_id=run.run_id,
        metric=manifest.metric,
        value=value,
        blame=judged.blame,
        reason=judged.reason,
        reward=None if value is None else reward(value, minimize=minimize),
        status=ScoreStatus.INVALID if value is None else ScoreStatus.VALID,
        verdicts=dict(judged.verdicts),
        measures=dict(evaluation.get("measures") or {}),
        evaluator=context.evaluator,
    )
