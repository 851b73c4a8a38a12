"""Runs: jobs that train and score patched code. One row per job.

plan       which jobs the epoch's patches ask for, and their run_key
adoption   which of them somebody has run already
facts      what is recorded of each job while it is in flight
dispatch   keep the slots busy until every job has an outcome
"""

import json
from dataclasses import replace

from assets.data import torch_version
from assets.runs.adoption import find_finished
from assets.runs.dispatch import Dispatch, Outcome
from assets.runs.plan import Job, plan_jobs
from assets.stage import Context, Produced
from lake.tables import Blame, Run, RunStatus, now


def produce(context: Context) -> Produced:
    """Run every job of the epoch, or take over what was run before."""
    jobs = plan_jobs(context)
    keys = {job.run_key for job in jobs}
    dispatch = Dispatch(
        context,
        jobs,
        finished={} if context.settings.remeasure else find_finished(context, keys),
    )
    outcomes = dispatch.run()
    rows = [_row(context, job, outcomes[job.run_id]) for job in jobs]
    counts = {status.value: sum(row.status is status for row in rows) for status in RunStatus}
    adopted = sum(row.reused_from is not None for row in rows)
    return Produced(rows=rows, counts=counts | {"new": len(rows) - adopted, "adopted": adopted})


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
        profile=context.settings.profile,
        launcher=context.settings.launcher.kind,
        status=RunStatus(result["status"]),
        blame=Blame(result["blame"]) if result.get("blame") else None,
        reason=result.get("reason"),
        wall_seconds=result.get("wall_seconds"),
        cpu_seconds=result.get("cpu_seconds"),
        score_cpu_seconds=result.get("score_cpu_seconds"),
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
        reused_from=source.run_id,
    )
