"""Work that is not bought twice: finished runs that are in the lake already.

Jobs that run, or that ended but have no row yet, are found by the launcher (`Launcher.find`).
"""

from collections.abc import Collection

from assets.attempt.context import Context
from assets.jobs.job import may_stand_in
from lake.tables import Run
from launchers.sandbox.levels import at_least


def is_adoptable(run: Run, *, evaluator: str, level: str, deterministic: bool) -> bool:
    """Whether a row of the lake may stand in: same evaluator, same or a stronger sandbox level."""
    if run.reused_from is not None or run.versions.get("evaluator") != evaluator:
        return False
    if not at_least(run.sandbox_level or "", level):
        return False
    return may_stand_in(run.status, run.blame, deterministic=deterministic)


def find_finished(context: Context, keys: Collection[str]) -> dict[str, Run]:
    """Finished runs of any campaign and attempt in the lake, by run_key."""
    view = context.view
    return {
        run.run_key: run
        for run in view.lake.read(Run, where={"run_key": keys})
        if is_adoptable(
            run,
            evaluator=view.setup.evaluator,
            level=context.level,
            deterministic=view.profile.deterministic,
        )
    }
