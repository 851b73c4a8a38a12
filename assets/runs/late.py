"""Runs that outlived the quorum of their epoch, found again by what was recorded of their begin."""

from assets.attempt.context import Context
from assets.runs.confirm import confirmation_of
from assets.runs.plan import PlannedRun, plan_runs
from lake.attempts import Attempt, AttemptLog, AttemptState
from lake.tables import Run, RunEvent, RunEventKind, RunPurpose, Stage
from lake.writer import HEALED

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


def begun_runs(context: Context) -> list[PlannedRun]:
    """The runs that an attempt began, confirmations too; each with its place as it was recorded."""
    places = {e.run_id: e.ordinal for e in context.facts(RunEvent) if e.kind in BEGINS}
    view = context.view
    screening = plan_runs(view)
    confirmations = (
        confirmation_of(view, each, number, ordinal=len(screening))
        for each in screening
        if not each.is_baseline
        for number in range(view.settings.confirm.needed)
    )
    return [
        each.placed(places[each.run_id])
        for each in (*screening, *confirmations)
        if each.run_id in places
    ]


def begun_confirmations(context: Context) -> list[PlannedRun]:
    """The confirmations that an attempt began before it was resumed: its choice stands."""
    if not context.view.settings.confirm.needed:
        return []
    return [each for each in begun_runs(context) if each.purpose is RunPurpose.CONFIRMATION]


def late_run_ids(context: Context) -> set[str]:
    """Run ids of other attempts of the campaign that have not ended as far as the lake knows."""
    lake, campaign = context.view.lake, context.view.campaign
    found: set[str] = set()
    for attempt in late_attempts(context.view.log):
        events = lake.read(RunEvent, campaign=campaign, epoch=attempt.epoch, n=attempt.n)
        begun = {e.run_id for e in events if e.stage is Stage.RUNS and e.kind in BEGINS}
        found |= begun - {run.run_id for run in lake.layer(Run, campaign, attempt.read)}
    return found
