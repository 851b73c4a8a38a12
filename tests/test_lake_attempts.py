"""Attempts: n, what is open, what is current, and that nothing is lost or repeated by a crash."""

import contextlib
import itertools
import os
import random
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lake import (
    App,
    AttemptError,
    AttemptLog,
    AttemptState,
    Journal,
    Lake,
    OpeningKind,
    Read,
    RowError,
    Stage,
    StorageError,
    Writer,
    ancestors,
    connect,
)
from lake.ids import attempt_id, idea_id
from lake.tables import AttemptEvent, AttemptKind, Completion, Idea, IdeaKind, Row
from lake.writer import Origin


class Crash(BaseException):
    """The process would be dead here."""


class MortalLake(Lake):
    """A lake whose process dies at a chosen append, before it or after it."""

    appends_left: int | None = None
    after: bool = False

    def append(self, rows, **options):
        if self.appends_left is None or not rows:
            return super().append(rows, **options)
        self.appends_left -= 1
        if self.appends_left >= 0:
            return super().append(rows, **options)
        if self.after:
            super().append(rows, **options)
        raise Crash


class MortalJournal(Journal):
    """A journal whose process dies at a chosen append, before it or after it."""

    appends_left: int | None = None
    after: bool = False

    def append(self, *rows):
        if self.appends_left is None:
            return super().append(*rows)
        self.appends_left -= 1
        if self.appends_left >= 0:
            return super().append(*rows)
        if self.after:
            super().append(*rows)
        raise Crash


def idea(place: Read, ordinal: int) -> Idea:
    key = {"campaign": "demo", "epoch": place.epoch, "n": place.n, "ordinal": ordinal}
    made = {"kind": IdeaKind.FRESH, "text": "t", "parents": ()}
    return Idea(**key, **made, idea_id=idea_id(**key, **made), title=str(ordinal))


def fact(epoch: int, n: int, number: int) -> Completion:
    return Completion(
        campaign="demo",
        epoch=epoch,
        n=n,
        completion_id=str(number),
        stage=Stage.IDEAS,
        role="ideator",
        ordinal=number,
        model="catalog",
        request="{}",
        finish_reason="stop",
    )


@dataclass
class ModelAttempt:
    reads: tuple[str, ...]
    state: AttemptState = AttemptState.OPEN
    rows: list[str] = field(default_factory=list)


class Attempts(RuleBasedStateMachine):
    """One stage (`ideas`) of two epochs, against a list of attempts per epoch."""

    @initialize()
    def start(self):
        self.folder = Path(mkdtemp(prefix="lake-machine-"))
        self.model: dict[int, list[ModelAttempt]] = {0: [], 1: []}
        self.facts: list[str] = []
        self.made = 0
        self.open_writer()

    def open_writer(self):
        self.lake = MortalLake.open(self.folder / "lake")
        self.journal = MortalJournal.open(self.folder / "journal.db")
        self.writer = Writer(self.lake, self.journal, "demo")

    def last(self, epoch: int) -> ModelAttempt | None:
        return self.model[epoch][-1] if self.model[epoch] else None

    def attempt(self, epoch: int):
        return self.writer.log.attempts(epoch, Stage.IDEAS)[-1]

    def crash(self, action, *, where: str, when: int, after: bool) -> bool:
        """Runs an action in a process that may die; True when it died and was started again."""
        mortal = self.lake if where == "lake" else self.journal
        mortal.after, mortal.appends_left = after, when
        try:
            action()
        except Crash:
            self.journal.close()
            self.open_writer()
            return True
        mortal.appends_left = None
        return False

    @rule(
        epoch=st.integers(0, 1),
        reads=st.sampled_from([(), ("evolution/0000/0/1",)]),
        again=st.booleans(),
    )
    def begin(self, epoch, reads, again):
        attempts, last = self.model[epoch], self.last(epoch)
        opening = self.writer.begin(epoch, Stage.IDEAS, reads=reads, again=again)
        if last is not None and last.state is AttemptState.OPEN and last.reads == reads:
            expected = OpeningKind.RESUMED
        else:
            changed = last is not None and last.state is AttemptState.OPEN
            if changed:
                last.state = AttemptState.ABANDONED
            assert (opening.abandoned is not None) == changed
            done = any(a.state is AttemptState.COMPLETE for a in attempts)
            expected = (
                OpeningKind.COMPLETE if done and not changed and not again else OpeningKind.NEW
            )
            if expected is OpeningKind.NEW:
                assert opening.attempt.n == len(attempts)
                attempts.append(ModelAttempt(reads))
        assert opening.kind is expected

    @rule(epoch=st.integers(0, 1), number=st.integers(1, 3))
    def record(self, epoch, number):
        rows = [fact(epoch, 0, self.made + i) for i in range(number)]
        self.made += number
        self.writer.record(*rows)
        self.facts += [row.completion_id for row in rows]

    def open_epochs(self):
        return [e for e in self.model if self.last(e) and self.last(e).state is AttemptState.OPEN]

    def complete_epochs(self):
        return [
            e for e in self.model if self.last(e) and self.last(e).state is AttemptState.COMPLETE
        ]

    @precondition(lambda self: self.open_epochs())
    @rule(
        data=st.data(),
        number=st.integers(0, 3),
        where=st.sampled_from(["lake", "journal"]),
        when=st.integers(0, 5),
        after=st.booleans(),
    )
    def complete(self, data, number, where, when, after):
        epoch = data.draw(st.sampled_from(self.open_epochs()))
        attempt = self.attempt(epoch)
        rows = [idea(attempt.read, ordinal) for ordinal in range(number)]
        died = self.crash(
            lambda: self.writer.complete(attempt, rows), where=where, when=when, after=after
        )
        if not died or self.attempt(epoch).state is AttemptState.COMPLETE:
            last = self.last(epoch)
            last.state, last.rows = AttemptState.COMPLETE, [row.idea_id for row in rows]

    @precondition(lambda self: self.complete_epochs())
    @rule(
        data=st.data(),
        number=st.integers(1, 2),
        where=st.sampled_from(["lake", "journal"]),
        when=st.integers(0, 5),
        after=st.booleans(),
    )
    def extend(self, data, number, where, when, after):
        epoch = data.draw(st.sampled_from(self.complete_epochs()))
        last, attempt = self.last(epoch), self.attempt(epoch)
        rows = [idea(attempt.read, len(last.rows) + i) for i in range(number)]
        if self.crash(
            lambda: self.writer.extend(attempt, rows), where=where, when=when, after=after
        ):
            rows.append(idea(attempt.read, len(last.rows) + len(rows)))
            self.writer.extend(self.attempt(epoch), rows)
        last.rows += [row.idea_id for row in rows]

    @rule(where=st.sampled_from(["lake", "journal"]), when=st.integers(0, 2), after=st.booleans())
    def flush(self, where, when, after):
        self.crash(self.writer.flush, where=where, when=when, after=after)

    @rule()
    def reopen(self):
        self.journal.close()
        self.open_writer()

    @rule()
    def maintain(self):
        self.lake.maintain(small_files=1)

    @invariant()
    def the_log_is_the_model(self):
        if not hasattr(self, "model"):
            return
        for epoch, attempts in self.model.items():
            found = self.writer.log.attempts(epoch, Stage.IDEAS)
            assert [a.state for a in found] == [a.state for a in attempts]
            assert [a.n for a in found] == list(range(len(attempts)))
            closed = [a for a in attempts if a.state is not AttemptState.OPEN]
            assert self.writer.log.next_n(epoch, Stage.IDEAS) == len(closed)

    def teardown(self):
        if not hasattr(self, "model"):
            return
        self.reopen()
        self.the_log_is_the_model()
        assert sorted(r.completion_id for r in self.lake.read(Completion)) == sorted(self.facts)
        events = [e.attempt_id for e in self.lake.read(AttemptEvent)]
        assert len(events) == len(set(events))
        history = [row.idea_id for row in self.lake.read(Idea)]
        assert sorted(history) == sorted(i for a in self.model.values() for x in a for i in x.rows)
        complete = {
            epoch: [a.rows for a in attempts if a.state is AttemptState.COMPLETE]
            for epoch, attempts in self.model.items()
        }
        visible = [i for rows in complete.values() if rows for i in rows[-1]]
        assert sorted(row.idea_id for row in self.lake.current(Idea, "demo")) == sorted(visible)
        connection = connect(self.lake)
        seen = connection.execute("select idea_id from ideas").fetchall()
        assert sorted(i for (i,) in seen) == sorted(visible)
        connection.close()
        self.journal.close()


Attempts.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestAttempts = Attempts.TestCase


def event(stage: Stage, n: int, seq: int, kind: AttemptKind, reads=(), epoch=0) -> AttemptEvent:
    return AttemptEvent(
        campaign="demo",
        epoch=epoch,
        n=n,
        stage=stage,
        seq=seq,
        kind=kind,
        reads=tuple(reads),
        attempt_id=attempt_id(campaign="demo", epoch=epoch, stage=stage, n=n, seq=seq),
    )


@st.composite
def histories(draw) -> list[AttemptEvent]:
    """Events of one epoch whose stages were done, redone, abandoned and extended at will."""
    events: list[AttemptEvent] = []
    numbers = dict.fromkeys(Stage, 0)
    stages = list(Stage)
    for stage in draw(st.lists(st.sampled_from(stages), max_size=14)):
        n = numbers[stage]
        numbers[stage] += 1
        before = stages[stages.index(stage) - 1] if stage is not stages[0] else None
        reads = ["scores/0007/0/1"]
        if before is not None and draw(st.booleans()):
            reads.append(str(Read(before, 0, draw(st.integers(0, numbers[before])), 1)))
        events.append(event(stage, n, 0, AttemptKind.OPENED, reads))
        end = draw(st.sampled_from(["completed", "completed", "extended", "abandoned", "open"]))
        if end == "abandoned":
            events.append(event(stage, n, 1, AttemptKind.ABANDONED))
        elif end != "open":
            events.append(event(stage, n, 1, AttemptKind.COMPLETED, reads))
        if end == "extended":
            events.append(event(stage, n, 2, AttemptKind.EXTENDED, reads))
    return events


@settings(max_examples=25, deadline=None)
@given(histories(), st.randoms())
def test_the_chain_in_sql_is_the_chain_of_the_log(tmp_path_factory, events, shuffler):
    store = Lake.open(tmp_path_factory.mktemp("chain"))
    store.append(events)
    shuffler.shuffle(events)
    chain = AttemptLog(events).current(0)
    connection = connect(store, views={"scores"})
    found = connection.execute("select stage, n, seq from current_attempts").fetchall()
    connection.close()
    assert sorted(found) == sorted((s.value, a.n, a.seq) for s, a in chain.items())


def test_the_chain_is_resolved_from_its_end():
    events = []
    for n in range(2):
        events += [
            event(Stage.RUNS, n, 0, AttemptKind.OPENED),
            event(Stage.RUNS, n, 1, AttemptKind.COMPLETED),
        ]
    events += [
        event(Stage.SCORES, 0, 0, AttemptKind.OPENED, ["runs/0000/0/1"]),
        event(Stage.SCORES, 0, 1, AttemptKind.COMPLETED, ["runs/0000/0/1"]),
    ]
    chain = AttemptLog(events).current(0)
    assert {stage: attempt.n for stage, attempt in chain.items()} == {
        Stage.RUNS: 0,
        Stage.SCORES: 0,
    }
    without_scores = AttemptLog(events[:4]).current(0)
    assert without_scores[Stage.RUNS].n == 1


@given(st.sampled_from(Stage), *(st.integers(0, 10**6) for _ in range(3)))
def test_a_read_says_itself(stage, epoch, n, seq):
    read = Read(stage, epoch, n, seq)
    assert Read.parse(str(read)) == read


def test_a_read_has_four_digits_and_a_wrong_one_is_explained():
    assert str(Read(Stage.SCORES, 3, 0, 1)) == "scores/0003/0/1"
    for wrong in ("scores/3/0", "score/0003/0/1", "scores/x/0/1", ""):
        with pytest.raises(AttemptError, match="stage/epoch/n/seq"):
            Read.parse(wrong)


@pytest.fixture
def writer(tmp_path):
    journal = Journal.open(tmp_path / "journal.db")
    yield Writer(Lake.open(tmp_path / "lake"), journal, "demo")
    journal.close()


def test_rows_of_another_attempt_are_refused_and_nothing_is_committed(writer):
    attempt = writer.begin(0, Stage.IDEAS).attempt
    stranger = idea(Read(Stage.IDEAS, 0, 1, 0), 0)
    own = idea(attempt.read, 0)
    for rows in ([stranger], [own, own], [fact(0, 0, 0)]):
        with pytest.raises(RowError):
            writer.complete(attempt, rows)
    assert writer.read(Idea) == []
    assert writer.complete(attempt, [own], counts={"fresh": 1}).counts == {"fresh": 1}


def test_an_attempt_is_completed_once(writer):
    attempt = writer.begin(0, Stage.IDEAS).attempt
    writer.complete(attempt, [idea(attempt.read, 0)])
    for wrong in (
        lambda: writer.complete(attempt, []),
        lambda: writer.abandon(attempt, "x"),
        lambda: writer.extend(writer.begin(1, Stage.IDEAS).attempt, []),
    ):
        with pytest.raises(AttemptError, match=r"Writer\.begin"):
            wrong()


def test_facts_in_the_journal_are_read_before_they_are_in_delta(writer):
    attempt = writer.begin(0, Stage.IDEAS, origin=Origin(config="{}", dagster_run_id="d")).attempt
    writer.record(fact(0, 0, 1), fact(0, 0, 2))
    assert writer.lake.read(Completion) == []
    assert [row.ordinal for row in writer.facts(Completion, attempt)] == [1, 2]
    assert writer.journal.pending() == 0
    assert (attempt.config, attempt.dagster_run_id) == ("{}", "d")


def test_a_fact_that_cannot_be_stored_is_refused_at_the_journal(writer):
    bad = fact(0, 0, 0)
    object.__setattr__(bad, "cost_usd", float("nan"))
    with pytest.raises(RowError, match="cost_usd"):
        writer.record(fact(0, 0, 1), bad)
    assert writer.journal.pending() == 0


def test_a_journal_that_cannot_be_opened_says_so(tmp_path):
    (tmp_path / "file").write_text("not a database, but longer than a header of one" * 50)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="journal"):
            Journal.open(path)


def search(writer: Writer) -> None:
    """A program that may be started again at any point: two facts, two rows, then two late rows."""
    opening = writer.begin(0, Stage.IDEAS)
    attempt = opening.attempt
    have = {row.ordinal for row in writer.facts(Completion, attempt)}
    for number in range(2):
        if number not in have:
            writer.record(fact(0, attempt.n, number))
    if opening.kind is not OpeningKind.COMPLETE:
        attempt = writer.complete(attempt, [idea(attempt.read, i) for i in range(2)])
    attempt = writer.extend(attempt, [idea(attempt.read, 2)])
    writer.extend(attempt, [idea(attempt.read, i) for i in range(4)])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", ["lake", "journal"])
@pytest.mark.parametrize("when", range(9))
def test_a_death_at_any_write_loses_and_repeats_nothing(tmp_path, where, when, after):
    lake, journal = MortalLake.open(tmp_path / "lake"), MortalJournal.open(tmp_path / "journal.db")
    mortal = lake if where == "lake" else journal
    mortal.appends_left, mortal.after = when, after
    with contextlib.suppress(Crash):
        search(Writer(lake, journal, "demo"))
    journal.close()
    again = Journal.open(tmp_path / "journal.db")
    writer = Writer(Lake.open(tmp_path / "lake"), again, "demo")
    visible = len(writer.lake.current(Idea, "demo"))
    assert visible in (0, 2, 3, 4)
    search(writer)
    writer.flush()
    assert [row.ordinal for row in writer.lake.read(Completion)] == [0, 1]
    assert [row.ordinal for row in writer.lake.read(Idea)] == [0, 1, 2, 3]
    assert [row.ordinal for row in writer.lake.current(Idea, "demo")] == [0, 1, 2, 3]
    assert [row.seq for row in writer.lake.read(AttemptEvent)] == [0, 1, 2, 3]
    again.close()


def test_a_first_commit_without_its_event_is_healed_by_the_next_writer(writer):
    attempt = writer.begin(0, Stage.IDEAS).attempt
    app = App("rows/demo/0000/ideas/0", 1)
    writer.lake.append([idea(attempt.read, i) for i in range(2)], app=app, seq=1)
    writer.flush()
    assert writer.lake.current(Idea, "demo") == []
    again = Writer(writer.lake, writer.journal, "demo")
    assert len(writer.lake.current(Idea, "demo")) == 2
    opening = again.begin(0, Stage.IDEAS, reads=["evolution/0000/0/1"])
    assert opening.kind is OpeningKind.COMPLETE
    assert (opening.attempt.counts, opening.attempt.reads) == ({"rows": 2}, ())
    assert "before it recorded that" in opening.attempt.reason


def test_a_lineage_is_walked_to_its_roots_once_and_across_attempts(writer):
    def row(key: str, *parents: str, n: int = 0) -> Idea:
        place = {"campaign": "demo", "epoch": 0, "n": n, "ordinal": 0}
        return Idea(**place, idea_id=key, kind=IdeaKind.FRESH, title="", text="", parents=parents)

    family = [row("d", "b", "c"), row("b", "a"), row("c", "a", "lost", n=1), row("a"), row("e")]
    assert ancestors(writer.lake, "d") == []
    writer.lake.append(family)
    for campaign in (None, "demo"):
        assert ancestors(writer.lake, "d", campaign=campaign) == [
            ("d", 0),
            ("b", 1),
            ("c", 1),
            ("a", 2),
        ]
    assert ancestors(writer.lake, "unknown") == ancestors(writer.lake, "d", campaign="x") == []


def test_a_late_commit_without_its_event_is_healed_and_not_mixed_with_later_rows(writer):
    attempt = writer.begin(0, Stage.IDEAS).attempt
    attempt = writer.complete(attempt, [idea(attempt.read, 0)])
    writer.lake.append([idea(attempt.read, 1)], app=App("rows/demo/0000/ideas/0", 2), seq=2)
    assert len(writer.lake.current(Idea, "demo")) == 1
    attempt = writer.extend(attempt, [idea(attempt.read, i) for i in (1, 2)])
    assert attempt.seq == 3
    assert [row.ordinal for row in writer.lake.current(Idea, "demo")] == [0, 1, 2]
    assert len(writer.lake.layer(Idea, "demo", Read(Stage.IDEAS, 0, 0, 2))) == 2


def test_facts_journaled_after_a_drain_that_died_are_added_once(tmp_path):
    lake, journal = MortalLake.open(tmp_path / "lake"), Journal.open(tmp_path / "journal.db")
    journal.append(fact(0, 0, 0))
    lake.appends_left, lake.after = 0, True
    with pytest.raises(Crash):
        journal.drain(lake)
    journal.append(fact(0, 0, 1))
    assert (journal.pending(), journal.drain(Lake.open(lake.uri))) == (2, 1)
    assert [row.ordinal for row in lake.read(Completion)] == [0, 1]
    assert journal.pending() == 0
    journal.close()


FACTS, IDEAS, KILLS = 6, 3, 6


def work(folder: str) -> None:
    """Epoch after epoch: six facts, each acknowledged in a file once durable, then three rows."""
    acknowledged = os.open(f"{folder}/acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    journal = Journal.open(f"{folder}/journal.db")
    writer = Writer(Lake.open(f"{folder}/lake"), journal, "demo")
    for epoch in itertools.count():
        if not writer.log.open_attempts() and Path(folder, "enough").exists():
            return
        opening = writer.begin(epoch, Stage.IDEAS)
        if opening.kind is OpeningKind.COMPLETE:
            continue
        have = {row.ordinal for row in writer.facts(Completion, opening.attempt)}
        for number in range(FACTS):
            if number not in have:
                writer.record(fact(epoch, opening.attempt.n, number))
                os.write(acknowledged, f"{epoch}/{number}\n".encode())
            if number == FACTS // 2:
                writer.flush()
        rows: list[Row] = [idea(opening.attempt.read, i) for i in range(IDEAS)]
        writer.complete(opening.attempt, rows)


def wait_for_work(file: Path) -> None:
    """Returns once another fact is acknowledged."""
    size = file.stat().st_size if file.exists() else 0
    deadline = time.monotonic() + 30
    while not file.exists() or file.stat().st_size == size:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_writer_killed_at_random_moments_loses_and_repeats_nothing(tmp_path):
    context, moments = get_context("spawn"), random.Random()
    acknowledged = tmp_path / "acknowledged"
    for _ in range(KILLS):
        child = context.Process(target=work, args=(str(tmp_path),))
        child.start()
        wait_for_work(acknowledged)
        time.sleep(moments.uniform(0, 0.3))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    (tmp_path / "enough").touch()
    child = context.Process(target=work, args=(str(tmp_path),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    store = Lake.open(tmp_path / "lake")
    epochs = store.attempts("demo").epochs()
    facts = [f"{row.epoch}/{row.ordinal}" for row in store.read(Completion)]
    assert len(facts) == len(set(facts)) == len(epochs) * FACTS
    assert set(acknowledged.read_text().split()) <= set(facts)
    assert len(store.read(Idea)) == len(store.current(Idea, "demo")) == len(epochs) * IDEAS
    assert {row.n for row in store.read(Idea)} == {0}
