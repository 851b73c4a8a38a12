"""Work that is not bought twice: finished jobs that stand in the lake already.

Jobs that run, or that ended without a row yet, are found by the launcher (`Launcher.find`).
"""

from collections.abc import Collection

from assets.attempt.context import Context
from lake.tables import Blame, Run, RunStatus
from launchers.sandbox.levels import at_least


def may_stand_in(status: str, blame: str | None, deterministic: bool) -> bool:
    """Whether an outcome may stand for another job with the same run_key.

    Never infrastructure, cancelled or timeout; a failure of training only where it would fail again
    in the same way.
    """
    if status == RunStatus.FINISHED:
        return True
    return status == RunStatus.FAILED and blame == Blame.TRAIN and deterministic


def is_adoptable(run: Run, *, evaluator: str, level: str, deterministic: bool) -> bool:
    """Whether a row of the lake may stand in: same evaluator, same or a stronger sandbox level."""
    if run.reused_from is not None or run.versions.get("evaluator") != evaluator:
        return False
    if not at_least(run.sandbox_level or "", level):
        return False
    return may_stand_in(run.status, run.blame, deterministic)


def find_finished(context: Context, keys: Collection[str]) -> dict[str, Run]:
    """Finished jobs of any campaign and attempt in the lake, by run_key."""
    runs = context.lake.read(Run, where={"run_key": keys})
    return {
        run.run_key: run
        for run in runs
        if is_adoptable(
            run,
            evaluator=context.evaluator,
            level=context.sandbox_level,
            deterministic=context.profile.deterministic,
        )
    }
