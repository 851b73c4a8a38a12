"""What is kept of a job's folder once its run has a score: outputs of baselines and of the best.

Not here: what counts as best (`assets.results.summary`), and how a folder is cleared, which is up
to the launcher. Other campaigns clear their own.
"""

from collections.abc import Collection, Iterable, Sequence

from assets.attempt.session import Session
from assets.results.history import History
from assets.results.scored import Scored
from assets.results.summary import Summary, summarize
from lake.tables import Run, Score
from launchers import JobPhase


def ideas_before(session: Session, epoch: int) -> list[Scored]:
    """The current ideas of all earlier epochs."""
    writer = session.writer
    return History(writer.lake, writer.log, writer.campaign).before(epoch)


def summary_of(session: Session, known: Sequence[Scored]) -> Summary:
    """Figures over these ideas."""
    setup = session.setup
    needed = setup.settings.confirm.needed
    return summarize(known, setup.environment, setup.settings.profile, confirmations=needed)


def clear_scored(
    session: Session, epochs: Collection[int], summary: Summary, earlier: Iterable[Scored]
) -> None:
    """Clear the folders of done jobs whose runs have scores, but for outputs that are kept.

    Args:
        session: of the campaign.
        epochs: whose jobs are looked at.
        summary: says which outputs are kept now.
        earlier: the ideas before something was scored; what was kept of them is looked at too.
    """
    launcher = session.setup.launcher
    earlier = list(earlier)
    own = {scored.run.run_id for scored in earlier if scored.run}
    kept = summary_of(session, earlier).kept_runs & own
    wanted = kept | _scored_runs(session, epochs)
    for run_id, state in launcher.states(wanted).items():
        if state.phase is JobPhase.DONE:
            launcher.release(run_id, keep_outputs=run_id in summary.kept_runs)


def _scored_runs(session: Session, epochs: Collection[int]) -> set[str]:
    """Runs of these epochs, of any attempt, that have a score."""
    writer = session.writer
    lake, campaign = writer.lake, writer.campaign
    runs = {run.run_id for run in lake.read(Run, campaign=campaign, epoch=epochs)}
    return runs & {score.run_id for score in lake.read(Score, campaign=campaign, epoch=epochs)}
