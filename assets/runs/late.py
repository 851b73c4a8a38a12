"""Runs that outlived the quorum of their epoch, found again by what was recorded of their begin."""

from collections.abc import Iterator, Sequence

from assets.attempt.context import Context
from assets.runs.confirm import confirmation_of
from assets.runs.plan import PlannedRun
from lake.attempts import Attempt, AttemptLog, AttemptState
from lake.tables import Run, RunEvent, RunEventKind, Stage
from lake.writer import HEALED, Writer

LATE = "late"
"""Count of an attempt's runs that had not ended when it was completed or extended."""
BEGINS = (RunEventKind.INTENDED, RunEventKind.ADOPTED)


def late_attempts(log: AttemptLog) -> list[Attempt]:
    """The complete runs attempts, current or not, that may lack rows of runs which they began.

    Of one whose process died before it had counted them, the facts will say.
    """
    return [
        attempt
        for epoch in log.epochs()
        for attempt in log.attempts(epoch, Stage.RUNS)
        if attempt.state is AttemptState.COMPLETE
        and (attempt.counts.get(LATE) or attempt.reason == HEALED)
    ]


def begun_runs(context: Context, screening: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs that an attempt began, confirmations too; each with its place as it was recorded.

    Args:
        context: the attempt, which may have been resumed: its choice of confirmations stands.
        screening: all that it may have begun besides confirmations.
    """
    places = _places(context.writer, context.view.attempt)
    known = {each.run_id for each in screening}
    others = _confirmations(context, screening) if places.keys() - known else ()
    return [
        each.placed(places[each.run_id]) for each in (*screening, *others) if each.run_id in places
    ]


def without_rows(writer: Writer, attempt: Attempt) -> set[str]:
    """Run ids that a complete attempt began and that have not ended, as far as the lake knows."""
    rows = writer.lake.layer(Run, writer.campaign, attempt.read)
    return _places(writer, attempt).keys() - {run.run_id for run in rows}


def late_run_ids(context: Context) -> set[str]:
    """Run ids of other attempts of the campaign that may still run."""
    attempts = late_attempts(context.view.log)
    return {run_id for each in attempts for run_id in without_rows(context.writer, each)}


def _places(writer: Writer, attempt: Attempt) -> dict[str, int]:
    """Ordinals of the runs that an attempt began, by run_id."""
    return {e.run_id: e.ordinal for e in writer.facts(RunEvent, attempt) if e.kind in BEGINS}


def _confirmations(context: Context, screening: Sequence[PlannedRun]) -> Iterator[PlannedRun]:
    """Every confirmation that there may be."""
    view = context.view
    for each in screening:
        if not each.is_baseline:
            for number in range(view.settings.confirm.needed):
                yield confirmation_of(view, each, number, ordinal=len(screening))
