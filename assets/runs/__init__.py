"""Runs: jobs that train and score patched code. One row per job.

plan       which runs the epoch's patches ask for, and their run_key
adoption   which of them somebody has run already
training   the runs in the pool, and their rows (rows)
confirm    which of the best run again with seeds that were drawn after their patches
late       runs that outlived the quorum of their epoch
keeping    what is kept of a job's folder once its run has a score
"""

from collections.abc import Sequence

from assets.attempt.context import Context, Produced
from assets.runs.confirm import plan_confirmations
from assets.runs.late import LATE, begun_runs, late_run_ids, late_runs
from assets.runs.plan import plan_runs
from assets.runs.training import Training
from lake.tables import Run, RunPurpose, RunStatus


def produce(context: Context) -> Produced:
    """Run every job of the epoch, or take over what was run before.

    With a quorum below 1 the runs that are still going on are left to `produce_late`.
    """
    quorum = context.view.settings.quorum
    stage = Training(context, quorum=quorum, beside=late_run_ids(context))
    stage.add(plan_runs(context.view))
    stage.run()
    begun = [each for each in begun_runs(context, stage.planned) if not each.is_screening]
    again = begun or plan_confirmations(context.view, stage.planned, stage.rows())
    if again:
        stage.add(again)
        stage.run()
    rows = stage.rows()
    return Produced(rows=rows, counts=_counts(rows, late=len(stage.missing)))


def produce_late(context: Context, *, wait: bool) -> Produced:
    """The rows of a complete attempt's runs that have ended since it was completed or extended.

    Args:
        context: of the complete attempt.
        wait: whether to wait for those that still run.
    """
    present = context.view.rows(Run)
    stage = Training(context, quorum=1.0, what="late jobs")
    stage.add(late_runs(context, plan_runs(context.view)))
    stage.pool.run(wait=wait)
    rows = stage.rows()
    counts = _counts([*present, *rows], late=len(stage.missing))
    return Produced(rows=rows, counts={"rows": len(present) + len(rows), **counts})


def _counts(rows: Sequence[Run], *, late: int) -> dict[str, int]:
    counts = {status.value: sum(row.status is status for row in rows) for status in RunStatus}
    adopted = sum(row.reused_from is not None for row in rows)
    confirmations = sum(row.purpose is RunPurpose.CONFIRMATION for row in rows)
    counts |= {"new": len(rows) - adopted, "adopted": adopted, "confirmations": confirmations}
    return counts | ({LATE: late} if late else {})
