"""Every version of a table can be opened for ever, and each commit says what made it."""

import os
import time
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from lake import App, Journal, Lake, Stage, Writer
from lake.schema import to_frame
from lake.tables import Score, ScoreStatus

OLD_PROPERTIES = {"delta.appendOnly": "true", "delta.checkpointInterval": "20"}
DAYS = 24 * 60 * 60


def score(number: int) -> Score:
    return Score(
        campaign="demo",
        epoch=number % 3,
        n=0,
        score_id=str(number),
        run_id="r",
        metric="loss",
        status=ScoreStatus.VALID,
        evaluator="e",
        value=1.0,
    )


def age(uri: Path, days: int) -> None:
    then = time.time() - days * DAYS
    for path in (uri / "_delta_log").iterdir():
        os.utime(path, (then, then))


def openable(uri: Path) -> list[int]:
    """The versions that can still be opened."""
    found = []
    for version in range(DeltaTable(uri).version() + 1):
        try:
            DeltaTable(uri, version=version)
        except Exception:  # noqa: BLE001  deltalake has no one type for a version that is gone
            continue
        found.append(version)
    return found


def make_old_table(uri: Path, commits: int) -> None:
    """A table as it was made before its properties told Delta to keep its log."""
    for number in range(commits):
        write_deltalake(
            uri,
            to_frame([score(number)]),
            mode="append",
            partition_by=["campaign", "epoch"],
            configuration=OLD_PROPERTIES if number == 0 else None,
        )


def append_by_another_program(uri: Path, commits: int) -> None:
    """Commits as deltalake makes them by itself, with its own cleaning of the log."""
    for number in range(commits):
        write_deltalake(uri, to_frame([score(1000 + number)]), mode="append")


@pytest.mark.parametrize("made_by", ["an older Varve", "this Varve"])
def test_no_version_is_forgotten_when_the_log_is_old(tmp_path, made_by):
    store, uri = Lake.open(tmp_path), tmp_path / "scores"
    if made_by == "an older Varve":
        make_old_table(uri, 45)
    else:
        for number in range(45):
            store.append([score(number)])
    age(uri, 60)
    for number in range(100, 145):
        store.append([score(number)], app=App("a", number))
    age(uri, 400)
    store.maintain(small_files=1)
    append_by_another_program(uri, 25)
    store.maintain(small_files=1)
    assert openable(uri) == list(range(DeltaTable(uri).version() + 1))
    assert len(store.read(Score)) == 115
    entries = [path for path in (uri / "_delta_log").glob("*.json") if path.stem.isdigit()]
    assert len(entries) == DeltaTable(uri).version() + 1


def test_the_log_of_a_table_without_these_properties_is_cleaned(tmp_path):
    make_old_table(tmp_path, 45)
    age(tmp_path, 60)
    append_by_another_program(tmp_path, 45)
    assert len(openable(tmp_path)) < 60


def test_files_that_compaction_replaced_outlive_a_vacuum(tmp_path):
    store, uri = Lake.open(tmp_path), tmp_path / "scores"
    for number in range(20):
        store.append([score(number)])
    store.maintain(small_files=1)
    for path in uri.rglob("*.parquet"):
        os.utime(path, (0, 0))
    assert DeltaTable(uri).vacuum(dry_run=False) == []
    files = DeltaTable(uri, version=5).file_uris()
    assert pl.read_parquet(files, hive_partitioning=True).height == 5


def test_an_older_table_is_given_its_properties_without_a_row(tmp_path):
    make_old_table(tmp_path / "scores", 2)
    Lake.open(tmp_path).maintain()
    found = DeltaTable(tmp_path / "scores").metadata().configuration
    assert found["delta.enableExpiredLogCleanup"] == "false"
    assert found["delta.logRetentionDuration"] == found["delta.deletedFileRetentionDuration"]
    version = DeltaTable(tmp_path / "scores").version()
    Lake.open(tmp_path).maintain()
    assert DeltaTable(tmp_path / "scores").version() == version


def test_a_commit_says_what_made_it(tmp_path):
    journal = Journal.open(tmp_path / "journal.db")
    writer = Writer(Lake.open(tmp_path), journal, "demo", code_version="c0de")
    attempt = writer.begin(2, Stage.SCORES).attempt
    writer.complete(attempt, [score(2)])
    wanted = {
        "varve.campaign": "demo",
        "varve.stage": "scores",
        "varve.attempt": "scores/0002/0",
        "varve.code_version": "c0de",
    }
    for table in ("scores", "attempts"):
        newest = DeltaTable(tmp_path / table).history(1)[0]
        assert {key: newest.get(key) for key in wanted} == wanted
    journal.close()


def test_a_commit_of_the_journal_names_every_attempt_in_it(tmp_path):
    journal = Journal.open(tmp_path / "journal.db")
    writer = Writer(Lake.open(tmp_path), journal, "demo")
    for epoch in (0, 1):
        writer.begin(epoch, Stage.IDEAS)
    writer.flush()
    newest = DeltaTable(tmp_path / "attempts").history(1)[0]
    assert newest["varve.attempt"] == "ideas/0000/0,ideas/0001/0"
    assert "varve.code_version" not in newest
    journal.close()
