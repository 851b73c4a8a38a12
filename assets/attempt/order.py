"""In which order stages and epochs may be worked on: preconditions, read from the attempts."""

from collections.abc import Iterable
from dataclasses import replace

from assets.errors import OrderError
from lake.attempts import AttemptLog, AttemptState
from lake.stages import DEFINITIONS, Definitions, after, definition_of, stages_of, upstream_of
from lake.tables import Stage

FIRST_COMMIT = 1
"""Sequence number at which an attempt becomes visible; all baselines are in it, whatever joins
later."""


def reads_of(
    campaign: str,
    stage: Stage,
    epoch: int,
    log: AttemptLog,
    definitions: Definitions = DEFINITIONS,
) -> tuple[str, ...]:
    """The attempts that the stage rests on, as `stage/epoch/n/seq`.

    Raises:
        OrderError: if one of them is missing, or an earlier epoch is still being worked on.
    """
    definition = definition_of(stage, definitions)
    reads = [
        _upstream(campaign, stage, each, epoch, log) for each in upstream_of(stage, definitions)
    ]
    if definition.rests_on is not None:
        stages = stages_of(definitions)
        begun = (a for a in reversed(log.open_attempts()) if a.stage in stages)
        being_worked_on = {attempt.epoch: attempt.stage for attempt in begun}
        for earlier in range(epoch):
            newest = log.newest(earlier, definition.rests_on)
            if newest is None or earlier in being_worked_on:
                raise _not_ready(campaign, epoch, earlier, being_worked_on.get(earlier))
            reads.append(str(newest.read))
    baselines = log.current(0).get(Stage.RUNS) if epoch and definition.compares else None
    if baselines is not None:
        reads.append(str(replace(baselines.read, seq=FIRST_COMMIT)))
    return tuple(reads)


def _upstream(campaign: str, stage: Stage, upstream: Stage, epoch: int, log: AttemptLog) -> str:
    newest = log.newest(epoch, upstream)
    if newest is None:
        raise OrderError(
            f"campaign {campaign}, epoch {epoch:04d}: {stage} needs {upstream}, which has no "
            f"complete attempt; materialize {upstream} of this epoch first"
        )
    return str(newest.read)


def missing_stages(
    epoch: int, log: AttemptLog, definitions: Definitions = DEFINITIONS
) -> list[Stage]:
    """Stages of an epoch that have no complete attempt, or an open one.

    Where an open one rests on attempts that are not current, a rerun of the epoch was interrupted,
    and the stages that rest on it belong to it too.
    """
    order = stages_of(definitions)
    begun = {stage: attempt for stage in order if (attempt := log.open(epoch, stage))}
    missing = {stage for stage in order if stage in begun or log.newest(epoch, stage) is None}
    current = {stage: attempt.n for stage, attempt in log.current(epoch).items()}
    for stage, attempt in begun.items():
        chain = log.chain(attempt.reads, epoch)
        if any(current.get(read.stage) != read.n for read in chain.values()):
            missing |= set(after(stage, definitions))
    return [stage for stage in order if stage in missing]


def epochs_completed_by(dagster_runs: Iterable[str], log: AttemptLog) -> set[int]:
    """Epochs whose scores were completed by one of these Dagster runs."""
    wanted = set(dagster_runs)
    return {
        epoch
        for epoch in log.epochs()
        for attempt in log.attempts(epoch, Stage.SCORES)
        if attempt.state is AttemptState.COMPLETE and attempt.dagster_run_id in wanted
    }


def _not_ready(campaign: str, epoch: int, earlier: int, stage: Stage | None) -> OrderError:
    found = f"{stage} open" if stage else "no complete scores"
    return OrderError(
        f"campaign {campaign}: epoch {epoch:04d} needs the scores of every earlier epoch, "
        f"but epoch {earlier:04d} has {found}; finish it with `varve search {campaign}`"
    )
