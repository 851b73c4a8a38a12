"""The writer: how a stage's work becomes visible, whole or not at all.

An attempt is opened in the journal before any work. In-flight facts are journaled as they happen.
When the work is done, its rows are one Delta commit under the application transaction
`rows/<campaign>/<epoch>/<stage>/<n>`, whose version is the sequence number of the event that makes
them visible; then the event follows. A crash between the two is healed when the writer is made, or
when the attempt is extended again: the rows are in, so the event is written.

Only the holder of the campaign's lock uses its writer. Not here: the lock itself, and what the
stages do.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lake.attempts import Attempt, AttemptLog, AttemptState, Opening, OpeningKind
from lake.delta import App, Lake
from lake.errors import AttemptError, RowError
from lake.ids import attempt_id
from lake.journal import Journal
from lake.stages import definition_of
from lake.tables import AttemptEvent, AttemptKind, Row, Stage

R = TypeVar("R", bound=Row)

HEALED = "the rows were committed and the process ended before it recorded that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What opened an attempt: recorded for people and for comparisons, part of no id."""

    config: str | None = None
    """JSON of the settings."""
    code_version: str | None = None
    """Of Varve."""
    dagster_run_id: str | None = None


UNKNOWN = Origin()


class Writer:
    """Everything that one campaign writes."""

    def __init__(
        self,
        lake: Lake,
        journal: Journal,
        campaign: str,
        *,
        code_version: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Moves what an earlier holder left in the journal, and heals its last commit.

        Args:
            lake: Where to.
            journal: The campaign's own.
            campaign: Whose rows.
            code_version: Of the Varve that writes; its commits name it.
            check: Called before each commit; raises where the campaign is held no more.
        """
        self.lake, self.journal, self.campaign = lake, journal, campaign
        self._code_version, self._check = code_version, check
        self.flush()
        self.log: AttemptLog = lake.attempts(campaign)
        for attempt in self.log.open_attempts():
            self._heal(attempt)
        self.flush()

    def begin(
        self,
        epoch: int,
        stage: Stage,
        *,
        reads: Collection[str] = (),
        origin: Origin = UNKNOWN,
        again: bool = False,
    ) -> Opening:
        """Opens or resumes the work on a stage of an epoch; durable before this returns.

        An open attempt that rests on the same reads is resumed; one that rests on others is
        abandoned. A closed one is returned as complete, unless `again` is set.

        Args:
            epoch: From 0.
            stage: Which stage.
            reads: Attempts that the work rests on, as `str(attempt.read)`.
            origin: What opens it.
            again: True opens attempt n+1 where the newest is complete.

        Returns:
            The attempt and how it came about.
        """
        rests_on = tuple(sorted(set(reads)))
        open_attempt = self.log.open(epoch, stage)
        if open_attempt is not None and open_attempt.reads == rests_on:
            return Opening(attempt=open_attempt, kind=OpeningKind.RESUMED)
        abandoned = self.abandon(open_attempt, _CHANGED) if open_attempt is not None else None
        newest = self.log.newest(epoch, stage)
        if newest is not None and abandoned is None and not again:
            return Opening(attempt=newest, kind=OpeningKind.COMPLETE)
        attempt = self._event(
            (epoch, stage, self.log.next_n(epoch, stage), 0),
            AttemptKind.OPENED,
            reads=rests_on,
            origin=origin,
        )
        return Opening(attempt=attempt, kind=OpeningKind.NEW, abandoned=abandoned)

    def record(self, *rows: Row) -> None:
        """Keeps in-flight facts; they are on disk when this returns, and in Delta after `flush`."""
        self.journal.append(*rows)

    def flush(self) -> int:
        """Moves what is in the journal to Delta; gives the number of rows."""
        self._check()
        return self.journal.drain(self.lake, code_version=self._code_version)

    def read(
        self,
        row_type: type[R],
        *,
        epoch: int | Collection[int] | None = None,
        n: int | None = None,
        seq: int | None = None,
    ) -> list[R]:
        """Rows of this campaign, those still in the journal included; see `Lake.read`."""
        self.flush()
        return self.lake.read(row_type, campaign=self.campaign, epoch=epoch, n=n, seq=seq)

    def facts(self, row_type: type[R], attempt: Attempt) -> list[R]:
        """In-flight facts of one attempt (completions, run events), from which it is resumed."""
        rows = self.read(row_type, epoch=attempt.epoch, n=attempt.n)
        return [row for row in rows if getattr(row, "stage", attempt.stage) is attempt.stage]

    def complete(
        self,
        attempt: Attempt,
        rows: Sequence[Row],
        *,
        counts: Mapping[str, int] | None = None,
        reads: Collection[str] = (),
    ) -> Attempt:
        """The first commit of an attempt: its rows and then `completed`, visible from here on.

        Args:
            attempt: The open attempt, from `begin`.
            rows: All rows of the stage's table; may be none.
            counts: What happened, for people.
            reads: What the work rests on, where that is more than was known when it began.

        Returns:
            The attempt as complete.

        Raises:
            AttemptError: The attempt is not the open one.
            RowError: A row belongs to another attempt or table, or cannot be stored.
        """
        known = self._known(attempt, AttemptState.OPEN)
        return self._commit(known, AttemptKind.COMPLETED, rows, counts, reads)

    def extend(
        self,
        attempt: Attempt,
        rows: Sequence[Row],
        *,
        counts: Mapping[str, int] | None = None,
        reads: Collection[str] = (),
    ) -> Attempt:
        """Adds rows of late jobs that the complete attempt submitted.

        Rows that are already in are left out, so that it may be called again after a crash; what it
        rests on is recorded even where no row is missing.

        Returns:
            The attempt with its next sequence number; as it was, when there is nothing to add.
        """
        known = self._heal(self._known(attempt, AttemptState.COMPLETE))
        table = definition_of(known.stage).rows
        present = {_key(row) for row in self.read(table, epoch=known.epoch, n=known.n)}
        missing = [row for row in rows if _key(row) not in present]
        if not missing and set(reads or known.reads) == set(known.reads):
            return known
        return self._commit(known, AttemptKind.EXTENDED, missing, counts, reads)

    def abandon(self, attempt: Attempt, reason: str) -> Attempt:
        """Closes an open attempt without making it visible; its facts stay in history."""
        known = self._known(attempt, AttemptState.OPEN)
        place = (known.epoch, known.stage, known.n, known.seq + 1)
        return self._event(place, AttemptKind.ABANDONED, reason=reason)

    def _commit(
        self,
        attempt: Attempt,
        kind: AttemptKind,
        rows: Sequence[Row],
        counts: Mapping[str, int] | None,
        reads: Collection[str],
    ) -> Attempt:
        """Rows first, then the event that makes them visible."""
        _refuse_strangers(attempt, rows)
        self.flush()
        seq = attempt.seq + 1
        app = App(_app_id(attempt), seq)
        if not self.lake.append(rows, app=app, seq=seq, code_version=self._code_version):
            self._refuse_other_rows(attempt, rows, seq)
        event = self._event(
            (attempt.epoch, attempt.stage, attempt.n, seq),
            kind,
            reads=tuple(sorted(set(reads))) or attempt.reads,
            counts=dict(counts) if counts is not None else {"rows": len(rows)},
        )
        self.flush()
        return event

    def _refuse_other_rows(self, attempt: Attempt, rows: Sequence[Row], seq: int) -> None:
        """The transaction is already committed, which is fine if it holds exactly these rows."""
        table = definition_of(attempt.stage).rows
        present = self.lake.read(table, campaign=self.campaign, epoch=attempt.epoch, n=attempt.n)
        if {_key(row) for row in rows} != {_key(row) for row in present}:
            raise AttemptError(
                where=_app_id(attempt),
                found=f"{len(present)} rows committed as event {seq}, which differ from these",
                expected="the same rows",
                todo="Make a new Writer, which completes the attempt with what was committed",
            )

    def _heal(self, attempt: Attempt) -> Attempt:
        """Writes the event of a commit whose process ended before it could."""
        table = definition_of(attempt.stage).rows
        if self.lake.committed(table, _app_id(attempt)) <= attempt.seq:
            return attempt
        seq = attempt.seq + 1
        rows = self.lake.read(table, campaign=self.campaign, epoch=attempt.epoch, n=attempt.n)
        is_open = attempt.state is AttemptState.OPEN
        return self._event(
            (attempt.epoch, attempt.stage, attempt.n, seq),
            AttemptKind.COMPLETED if is_open else AttemptKind.EXTENDED,
            reads=attempt.reads,
            counts={"rows": len(rows)},
            reason=HEALED,
        )

    def _event(
        self,
        place: tuple[int, Stage, int, int],
        kind: AttemptKind,
        *,
        reads: tuple[str, ...] = (),
        origin: Origin = UNKNOWN,
        counts: dict[str, int] | None = None,
        reason: str | None = None,
    ) -> Attempt:
        """Journals an event of (epoch, stage, n, seq), and gives the attempt after it."""
        epoch, stage, n, seq = place
        event = AttemptEvent(
            campaign=self.campaign,
            epoch=epoch,
            n=n,
            attempt_id=attempt_id(campaign=self.campaign, epoch=epoch, stage=stage, n=n, seq=seq),
            stage=stage,
            seq=seq,
            kind=kind,
            dagster_run_id=origin.dagster_run_id,
            reads=reads,
            code_version=origin.code_version,
            config=origin.config,
            counts=counts or {},
            reason=reason,
        )
        self.journal.append(event)
        return self.log.add(event)

    def _known(self, attempt: Attempt, state: AttemptState) -> Attempt:
        """The attempt as the log has it now, which must be in this state."""
        known = self.log.get(attempt.read) if attempt.campaign == self.campaign else None
        if known is None or known.state is not state:
            raise AttemptError(
                where=f"attempt {attempt.campaign}/{attempt.read}",
                found="no such attempt" if known is None else f"state {known.state}",
                expected=f"state {state}",
                todo="Take the attempt from Writer.begin",
            )
        return known


_CHANGED = "what it read has changed"


def _key(row: Row) -> str:
    return str(getattr(row, row.key))


def _app_id(attempt: Attempt) -> str:
    return f"rows/{attempt.campaign}/{attempt.epoch:04d}/{attempt.stage}/{attempt.n}"


def _refuse_strangers(attempt: Attempt, rows: Sequence[Row]) -> None:
    """Rows belong to the attempt's stage, campaign, epoch and n, and each comes once."""
    table = definition_of(attempt.stage).table
    wanted = (table, attempt.campaign, attempt.epoch, attempt.n)
    seen: set[str] = set()
    for row in rows:
        found = (row.table, row.campaign, row.epoch, row.n)
        if found != wanted or _key(row) in seen:
            raise RowError(
                where=f"attempt {attempt.campaign}/{attempt.read}, row {_key(row)!r}",
                found="the row twice"
                if found == wanted
                else f"(table, campaign, epoch, n) {found}",
                expected=f"each row once, with {wanted}",
                todo="Fix the stage that made the row",
            )
        seen.add(_key(row))
