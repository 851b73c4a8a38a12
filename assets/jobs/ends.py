"""The ends of jobs that have no row in `runs`: smoke runs and audits. Their cost counts all the same."""

from collections.abc import Mapping
from typing import Any

from assets.attempt.context import Context
from assets.attempt.spending import gpu_hours
from lake.ids import content_id
from lake.tables import RunEvent, RunEventKind, RunStatus
from launchers import JobSpec

KINDS: Mapping[str, RunEventKind] = {
    RunStatus.FINISHED: RunEventKind.FINISHED,
    RunStatus.CANCELLED: RunEventKind.CANCELLED,
}


def record_end(context: Context, spec: JobSpec, result: Mapping[str, Any]) -> None:
    """Write down that a job ended and what it used, once, however often it is polled.

    Args:
        context: of the stage that wanted the job.
        spec: the job.
        result: its `result.json`.
    """
    clocks = [repr(result.get(name)) for name in ("wall_seconds", "score_wall_seconds")]
    identity = content_id("end", spec.run_id, *clocks)
    if identity in context.stored_events:
        return
    hours = gpu_hours(result, context.profile)
    context.spending.count(gpu_hours=hours)
    context.record(
        RunEvent(
            **context.keys,
            event_id=identity,
            stage=context.stage,
            run_id=spec.run_id,
            run_key=spec.run_key,
            ordinal=0,
            kind=KINDS.get(str(result["status"]), RunEventKind.FAILED),
            detail=result.get("reason"),
            gpu_hours=hours,
        )
    )
