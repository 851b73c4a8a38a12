"""Scores: what trusted code makes of the jobs. One row per scored run and evaluator.

judging  whether a value counts, from what is known of the run
audits   the deep audit of what may become a parent or the winner
"""

import json
import statistics
from collections.abc import Sequence

from assets.scores.audits import Candidate, audit, to_audit
from assets.scores.judging import ComputeRule, judge, reward
from assets.stage import Context, Produced
from lake.ids import score_id
from lake.tables import Blame, Idea, IdeaKind, Patch, Run, RunStatus, Score, ScoreStatus, Stage


def produce(context: Context) -> Produced:
    """Judge every run of the epoch."""
    rule = _compute_rule(context)
    rows = _audited(
        context, [_score(context, run, rule) for run in context.upstream(Run, Stage.RUNS)]
    )
    valid = sum(row.status is ScoreStatus.VALID for row in rows)
    blamed = {f"blame_{b}": sum(row.blame is b for row in rows) for b in Blame}
    counts = {"valid": valid, "invalid": len(rows) - valid}
    return Produced(rows=rows, counts=counts | {k: v for k, v in blamed.items() if v})


def _compute_rule(context: Context) -> ComputeRule | None:
    if context.profile.compute != "cpu":
        return None
    runs = _own_baselines(context) if context.epoch == 0 else context.history.baseline_runs()
    done = [run for run in runs if run.status is RunStatus.FINISHED]
    return ComputeRule(
        baseline_seconds=[run.cpu_seconds for run in done if run.cpu_seconds],
        baseline_scoring=[run.score_cpu_seconds for run in done if run.score_cpu_seconds],
    )


def _audited(context: Context, rows: Sequence[Score]) -> list[Score]:
    """The rows, those that may become parent or winner with the verdict of the deep audit."""
    if not context.environment.manifest.audit.deep:
        return list(rows)
    strategy, minimize = context.settings.strategy, context.minimize
    candidates = _candidates(context, rows)
    before = context.history.before(context.epoch)
    baselines = [s.value for s in before if s.is_baseline and s.value is not None]
    baselines += [r.value for r in rows if r.run_id not in candidates and r.value is not None]
    deep = context.environment.manifest.audit.deep
    audited = [s for s in before if not s.is_baseline and s.cuts >= deep]
    earlier = [s.value for s in audited if s.value is not None]
    changed = audit(
        context,
        candidates,
        lambda values: to_audit(
            values,
            earlier,
            bar=statistics.fmean(baselines) if baselines else None,
            places=1 if strategy.kind == "best_of_n" else strategy.parents,
            minimize=minimize,
        ),
    )
    return [changed.get(row.run_id, row) for row in rows]


def _candidates(context: Context, rows: Sequence[Score]) -> dict[str, Candidate]:
    """The valid scores of ideas, by run id."""
    runs = {run.run_id: run for run in context.upstream(Run, Stage.RUNS)}
    patches = {patch.patch_id: patch for patch in context.upstream(Patch, Stage.PATCHES)}
    ideas = {idea.idea_id: idea for idea in context.upstream(Idea, Stage.IDEAS)}
    found = {}
    for row in rows:
        run = runs[row.run_id]
        patch = patches[run.patch_id]
        if row.value is not None and ideas[patch.idea_id].kind is not IdeaKind.BASELINE:
            found[row.run_id] = Candidate(score=row, run=run, patch=patch)
    return found


def _own_baselines(context: Context) -> list[Run]:
    ideas = {i.idea_id for i in context.upstream(Idea, Stage.IDEAS) if i.kind is IdeaKind.BASELINE}
    patches = {p.patch_id for p in context.upstream(Patch, Stage.PATCHES) if p.idea_id in ideas}
    return [run for run in context.upstream(Run, Stage.RUNS) if run.patch_id in patches]


def _score(context: Context, run: Run, rule: ComputeRule | None) -> Score:
    evaluation = json.loads(run.result) if run.result else {}
    manifest = context.environment.manifest
    judged = judge(run, evaluation, manifest, rule)
    value = judged.value
    return Score(
        **context.keys,
        score_id=score_id(run_id=run.run_id, evaluator=context.evaluator),
        run_id=run.run_id,
        metric=manifest.metric,
        value=value,
        blame=judged.blame,
        reason=judged.reason,
        reward=None if value is None else reward(value, minimize=context.minimize),
        status=ScoreStatus.INVALID if value is None else ScoreStatus.VALID,
        verdicts=dict(judged.verdicts),
        measures=dict(evaluation.get("measures") or {}),
        evaluator=context.evaluator,
    )
