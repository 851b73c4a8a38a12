"""Confirmation: the best of an epoch run again, with seeds that were drawn after their patches.

Among many ideas some are good by the luck of their seed, and a patch may hold a constant that fits
one. The seed of a confirmation follows from the patched tree, which nobody knows before the patch
is written. The mean of the confirmations counts then, without the value that chose them.
"""

import json
import statistics
from collections.abc import Sequence

from assets.attempt.baselines import compute_rule
from assets.attempt.context import Context
from assets.results.judging import judge
from assets.runs.plan import Job, job_of
from lake.ids import content_id
from lake.tables import IdeaKind, Run, RunPurpose


def plan_confirmations(context: Context, jobs: Sequence[Job], runs: Sequence[Run]) -> list[Job]:
    """The jobs that the best of an epoch are run again with; none where that is not asked for.

    Args:
        context: of the runs stage.
        jobs: the epoch's screening jobs.
        runs: what they came to, in the same order.
    """
    confirm = context.settings.confirm
    chosen = best_jobs(context, jobs, runs)[: confirm.top]
    wanted = [(job, number) for job in chosen for number in range(confirm.seeds)]
    return [
        job_of(
            context,
            job.idea,
            job.patch,
            ordinal=len(jobs) + ordinal,
            seed=confirmation_seed(context.settings.seed, job.patch.tree or "", number),
            purpose=RunPurpose.CONFIRMATION,
        )
        for ordinal, (job, number) in enumerate(wanted)
    ]


def confirmation_seed(campaign_seed: int, tree: str, number: int) -> int:
    """A seed that follows from the patched tree, so that a rerun takes the same runs over."""
    return int(content_id("confirm", campaign_seed, tree, number), 16) % 2**31


def best_jobs(context: Context, jobs: Sequence[Job], runs: Sequence[Run]) -> list[Job]:
    """The jobs of ideas whose value counts and beats the baseline's mean, best first."""
    sign = 1 if context.minimize else -1
    own = [run for job, run in zip(jobs, runs, strict=True) if _is_baseline(job)]
    rule = compute_rule(context, own)
    values = {
        job.run_id: judge(
            run, json.loads(run.result or "{}"), context.environment.manifest, rule
        ).value
        for job, run in zip(jobs, runs, strict=True)
    }
    bar = _bar(context, [values[job.run_id] for job in jobs if _is_baseline(job)])
    if bar is None:
        return []
    ranked = sorted(
        (sign * value, job.ordinal, job)
        for job in jobs
        if (value := values[job.run_id]) is not None and not _is_baseline(job)
    )
    return [job for value, _, job in ranked if value < sign * bar]


def _is_baseline(job: Job) -> bool:
    return job.idea.kind is IdeaKind.BASELINE


def _bar(context: Context, own: Sequence[float | None]) -> float | None:
    """The baseline's mean, from this epoch or from the first."""
    known = [value for value in own if value is not None]
    if context.epoch:
        layer = context.history.layer(0)
        known = [s.value for s in layer if s.is_baseline and s.value is not None]
    return statistics.fmean(known) if known else None
