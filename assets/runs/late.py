"""Runs that outlived the quorum of their epoch, found again by what was recorded of their begin."""

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from assets.attempt.context import Context
from assets.runs.confirm import confirmation_of
from assets.runs.plan import PlannedRun
from lake.attempts import Attempt, AttemptLog, AttemptState, Read
from lake.delta import Lake
from lake.tables import Run, RunEvent, RunEventKind, Stage
from lake.writer import HEALED, Writer

LATE = "late"
"""Count of an attempt's runs that had no row when it was completed or extended."""
BEGINS = (RunEventKind.INTENDED, RunEventKind.ADOPTED)
_WHOLE: "WeakKeyDictionary[Lake, set[tuple[str, Read]]]" = WeakKeyDictionary()
"""Campaigns and complete attempts that were found to lack no row, by the open lake: a complete
attempt begins no more runs."""


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
    """The runs that an open attempt began, confirmations too; each at the place that was recorded.

    Args:
        context: the attempt, which may have been resumed: its choice of confirmations stands.
        screening: all that it may have begun besides confirmations.
    """
    places = {e.run_id: e.ordinal for e in _begins(context.writer, context.view.attempt)}
    known = {each.run_id for each in screening}
    others = _confirmations(context, screening) if places.keys() - known else ()
    return [
        each.placed(places[each.run_id]) for each in (*screening, *others) if each.run_id in places
    ]


def late_runs(context: Context, screening: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs of a complete attempt that have no row, under the ids that they were begun with.

    Today's ids may be others, for example with another torch, and then name other work. None is a
    confirmation: an attempt is complete only with these.

    Args:
        context: of the attempt.
        screening: its runs as they would be begun today.
    """
    done = {(run.patch_id, run.seed) for run in context.view.rows(Run)}
    begun = {e.ordinal: e for e in _begins(context.writer, context.view.attempt)}
    return [
        each.recorded_as(event.run_id, event.run_key)
        for each in screening
        if (each.patch.patch_id, each.seed) not in done
        if (event := begun.get(each.ordinal)) is not None
    ]


def without_rows(writer: Writer, attempt: Attempt) -> set[str]:
    """Run ids that a complete attempt began and that have no row, as far as the lake knows."""
    whole = _WHOLE.setdefault(writer.lake, set())
    name = (writer.campaign, attempt.read)
    if name in whole:
        return set()
    rows = writer.lake.layer(Run, writer.campaign, attempt.read)
    begun = {event.run_id for event in _begins(writer, attempt)}
    found = begun - {run.run_id for run in rows}
    if not found:
        whole.add(name)
    return found


def late_run_ids(context: Context) -> set[str]:
    """Run ids of other attempts of the campaign that may still run."""
    attempts = late_attempts(context.view.log)
    return {run_id for each in attempts for run_id in without_rows(context.writer, each)}


def _begins(writer: Writer, attempt: Attempt) -> list[RunEvent]:
    """The events by which an attempt began its runs, as they came."""
    events = (event for event in writer.facts(RunEvent, attempt) if event.kind in BEGINS)
    return sorted(events, key=lambda event: event.created_at)


def _confirmations(context: Context, screening: Sequence[PlannedRun]) -> Iterator[PlannedRun]:
    """Every confirmation that there may be."""
    view = context.view
    for each in screening:
        if not each.is_baseline:
            for number in range(view.settings.confirm.needed):
                yield confirmation_of(view, each, number, ordinal=len(screening))
