"""In which order stages and epochs may be worked on: preconditions, read from the attempts."""

from collections.abc import Iterable

from assets.errors import OrderError
from lake.attempts import STAGES, AttemptLog, AttemptState
from lake.tables import Stage


def reads_of(campaign: str, stage: Stage, epoch: int, log: AttemptLog) -> tuple[str, ...]:
    """The attempts that the stage rests on, as `stage/epoch/n/seq`.

    Raises:
        OrderError: if one of them is missing, or an earlier epoch is still being worked on.
    """
    if stage is Stage.EVOLUTION:
        return tuple(_scores_read(campaign, epoch, earlier, log) for earlier in range(epoch))
    upstream = STAGES[STAGES.index(stage) - 1]
    newest = log.newest(epoch, upstream)
    if newest is None:
        raise OrderError(
            f"campaign {campaign}, epoch {epoch:04d}: {stage} needs {upstream}, which has no "
            f"complete attempt; materialize {upstream} of this epoch first"
        )
    baselines = log.current(0).get(Stage.RUNS) if epoch else None
    compares = stage in (Stage.RUNS, Stage.SCORES) and baselines is not None
    return (str(newest.read), *((str(baselines.read),) if compares and baselines else ()))


def missing_stages(epoch: int, log: AttemptLog) -> list[Stage]:
    """Stages of an epoch that have no complete attempt, or an open one.

    Where the open one rests on attempts that are not current, a rerun of the epoch was interrupted,
    and the stages after it belong to it too.
    """
    missing = [s for s in STAGES if log.newest(epoch, s) is None or log.open(epoch, s) is not None]
    current = {stage: attempt.n for stage, attempt in log.current(epoch).items()}
    for stage in missing:
        begun = log.open(epoch, stage)
        chain = log.chain(begun.reads, epoch) if begun else {}
        if any(current.get(read.stage) != read.n for read in chain.values()):
            return list(STAGES[STAGES.index(stage) :])
    return missing


def epochs_completed_by(dagster_runs: Iterable[str], log: AttemptLog) -> set[int]:
    """Epochs whose scores were completed by one of these Dagster runs."""
    wanted = set(dagster_runs)
    return {
        epoch
        for epoch in log.epochs()
        for attempt in log.attempts(epoch, Stage.SCORES)
        if attempt.state is AttemptState.COMPLETE and attempt.dagster_run_id in wanted
    }


def _scores_read(campaign: str, epoch: int, earlier: int, log: AttemptLog) -> str:
    newest = log.newest(earlier, Stage.SCORES)
    being_worked_on = [stage for stage in STAGES if log.open(earlier, stage)]
    if newest is None or being_worked_on:
        found = f"{being_worked_on[0]} open" if being_worked_on else "no complete scores"
        raise OrderError(
            f"campaign {campaign}: epoch {epoch:04d} needs the scores of every earlier epoch, "
            f"but epoch {earlier:04d} has {found}; finish it with `varve search {campaign}`"
        )
    return str(newest.read)
