"""Runs: jobs that train and score patched code. One row per job.

plan       which jobs the epoch's patches ask for, and their run_key
adoption   which of them somebody has run already
facts      what is recorded of each job while it is in flight
dispatch   keep the slots busy until every job has an outcome
confirm    which of the best run again with seeds that were drawn after their patches
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from assets.attempt.context import Context, Produced
from assets.attempt.spending import gpu_hours
from assets.config.data import torch_version
from assets.runs.adoption import find_finished
from assets.runs.confirm import plan_confirmations
from assets.runs.dispatch import Dispatch, Outcome
from assets.runs.plan import Job, plan_jobs
from lake.tables import Blame, Run, RunStatus, now


def produce(context: Context) -> Produced:
    """Run every job of the epoch, or take over what was run before."""
    dispatch = Dispatch(context)
    jobs = plan_jobs(context)
    rows = _run(dispatch, jobs)
    again = plan_confirmations(context, jobs, rows)
    rows += _run(dispatch, again) if again else []
    counts = {status.value: sum(row.status is status for row in rows) for status in RunStatus}
    adopted = sum(row.reused_from is not None for row in rows)
    counts |= {"new": len(rows) - adopted, "adopted": adopted, "confirmations": len(again)}
    return Produced(rows=rows, counts=counts)


def _run(dispatch: Dispatch, jobs: Sequence[Job]) -> list[Run]:
    context = dispatch.context
    keys = {job.run_key for job in jobs}
    finished = {} if context.settings.remeasure else find_finished(context, keys)
    dispatch.add(jobs, finished=finished)
    outcomes = dispatch.run()
    return [_row(context, job, outcomes[job.run_id]) for job in jobs]


def _row(context: Context, job: Job, outcome: Outcome) -> Run:
    if outcome.run is not None:
        return _taken_over(context, job, outcome.run)
    result = outcome.result or {}
    evaluation = result.get("evaluation")
    versions = dict(result.get("versions") or {})
    return Run(
        **context.keys,
        run_id=job.run_id,
        patch_id=job.patch.patch_id,
        run_key=job.run_key,
        seed=job.seed,
        purpose=job.purpose,
        profile=context.settings.profile,
        launcher=context.settings.launcher.kind,
        status=RunStatus(result["status"]),
        blame=Blame(result["blame"]) if result.get("blame") else None,
        reason=result.get("reason"),
        wall_seconds=result.get("wall_seconds"),
        cpu_seconds=result.get("cpu_seconds"),
        score_cpu_seconds=result.get("score_cpu_seconds"),
        gpu_hours=gpu_hours(result, context.profile),
        hardware=result.get("hardware"),
        versions=versions | {"torch": torch_version(), "evaluator": context.evaluator},
        sandbox_level=result.get("sandbox_level"),
        sandbox_gaps=tuple(result.get("sandbox_gaps") or ()),
        reused_from=outcome.reused_from,
        log_tail=result.get("log_tail"),
        result=json.dumps(evaluation) if evaluation else None,
    )


def _taken_over(context: Context, job: Job, source: Run) -> Run:
    return replace(
        source,
        **context.keys,
        created_at=now(),
        run_id=job.run_id,
        patch_id=job.patch.patch_id,
        purpose=job.purpose,
        reused_from=source.run_id,
    )
