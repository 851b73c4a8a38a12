"""What a process keeps of a lake: never other than what a reader who kept nothing sees."""

import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from test_lake_sql import do_stage, rows_for

import lake.kept
from assets.results import layers
from assets.results.history import History
from lake import Journal, Lake, Stage, Writer, costs
from lake.errors import StorageError
from lake.shared import shared_lake
from lake.tables import Completion, Run, Score, Selection


def seen(lake: Lake) -> dict:
    """All that is kept anywhere, as this reader sees it."""
    log = lake.attempts("demo")
    history = History(lake, log, "demo")
    epochs = log.epochs()
    scores = [log.newest(epoch, Stage.SCORES) for epoch in epochs]
    return {
        "current": {epoch: log.current(epoch) for epoch in epochs},
        "attempts": [log.attempts(epoch, stage) for epoch in epochs for stage in Stage],
        "before": history.before(max(epochs, default=-1) + 1),
        "read by": history.read_by(str(each.read) for each in scores if each),
        "costs": costs(lake, "demo"),
        "found": lake.read(Run, where={"run_key": ["0-0", "1-2", "2-9"]}),
        "none": lake.read(Score, campaign="demo", where={"run_id": ["unknown"]}),
    }


def layer_by_layer(lake: Lake) -> list:
    """Current layers as single reads give them."""
    log = lake.attempts("demo")
    found = []
    for epoch in log.epochs():
        chain = log.current(epoch)
        runs = chain.get(Stage.RUNS)
        found += lake.layer(Run, "demo", runs.read) if runs else []
    return found


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def writer(tmp_path, folder):
    """Another process, as far as a shared lake can tell."""
    journal = Journal.open(tmp_path / "journal.db")
    yield Writer(Lake.open(folder), journal, "demo")
    journal.close()


def price(epoch: int, number: int) -> Completion:
    return Completion(
        campaign="demo",
        epoch=epoch,
        n=0,
        completion_id=f"{epoch}-{number}",
        stage=Stage.IDEAS,
        role="ideator",
        ordinal=number,
        model="m",
        request="{}",
        finish_reason="stop",
        cost_usd=0.25,
    )


def work(writer: Writer, rng: random.Random, number: int) -> None:
    """Something that a search, a backfill or a late job does."""
    log, epoch = writer.log, rng.randrange(3)
    runs = log.newest(epoch, Stage.RUNS)
    what = rng.choice(["epoch", "epoch", "late", "facts", "compact", "open"])
    if what == "epoch":
        for stage in Stage:
            do_stage(writer, epoch, stage, number=rng.randint(1, 4), again=True)
    elif what == "late" and runs is not None:
        place = {"campaign": "demo", "epoch": epoch, "n": runs.n}
        writer.extend(runs, rows_for(Stage.RUNS, place, 5))
    elif what == "facts":
        writer.record(price(epoch, number), price(epoch, -number - 1))
        writer.flush()
    elif what == "compact":
        writer.lake.maintain(small_files=1)
    elif what == "open":
        writer.begin(epoch, Stage.EVOLUTION, again=True)
        writer.flush()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_another_process_does_what_is_kept_is_what_is_there(writer, folder, seed):
    rng = random.Random(seed)
    reader = shared_lake(folder)
    for number in range(20):
        work(writer, rng, number)
        assert seen(reader) == seen(Lake.open(folder))
        runs = [s.run for s in seen(reader)["before"] if s.run]
        assert {r.run_id for r in runs} <= {r.run_id for r in layer_by_layer(Lake.open(folder))}


def test_what_finds_no_room_is_read_again_and_is_the_same(writer, folder, monkeypatch):
    reader = Lake.open(folder)
    for epoch in range(3):
        for stage in Stage:
            do_stage(writer, epoch, stage)
    writer.record(price(0, 0))
    writer.flush()
    whole = seen(Lake.open(folder))
    monkeypatch.setattr(layers, "MOST_BYTES", 20_000)
    monkeypatch.setattr(lake.kept, "MOST_BYTES", 0)
    for _ in range(3):
        assert seen(reader) == whole
    assert reader._kept._frames == {}


def test_a_lake_that_was_deleted_and_made_anew_is_another_one(tmp_path, folder):
    told = []
    for value in (1, 2):
        journal = Journal.open(tmp_path / f"journal{value}.db")
        writer = Writer(shared_lake(folder), journal, "demo")
        for stage in Stage:
            do_stage(writer, 0, stage, number=value)
        journal.close()
        assert shared_lake(folder) is writer.lake
        told.append(seen(shared_lake(folder)))
        shutil.rmtree(folder)
        assert not shared_lake(folder).attempts("demo").epochs()
    assert [len(one["before"]) for one in told] == [1, 2]


def test_a_table_that_was_replaced_in_its_place_is_read_anew(writer, tmp_path, folder):
    for stage in Stage:
        do_stage(writer, 0, stage, number=2)
    shutil.copytree(folder, tmp_path / "backup")
    do_stage(writer, 0, Stage.SCORES, number=1, again=True)
    later = seen(shared_lake(folder))
    shutil.rmtree(folder / "attempts")
    shutil.copytree(tmp_path / "backup/attempts", folder / "attempts")
    earlier = seen(shared_lake(folder))
    assert earlier == seen(Lake.open(folder)) != later


def lay_over(copy: Path, folder: Path) -> None:
    """Makes a folder what its copy was, as `rsync -a --delete` does it."""
    copied = {path.relative_to(copy) for path in copy.rglob("*")}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.relative_to(folder) not in copied:
            path.unlink() if path.is_file() else path.rmdir()
    shutil.copytree(copy, folder, dirs_exist_ok=True)


def test_an_older_copy_that_was_laid_over_a_lake_is_another_lake(writer, tmp_path, folder):
    for stage in Stage:
        do_stage(writer, 0, stage, number=2)
    shutil.copytree(folder, tmp_path / "backup")
    do_stage(writer, 0, Stage.SCORES, number=1, again=True)
    later = seen(shared_lake(folder))
    lay_over(tmp_path / "backup", folder)
    earlier = seen(shared_lake(folder))
    assert earlier == seen(Lake.open(folder)) != later


@pytest.mark.parametrize("epochs", [1, 2], ids=["as many commits", "more commits"])
def test_whoever_goes_on_from_an_older_copy_is_read_and_not_what_was_there(
    writer, tmp_path, folder, epochs
):
    for stage in Stage:
        do_stage(writer, 0, stage, number=2)
    shutil.copytree(folder, tmp_path / "backup")
    for stage in Stage:
        do_stage(writer, 1, stage, number=2)
    before = seen(shared_lake(folder))
    lay_over(tmp_path / "backup", folder)
    with closing(Journal.open(tmp_path / "other.db")) as journal:
        other = Writer(Lake.open(folder), journal, "demo")
        for epoch in range(1, 1 + epochs):
            for stage in Stage:
                do_stage(other, epoch, stage, number=3)
    assert seen(shared_lake(folder)) == seen(Lake.open(folder)) != before


def test_whoever_read_scores_before_they_were_extended_sees_what_was_there(writer, folder):
    for stage in Stage:
        do_stage(writer, 0, stage, number=2 if stage in (Stage.RUNS, Stage.SCORES) else 3)
    log = writer.log
    scores, runs = log.newest(0, Stage.SCORES), log.newest(0, Stage.RUNS)
    before = History(writer.lake, log, "demo").read_by([str(scores.read)])
    place = {"campaign": "demo", "epoch": 0, "n": 0}
    longer = writer.extend(runs, rows_for(Stage.RUNS, place, 3)[2:])
    last = rows_for(Stage.SCORES, place, 3)[2:]
    whole = writer.extend(scores, last, reads=[str(longer.read)])
    history = History(shared_lake(folder), writer.lake.attempts("demo"), "demo")
    assert history.read_by([str(scores.read)]) == before
    assert history.read_by([str(whole.read)]) == history.layer(0)
    assert [s.run is None for s in before] == [False, False, True]
    assert [s.run is None for s in history.layer(0)] == [False, False, False]


def test_a_damaged_data_file_is_named(writer, folder):
    do_stage(writer, 0, Stage.EVOLUTION)
    (path,) = (folder / "selections").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"lake/selections: .*parquet.* Expected a Delta table"):
        Lake.open(folder).read(Selection, campaign="demo")


def test_two_users_of_the_kept_attempts_do_not_see_each_others_events(writer, folder):
    do_stage(writer, 0, Stage.EVOLUTION)
    one, other = writer.lake.attempts("demo"), writer.lake.attempts("demo")
    opened = writer.begin(1, Stage.EVOLUTION).attempt
    assert writer.log.get(opened.read) == opened
    assert one.get(opened.read) is other.get(opened.read) is None
    chain = other.current(0)
    chain.clear()
    assert other.current(0) == one.current(0) != {}
