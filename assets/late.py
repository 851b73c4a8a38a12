"""Runs that outlived the quorum of their epoch join its layer when they have ended.

The runs attempt is extended first, then each scores attempt that rests on fewer of its rows than it
has: what is left to do follows from the attempts and from the events of their jobs, so that a kill
at any moment loses nothing.
"""

from collections.abc import Iterator

from assets import runs, scores
from assets.attempt.session import Session
from assets.runs.keeping import clear_scored, ideas_before, summary_of
from assets.runs.late import late_attempts, without_rows
from lake.attempts import Attempt, AttemptLog, AttemptState, Read
from lake.tables import Score, Stage

Grown = tuple[Attempt, list[str]]
"""A complete scores attempt whose runs have been extended since, with what they then rest on."""


def join_late(session: Session, *, wait: bool = False) -> int:
    """Adds rows of runs that have ended, and their scores, to the attempts that began them.

    Args:
        session: of the campaign.
        wait: whether to wait for all that still run.

    Returns:
        How many runs have joined.

    Raises:
        Interrupted: the user stopped it; what had ended is recorded.
    """
    log = session.writer.log
    joined = sum([_extend_runs(session, attempt, wait=wait) for attempt in late_attempts(log)])
    grown = list(_grown(log))
    if grown:
        _extend_all_scores(session, grown)
    return joined


def _extend_runs(session: Session, attempt: Attempt, *, wait: bool) -> int:
    if not without_rows(session.writer, attempt):
        return 0
    context = session.context(attempt, with_jobs=True)
    produced = runs.produce_late(context, wait=wait)
    if produced.rows:
        session.writer.extend(attempt, produced.rows, counts=produced.counts)
    return len(produced.rows)


def _extend_all_scores(session: Session, grown: list[Grown]) -> None:
    """Scores what has joined, then clears the folders of its jobs."""
    beyond = session.writer.log.epochs()[-1] + 1
    before = ideas_before(session, beyond)
    for attempt, reads in grown:
        _extend_scores(session, attempt, reads)
    summary = summary_of(session, ideas_before(session, beyond))
    clear_scored(session, {attempt.epoch for attempt, _ in grown}, summary, before)


def _extend_scores(session: Session, attempt: Attempt, reads: list[str]) -> None:
    context = session.context(attempt, with_jobs=True, reads=reads)
    produced = scores.produce_late(context, context.view.rows(Score))
    session.writer.extend(attempt, produced.rows, counts=produced.counts, reads=reads)


def _grown(log: AttemptLog) -> Iterator[Grown]:
    for epoch in log.epochs():
        for attempt in log.attempts(epoch, Stage.SCORES):
            reads = [_newest(log, epoch, text) for text in attempt.reads]
            if attempt.state is AttemptState.COMPLETE and reads != list(attempt.reads):
                yield attempt, reads


def _newest(log: AttemptLog, epoch: int, text: str) -> str:
    """A read of the epoch's own runs with all that has joined them; any other as it is."""
    read = Read.parse(text)
    attempt = log.get(read) if read.stage is Stage.RUNS and read.epoch == epoch else None
    return str(attempt.read) if attempt is not None else text
