"""Confirmation: the best of an epoch run again, with seeds that were drawn after their patches.

Among many ideas some look good by the luck of their seed, and a patch may hold a constant that fits
one. The seed of a confirmation follows from the patched tree, which nobody knows before the patch
is written. The mean of the confirmations then counts, without the value that chose them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from assets.attempt.view import AttemptView
from assets.config.environment import TIMED_AGAIN
from assets.results.baseline import OwnBaseline
from assets.results.judging import judge
from assets.runs.plan import PlannedRun, run_ids
from lake.ids import content_id
from lake.tables import Run, RunPurpose


def plan_confirmations(
    view: AttemptView, planned: Sequence[PlannedRun], runs: Sequence[Run]
) -> list[PlannedRun]:
    """The runs that confirm the best of an epoch; none where they are not asked for.

    Args:
        view: of the runs stage.
        planned: the epoch's screening.
        runs: rows of those that have ended.
    """
    confirm = view.settings.confirm
    chosen = best_runs(view, planned, runs)[: confirm.top]
    wanted = [(each, number) for each in chosen for number in range(confirm.seeds)]
    return [
        confirmation_of(view, each, number, ordinal=len(planned) + ordinal)
        for ordinal, (each, number) in enumerate(wanted)
    ]


def confirmation_of(
    view: AttemptView, screening: PlannedRun, number: int, *, ordinal: int
) -> PlannedRun:
    """A run of the same patch with another seed."""
    seed = confirmation_seed(view.settings.seed, screening.patch.tree or "", number)
    ids = run_ids(view, screening.patch, screening.files, seed)
    purpose = RunPurpose.CONFIRMATION
    return replace(screening, ordinal=ordinal, seed=seed, purpose=purpose, **ids._asdict())


def confirmation_seed(campaign_seed: int, tree: str, number: int) -> int:
    """A seed that follows from the patched tree, so that a rerun takes the same runs over."""
    return int(content_id("confirm", campaign_seed, tree, number), 16) % 2**31


def best_runs(
    view: AttemptView, planned: Sequence[PlannedRun], runs: Sequence[Run]
) -> list[PlannedRun]:
    """The runs of ideas whose value counts and beats the baseline's, best first."""
    values = judged_values(view, planned, runs)
    baseline = _baseline(view, planned, values)
    above = [
        (view.better.rank(value), each.ordinal, each)
        for each in planned
        if not each.is_baseline and (value := values.get(each.run_id)) is not None
        if (bar := baseline.at(each.seed)) is not None and view.better.beats(value, bar)
    ]
    return [each for _, _, each in sorted(above, key=lambda one: one[:2])]


def judged_values(
    view: AttemptView, planned: Sequence[PlannedRun], runs: Sequence[Run]
) -> dict[str, float | None]:
    """Value by run id, of the runs that have ended; None where it does not count."""
    baselines = {each.run_id for each in planned if each.is_baseline}
    own = [run for run in runs if run.run_id in baselines]
    rules = view.rules(own, limit=TIMED_AGAIN)  # what lies between is timed again when it is judged
    manifest = view.environment.manifest
    return {run.run_id: judge(run, manifest, rules).value for run in runs}


def _baseline(
    view: AttemptView, planned: Sequence[PlannedRun], values: Mapping[str, float | None]
) -> OwnBaseline:
    """The baselines that have ended, of this epoch if it is the first."""
    if view.epoch:
        values = judged_values(view, (), view.baselines)
        seeds = {run.run_id: run.seed for run in view.baselines}
    else:
        seeds = {each.run_id: each.seed for each in planned if each.is_baseline}
    known = {seed: values.get(run_id) for run_id, seed in seeds.items()}
    return OwnBaseline(by_seed={s: value for s, value in known.items() if value is not None})
