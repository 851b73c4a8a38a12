"""Attempts of a stage: what is open, what is complete, what is current.

An attempt is the n-th time that a stage of an epoch is worked on; n is the number of closed
attempts of (campaign, epoch, stage) when it is opened. Closed means completed or abandoned; only
completed attempts are visible. Everything here is a pure function of `AttemptEvent` rows, in any
order. Not here: who writes the events (`lake.writer`), and the same chain in SQL (`lake.views`; a
test compares the two).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lake.errors import AttemptError
from lake.stages import DEFINITIONS, Definitions, stages_of
from lake.tables import AttemptEvent, AttemptKind, Stage


class AttemptState(StrEnum):
    """Where an attempt is in its life."""

    OPEN = "open"
    """Work began and nothing of it is visible."""
    COMPLETE = "complete"
    """Visible; may be extended by rows of late jobs."""
    ABANDONED = "abandoned"
    """Closed without being visible."""


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """An attempt as a reader saw it: rows up to and including event `seq`."""

    stage: Stage
    epoch: int
    n: int
    seq: int

    def __str__(self) -> str:
        """The form that is stored, for example `scores/0003/0/1`."""
        return f"{self.stage}/{self.epoch:04d}/{self.n}/{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Read":
        """The read that `str` wrote.

        Raises:
            AttemptError: The text has another form.
        """
        try:
            stage, epoch, n, seq = text.split("/")
            return cls(Stage(stage), int(epoch), int(n), int(seq))
        except ValueError as error:
            raise AttemptError(
                where=f"read {text!r}",
                found=str(error),
                expected="stage/epoch/n/seq, for example scores/0003/0/1",
                todo="Make reads with str(attempt.read)",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt, as its events so far describe it."""

    campaign: str
    epoch: int
    stage: Stage
    n: int
    state: AttemptState
    seq: int
    """Sequence number of the newest event; rows up to it are visible once complete."""
    reads: tuple[str, ...]
    """What it rests on, by the newest event that says so; sorted."""
    reads_from: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """What it rested on from which event on, oldest first."""
    dagster_run_id: str | None = None
    code_version: str | None = None
    config: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """From the newest event that has counts."""
    reason: str | None = None

    @cached_property
    def read(self) -> Read:
        """What a reader of this attempt records."""
        return Read(self.stage, self.epoch, self.n, self.seq)

    def reads_at(self, seq: int) -> tuple[str, ...]:
        """What it rested on for a reader who saw it up to an event."""
        return next((reads for at, reads in reversed(self.reads_from) if at <= seq), ())


class OpeningKind(StrEnum):
    """What `begin` found."""

    NEW = "new"
    """Work starts from nothing."""
    RESUMED = "resumed"
    """An open attempt is continued; its in-flight facts are kept."""
    COMPLETE = "complete"
    """There is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The attempt to work on, and how it came about."""

    attempt: Attempt
    kind: OpeningKind
    abandoned: Attempt | None = None
    """The open attempt that was closed because what it had read has changed."""


class AttemptLog:
    """The attempts of one campaign."""

    def __init__(
        self, events: Iterable[AttemptEvent], definitions: Definitions = DEFINITIONS
    ) -> None:
        """Applies the events; a repeated event counts once."""
        self._definitions = definitions
        self._attempts: dict[tuple[int, Stage], dict[int, Attempt]] = {}
        self._current: dict[int, dict[Stage, Attempt]] = {}
        for event in sorted(events, key=lambda e: (e.epoch, e.stage, e.n, e.seq)):
            self.add(event)

    def copy(self) -> "AttemptLog":
        """A log of the same attempts, to which events may be added apart from this one."""
        other = AttemptLog((), self._definitions)
        other._attempts = {place: dict(known) for place, known in self._attempts.items()}
        other._current = dict(self._current)
        return other

    def add(self, event: AttemptEvent) -> Attempt:
        """The attempt after one more event; events of an attempt must come in `seq` order."""
        self._current.pop(event.epoch, None)
        attempts = self._attempts.setdefault((event.epoch, event.stage), {})
        known = attempts.get(event.n)
        if known is not None and event.seq <= known.seq:
            return known
        attempts[event.n] = _fold(known, event)
        return attempts[event.n]

    def attempts(self, epoch: int, stage: Stage) -> list[Attempt]:
        """All attempts of a stage of an epoch, oldest first."""
        return [attempt for _, attempt in sorted(self._attempts.get((epoch, stage), {}).items())]

    def get(self, read: Read) -> Attempt | None:
        """The attempt that a read names, in its newest state."""
        return self._attempts.get((read.epoch, read.stage), {}).get(read.n)

    def next_n(self, epoch: int, stage: Stage) -> int:
        """Number of closed attempts, which is the number of the next one."""
        closed = (a for a in self.attempts(epoch, stage) if a.state is not AttemptState.OPEN)
        return sum(1 for _ in closed)

    def open(self, epoch: int, stage: Stage) -> Attempt | None:
        """The attempt that is being worked on."""
        attempts = self.attempts(epoch, stage)
        return attempts[-1] if attempts and attempts[-1].state is AttemptState.OPEN else None

    def newest(self, epoch: int, stage: Stage) -> Attempt | None:
        """The newest complete attempt."""
        complete = [a for a in self.attempts(epoch, stage) if a.state is AttemptState.COMPLETE]
        return complete[-1] if complete else None

    def current(self, epoch: int) -> dict[Stage, Attempt]:
        """The chain of an epoch, resolved from its end.

        The newest complete `scores`, then the `runs` attempt that it read, and so on back. A stage
        that no complete successor read uses its own newest complete attempt; of several successors
        the last one decides.

        Returns:
            The current attempt of each stage that has one, in the order of the work.
        """
        if epoch not in self._current:
            self._current[epoch] = self._resolved(epoch)
        return dict(self._current[epoch])

    def _resolved(self, epoch: int) -> dict[Stage, Attempt]:
        chain: dict[Stage, Attempt] = {}
        for each in reversed(self._definitions):
            readers = (chain.get(stage) for stage in self._later_first(each.read_by))
            read = (self._read_by(reader, each.stage) for reader in readers)
            attempt = next(filter(None, read), None) or self.newest(epoch, each.stage)
            if attempt is not None:
                chain[each.stage] = attempt
        return dict(reversed(chain.items()))

    def _later_first(self, stages: Iterable[Stage]) -> list[Stage]:
        """Stages in reverse order of the work."""
        return [stage for stage in reversed(stages_of(self._definitions)) if stage in stages]

    def chain(self, reads: Iterable[str], epoch: int) -> dict[Stage, Read]:
        """The attempts of an epoch that `reads` rest on, back to its first stage.

        A read that was extended later is followed as it was when it was recorded.
        """
        chain: dict[Stage, Read] = {}
        pending = [Read.parse(text) for text in reads]
        here = f"/{epoch:04d}/"  # an evolution attempt reads every earlier epoch
        while pending:
            read = pending.pop()
            attempt = self.get(read)
            if read.epoch == epoch and attempt is not None:
                chain[read.stage] = read
                rests_on = attempt.reads_at(read.seq)
                pending += [Read.parse(text) for text in rests_on if here in text]
        return chain

    def _read_by(self, successor: Attempt | None, stage: Stage) -> Attempt | None:
        """The complete attempt of `stage` that the successor read in its own epoch."""
        if successor is None:
            return None
        for read in map(Read.parse, successor.reads):
            if read.stage is stage and read.epoch == successor.epoch:
                attempt = self.get(read)
                if attempt is not None and attempt.state is AttemptState.COMPLETE:
                    return attempt
        return None

    def epochs(self) -> list[int]:
        """Epochs that have any attempt, in order."""
        return sorted({epoch for epoch, _ in self._attempts})

    def open_attempts(self) -> list[Attempt]:
        """Every attempt that is being worked on, in the order of the work."""
        order = stages_of(self._definitions)
        last = (
            self.open(epoch, stage)
            for epoch, stage in sorted(self._attempts, key=lambda k: (k[0], order.index(k[1])))
        )
        return [attempt for attempt in last if attempt is not None]


_STATES = {
    AttemptKind.OPENED: AttemptState.OPEN,
    AttemptKind.COMPLETED: AttemptState.COMPLETE,
    AttemptKind.EXTENDED: AttemptState.COMPLETE,
    AttemptKind.ABANDONED: AttemptState.ABANDONED,
}


def _said(event: AttemptEvent) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """What an event says the attempt rests on, where it says so."""
    return ((event.seq, event.reads),) if event.reads else ()


def _fold(known: Attempt | None, event: AttemptEvent) -> Attempt:
    """The attempt after an event; what the event leaves out stays as it was."""
    return Attempt(
        campaign=event.campaign,
        epoch=event.epoch,
        stage=event.stage,
        n=event.n,
        state=_STATES[event.kind],
        seq=event.seq,
        reads=event.reads or (known.reads if known else ()),
        reads_from=(*(known.reads_from if known else ()), *_said(event)),
        dagster_run_id=event.dagster_run_id or (known.dagster_run_id if known else None),
        code_version=event.code_version or (known.code_version if known else None),
        config=event.config or (known.config if known else None),
        counts=event.counts or (known.counts if known else {}),
        reason=event.reason or (known.reason if known else None),
    )
