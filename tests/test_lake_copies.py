"""A journal that was copied with its home and went on in both loses and repeats nothing."""

import shutil
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st

from lake import Journal, Lake, Stage, Writer
from lake.ids import attempt_id
from lake.tables import AttemptEvent, AttemptKind, RunEvent, RunEventKind

STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "drain", "copy"]), st.integers(0, 3)),
    max_size=20,
)


def fact(number: int) -> RunEvent:
    return RunEvent(
        campaign="demo",
        epoch=0,
        n=0,
        event_id=str(number),
        run_id="r",
        run_key="k",
        ordinal=number,
        kind=RunEventKind.INTENDED,
    )


class Homes:
    """Homes of one lake; each call opens a journal anew, as a process that holds the lock does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake, self.homes = folder, Lake.open(folder / "lake"), 0
        self.numbers, self.home = count(), self.made()

    def made(self) -> Path:
        self.homes += 1
        return self.folder / f"home{self.homes}"

    def append(self, home: Path, rows: int = 1) -> None:
        journal = Journal.open(home / "journal.db")
        journal.append(*(fact(next(self.numbers)) for _ in range(rows)))
        journal.close()

    def drain(self, home: Path) -> int:
        journal = Journal.open(home / "journal.db")
        moved = journal.drain(self.lake)
        assert journal.pending() == 0
        journal.close()
        return moved

    def copy(self, home: Path) -> Path:
        return Path(shutil.copytree(home, self.made()))

    def found(self) -> list[int]:
        return sorted(int(row.event_id) for row in self.lake.read(RunEvent))


def test_both_go_on_after_a_copy(tmp_path):
    homes = Homes(tmp_path)
    homes.append(homes.home, 3)
    homes.drain(homes.home)
    other = homes.copy(homes.home)
    homes.append(other, 5)
    homes.drain(other)
    homes.append(homes.home, 2)
    assert homes.drain(homes.home) == 2
    homes.append(other, 1)
    homes.append(homes.home, 9)
    assert (homes.drain(homes.home), homes.drain(other)) == (9, 1)
    assert homes.found() == list(range(20))


def test_what_was_not_moved_when_the_copy_was_made_is_moved_once(tmp_path):
    homes = Homes(tmp_path)
    homes.append(homes.home, 3)
    other = homes.copy(homes.home)
    homes.append(homes.home, 2)
    homes.append(other, 1)
    assert (homes.drain(other), homes.drain(homes.home)) == (4, 2)
    assert homes.found() == list(range(6))


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_any_order_of_work_in_any_copies_loses_and_repeats_nothing(steps):
    homes = Homes(Path(mkdtemp()))
    known = [homes.home]
    homes.append(homes.home)
    for step, which in steps:
        home = known[which % len(known)]
        made = getattr(homes, step)(home)
        known += [made] if step == "copy" else []
    for home in known:
        homes.drain(home)
    assert homes.found() == list(range(next(homes.numbers)))
    shutil.rmtree(homes.folder)


def test_a_search_goes_on_in_the_first_home_after_one_in_its_copy(tmp_path):
    homes = Homes(tmp_path)

    def work(home: Path, epoch: int) -> None:
        journal = Journal.open(home / "journal.db")
        writer = Writer(homes.lake, journal, "demo")
        attempt = writer.begin(epoch, Stage.EVOLUTION).attempt
        writer.record(fact(next(homes.numbers)))
        writer.complete(attempt, [])
        journal.close()

    work(homes.home, 0)
    other = homes.copy(homes.home)
    work(other, 1)
    for home, epoch in ((homes.home, 2), (homes.home, 3), (other, 4)):
        work(home, epoch)
    assert homes.lake.attempts("demo").epochs() == [0, 1, 2, 3, 4]
    assert homes.found() == list(range(5))
    assert not homes.lake.attempts("demo").open_attempts()


def test_of_two_events_of_one_attempt_the_first_in_the_lake_holds(tmp_path):
    homes = Homes(tmp_path)

    def opened(code_version: str) -> AttemptEvent:
        place = {"campaign": "demo", "epoch": 0, "stage": Stage.IDEAS, "n": 0, "seq": 0}
        kind = AttemptKind.OPENED
        named = attempt_id(**place)
        return AttemptEvent(**place, attempt_id=named, kind=kind, code_version=code_version)

    for home, said in ((homes.home, "first"), (homes.made(), "second")):
        journal = Journal.open(home / "journal.db")
        journal.append(opened(said))
        journal.close()
        homes.drain(home)
    assert [event.code_version for event in homes.lake.read(AttemptEvent)] == ["first"]
