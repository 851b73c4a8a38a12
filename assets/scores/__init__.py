"""Scores: what trusted code makes of the jobs. One row per scored run and evaluator.

timing       what looks dear, trained again beside the baseline
seeds        whether confirmations come from their seeds
candidates   what may become a parent or the winner, and what it is ranked by
audits       the deep audit of these, in the pool
verdicts     what an audit's end makes of a score
"""

from collections.abc import Sequence
from dataclasses import replace

from assets.attempt.context import Context, Produced
from assets.attempt.view import AttemptView
from assets.config.environment import COMPUTE_LIMIT, TIMED_AGAIN
from assets.results.baseline import OwnBaseline
from assets.results.compute import COMPUTE, is_close, verdict_on
from assets.results.judging import Judgement, judge, reward
from assets.results.noise import pooled_noise
from assets.scores.audits import audit
from assets.scores.candidates import candidates_of, to_audit, worth_of
from assets.scores.seeds import with_seeds_judged
from assets.scores.timing import time_again
from assets.scores.verdicts import CUTS
from lake.ids import score_id
from lake.tables import Blame, Idea, IdeaKind, Patch, Run, Score, ScoreStatus


def produce(context: Context) -> Produced:
    """Judge every run of the epoch."""
    return produce_late(context, ())


def produce_late(context: Context, present: Sequence[Score]) -> Produced:
    """Judge the runs that have no score yet.

    Args:
        context: of the scores stage, complete where there are scores already.
        present: scores that the attempt has.
    """
    view, judged = context.view, {score.run_id for score in present}
    new = _judged(context, [run for run in view.rows(Run) if run.run_id not in judged])
    baseline = _baseline(view, [*present, *new])
    noise = pooled_noise(view.profile.baseline, baseline)
    changed = with_seeds_judged(view, [*present, *new], noise)
    new = [changed.get(row.run_id, row) for row in new]
    rows = _audited(context, new, present, baseline)
    return Produced(rows=rows, counts=_counts([*present, *rows]))


def _judged(context: Context, runs: Sequence[Run]) -> list[Score]:
    """A score for each run; what is close above the limit of compute was timed again."""
    view, own = context.view, _own_baselines(context.view)
    rules = view.rules(own)
    found = {run.run_id: judge(run, view.environment.manifest, rules) for run in runs}
    close = [
        (place, run)
        for place, run in enumerate(view.rows(Run))
        if run.run_id in found and is_close(found[run.run_id].measures.get(COMPUTE))
    ]
    times, compute = time_again(context, close), view.compute_rule(own)
    lenient = view.rules(own, limit=TIMED_AGAIN) if close else []
    for _, run in close:
        if run.run_id in times and compute is not None:
            again = times[run.run_id]
            first, share = found[run.run_id], again.share(run, compute)
            second = verdict_on(share, again.in_words(share), limit=COMPUTE_LIMIT)
            judged = first if second.blame else judge(run, view.environment.manifest, lenient)
            found[run.run_id] = _timed(judged, second)
    return [_score(view, run, found[run.run_id]) for run in runs]


def _timed(first: Judgement, second: Judgement) -> Judgement:
    """The judgement once a run was timed again.

    Args:
        first: what the other rules say, with the limit up to which it was timed again.
        second: what its time says.
    """
    verdicts = {**first.verdicts, **second.verdicts}
    if second.blame:
        return replace(second, verdicts=verdicts)
    return replace(first, verdicts=verdicts, measures={**first.measures, **second.measures})


def _counts(rows: Sequence[Score]) -> dict[str, int]:
    valid = sum(row.status is ScoreStatus.VALID for row in rows)
    blamed = {f"blame_{b}": sum(row.blame is b for row in rows) for b in Blame}
    counts = {"rows": len(rows), "valid": valid, "invalid": len(rows) - valid}
    return counts | {name: count for name, count in blamed.items() if count}


def _audited(
    context: Context, new: Sequence[Score], present: Sequence[Score], baseline: OwnBaseline
) -> list[Score]:
    """The rows; those that may become parent or winner have the verdict of the deep audit.

    An idea that has to be confirmed first is ranked by its confirmations; its screening is audited.
    """
    view, proof = context.view, context.view.proof
    if not proof.deep:
        return list(new)
    rows = [*present, *new]
    candidates = candidates_of(view, new)
    worth = worth_of(view, rows, candidates)
    before = view.history.before(view.epoch)
    bars = {
        run_id: baseline.at(None if proof.confirmations else one.run.seed)
        for run_id, one in candidates.items()
    }
    audited = [
        s for s in before if not s.is_baseline and s.may_win(proof.deep, proof.confirmations)
    ]
    earlier = [s.value for s in audited if s.value is not None]
    known = candidates_of(view, [s for s in present if s.measures.get(CUTS, 0) >= proof.deep])
    earlier += worth_of(view, rows, known).values()
    changed = audit(
        context,
        candidates,
        lambda values: to_audit(
            {run_id: worth[run_id] for run_id in values if run_id in worth},
            earlier,
            bars=bars,
            places=view.strategy.places,
            better=view.better,
        ),
    )
    return [changed.get(row.run_id, row) for row in new]


def _own_baselines(view: AttemptView) -> list[Run]:
    ideas = {idea.idea_id for idea in view.rows(Idea) if idea.kind is IdeaKind.BASELINE}
    patches = {patch.patch_id for patch in view.rows(Patch) if patch.idea_id in ideas}
    return [run for run in view.rows(Run) if run.patch_id in patches]


def _baseline(view: AttemptView, rows: Sequence[Score]) -> OwnBaseline:
    """The campaign's baseline, of this epoch if it is the first."""
    if view.epoch:
        return OwnBaseline.of(view.history.before(view.epoch))
    seeds = {run.run_id: run.seed for run in _own_baselines(view)}
    values = {row.run_id: row.value for row in rows if row.value is not None}
    return OwnBaseline(by_seed={seeds[run]: values[run] for run in seeds.keys() & values.keys()})


def _score(view: AttemptView, run: Run, judged: Judgement) -> Score:
    manifest, evaluator = view.environment.manifest, view.setup.evaluator
    value = judged.value
    return Score(
        **view.keys,
        score_id=score_id(run_id=run.run_id, evaluator=evaluator),
        run_id=run.run_id,
        metric=manifest.metric,
        value=value,
        blame=judged.blame,
        reason=judged.reason,
        reward=None if value is None else reward(value, minimize=view.better.minimize),
        status=ScoreStatus.INVALID if value is None else ScoreStatus.VALID,
        verdicts=dict(judged.verdicts),
        measures={**run.measures, **judged.measures},
        evaluator=evaluator,
    )
