"""Scores: what trusted code makes of the jobs. One row per scored run and evaluator.

audits   the deep audit of what may become a parent or the winner
"""

import json
import statistics
from collections.abc import Mapping, Sequence

from assets.attempt.baselines import compute_rule
from assets.attempt.context import Context, Produced
from assets.results.judging import ComputeRule, judge, reward
from assets.scores.audits import Candidate, audit, to_audit
from lake.ids import score_id
from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    Patch,
    Run,
    RunPurpose,
    Score,
    ScoreStatus,
    Stage,
)


def produce(context: Context) -> Produced:
    """Judge every run of the epoch."""
    rule = compute_rule(context, _own_baselines(context))
    rows = _audited(
        context, [_score(context, run, rule) for run in context.upstream(Run, Stage.RUNS)]
    )
    valid = sum(row.status is ScoreStatus.VALID for row in rows)
    blamed = {f"blame_{b}": sum(row.blame is b for row in rows) for b in Blame}
    counts = {"valid": valid, "invalid": len(rows) - valid}
    return Produced(rows=rows, counts=counts | {k: v for k, v in blamed.items() if v})


def _audited(context: Context, rows: Sequence[Score]) -> list[Score]:
    """The rows, those that may become parent or winner with the verdict of the deep audit.

    An idea that has to be confirmed first is ranked by its confirmations; its screening is audited.
    """
    if not context.environment.manifest.audit.deep:
        return list(rows)
    strategy, minimize = context.settings.strategy, context.minimize
    candidates = _candidates(context, rows)
    worth = _worth(context, rows, candidates)
    before = context.history.before(context.epoch)
    baselines = [s.value for s in before if s.is_baseline and s.value is not None]
    own = {run.run_id for run in _own_baselines(context)}
    baselines += [row.value for row in rows if row.value is not None and row.run_id in own]
    deep = context.environment.manifest.audit.deep
    needed = context.settings.confirm.needed
    audited = [s for s in before if not s.is_baseline and s.may_win(deep, needed)]
    earlier = [s.value for s in audited if s.value is not None]
    changed = audit(
        context,
        candidates,
        lambda values: to_audit(
            {run_id: worth[run_id] for run_id in values if run_id in worth},
            earlier,
            bar=statistics.fmean(baselines) if baselines else None,
            places=1 if strategy.kind == "best_of_n" else strategy.parents,
            minimize=minimize,
        ),
    )
    return [changed.get(row.run_id, row) for row in rows]


def _candidates(context: Context, rows: Sequence[Score]) -> dict[str, Candidate]:
    """The valid scores of ideas' screening runs, by run id."""
    runs = {run.run_id: run for run in context.upstream(Run, Stage.RUNS)}
    patches = {patch.patch_id: patch for patch in context.upstream(Patch, Stage.PATCHES)}
    ideas = {idea.idea_id: idea for idea in context.upstream(Idea, Stage.IDEAS)}
    found = {}
    for row in rows:
        run = runs[row.run_id]
        patch = patches[run.patch_id]
        is_baseline = ideas[patch.idea_id].kind is IdeaKind.BASELINE
        if row.value is not None and not is_baseline and run.purpose is RunPurpose.SCREENING:
            found[row.run_id] = Candidate(score=row, run=run, patch=patch)
    return found


def _worth(
    context: Context, rows: Sequence[Score], candidates: Mapping[str, Candidate]
) -> dict[str, float]:
    """What each candidate is ranked by, by run id; one that is not confirmed as asked has nothing."""
    needed = context.settings.confirm.needed
    if not needed:
        return {run_id: one.score.value or 0.0 for run_id, one in candidates.items()}
    runs = {run.run_id: run for run in context.upstream(Run, Stage.RUNS)}
    confirmed: dict[str, list[float]] = {}
    for row in rows:
        run = runs[row.run_id]
        if row.value is not None and run.purpose is RunPurpose.CONFIRMATION:
            confirmed.setdefault(run.patch_id, []).append(row.value)
    return {
        run_id: statistics.fmean(confirmed[one.patch.patch_id])
        for run_id, one in candidates.items()
        if len(confirmed.get(one.patch.patch_id, ())) >= needed
    }


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
