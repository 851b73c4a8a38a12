"""Work on one stage of one epoch: begin or resume an attempt, produce its rows, complete it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assets import evolution, ideas, patches, runs, scores
from assets.attempt.context import Context, Produced
from assets.attempt.decisive import abandon_other_settings
from assets.attempt.monitor import Hooks
from assets.attempt.order import reads_of
from assets.attempt.session import Session, open_session
from assets.attempt.spending import Bill
from assets.config.code import code_version
from assets.config.home import Home
from assets.jobs.smoke import may_smoke
from assets.late import join_late
from assets.results.scored import Scored
from assets.results.summary import Summary
from assets.runs.keeping import clear_scored, ideas_before, summary_of
from lake.attempts import Attempt
from lake.stages import definition_of
from lake.tables import Stage
from lake.writer import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWork:
    """How a stage is worked on; what it is stands in `lake.stages`."""

    produce: Callable[[Context], Produced]
    decided_by: tuple[str, ...]
    """Settings that decide what it asks and runs: an open attempt is not resumed under others.
    Other settings may change meanwhile: how much at once and how much money, or what another stage
    does."""
    runs_jobs: bool = False


WORKS: Mapping[Stage, StageWork] = {
    Stage.EVOLUTION: StageWork(produce=evolution.produce, decided_by=("strategy",)),
    Stage.IDEAS: StageWork(
        produce=ideas.produce, decided_by=("strategy", "batch", "ideators", "novelty")
    ),
    Stage.PATCHES: StageWork(produce=patches.produce, decided_by=("implementer",)),
    Stage.RUNS: StageWork(
        produce=runs.produce, decided_by=("confirm", "remeasure"), runs_jobs=True
    ),
    Stage.SCORES: StageWork(
        produce=scores.produce, decided_by=("strategy", "confirm"), runs_jobs=True
    ),
}


MAINTAINED = 8
"""Epochs between two compactions of the lake: a first reader opens every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an attempt came to."""

    attempt: Attempt
    summary: Summary
    cost: Bill
    """Of the epoch, all its attempts together."""


def work(
    home: Home,
    campaign: str,
    stage: Stage,
    epoch: int,
    *,
    dagster_run_id: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Work on one stage of one epoch; the caller holds the campaign's lock.

    An open attempt that rests on the same rows is resumed, a closed one is followed by the next.

    Raises:
        VarveError: with what the user can do about it; recorded facts are kept.
    """
    with open_session(home, campaign, hooks or Hooks()) as session:
        if definition_of(stage).rests_on is not None:
            join_late(session)
        attempt = _begin(session, stage, epoch, dagster_run_id)
        smokes = stage is Stage.PATCHES and may_smoke(session.setup)
        context = session.context(attempt, with_jobs=smokes or WORKS[stage].runs_jobs)
        try:
            produced = WORKS[stage].produce(context)
        finally:
            session.writer.flush()
        counts = {"rows": len(produced.rows), **produced.counts}
        attempt = session.writer.complete(attempt, produced.rows, counts=counts)
        known = ideas_before(session, epoch + 1)
        summary = summary_of(session, known)
        if stage is Stage.SCORES:
            _clear(session, epoch, summary, known)
            if epoch % MAINTAINED == MAINTAINED - 1:
                session.writer.lake.maintain()
        return Report(attempt=attempt, summary=summary, cost=context.spending.of_epoch)


def _begin(session: Session, stage: Stage, epoch: int, dagster_run_id: str | None) -> Attempt:
    writer, config = session.writer, session.setup.config
    begun = writer.log.open(epoch, stage)
    if begun is not None:
        abandon_other_settings(writer, begun, config, WORKS[stage].decided_by)
    stages = session.setup.settings.stages()
    opening = writer.begin(
        epoch,
        stage,
        reads=reads_of(writer.campaign, stage, epoch, writer.log, stages),
        origin=Origin(config=config, code_version=code_version(), dagster_run_id=dagster_run_id),
        again=True,
    )
    return opening.attempt


def _clear(session: Session, epoch: int, summary: Summary, known: list[Scored]) -> None:
    """Clear the job folders of an epoch that was scored; a kill may have left those before it."""
    near = {each for each in (epoch - 1, epoch) if each >= 0}
    earlier = [scored for scored in known if scored.idea.epoch < epoch]
    clear_scored(session, near, summary, earlier)
