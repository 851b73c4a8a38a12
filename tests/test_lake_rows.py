"""Rows and tables: what goes in comes out, and what must not go in is refused."""

import dataclasses
import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timezone
from enum import StrEnum
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lake
from lake import App, Lake, RowError, SchemaError, StorageError, ids
from lake.columns import SCHEMA_VERSION, Column, Kind, frame_schema, row_columns
from lake.properties import SCHEMA_PROPERTY
from lake.schema import from_frame, from_record, sort_rows, to_frame, to_record
from lake.tables import ROW_TYPES, Idea, IdeaKind, Row, Score, ScoreStatus

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DAYS = (datetime.fromisoformat("1980-01-01"), datetime.fromisoformat("2100-01-01"))
VALUES = {
    Kind.TEXT: TEXT,
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.TIME: st.datetimes(*DAYS, timezones=st.sampled_from([UTC, timezone.max])),
}
PLACES = {
    "campaign": st.sampled_from(["demo", "0001", "a.b-c_d", "x" * 100]),
    "epoch": st.integers(0, 12),
    "n": st.integers(0, 3),
}


def column_values(column: Column) -> st.SearchStrategy:
    if column.words is not None:
        values = st.sampled_from(column.words)
    elif column.kind is Kind.LIST:
        values = st.lists(VALUES[column.item], max_size=4).map(tuple)
    elif column.kind is Kind.MAP:
        values = st.dictionaries(TEXT, VALUES[column.item], max_size=4)
    else:
        values = PLACES.get(column.name, VALUES[column.kind])
    return st.none() | values if column.nullable else values


def rows_of(row_type: type[Row]) -> st.SearchStrategy:
    return st.builds(row_type, **{c.name: column_values(c) for c in row_columns(row_type)})


def score(**values: object) -> Score:
    given = {
        "campaign": "demo",
        "epoch": 0,
        "n": 0,
        "score_id": "s",
        "run_id": "r",
        "metric": "val_loss",
        "status": ScoreStatus.VALID,
        "evaluator": "e",
    }
    return Score(**(given | values))


@pytest.mark.parametrize("row_type", ROW_TYPES, ids=lambda t: t.table)
def test_every_row_comes_back_from_a_frame_and_from_a_record(row_type):
    @settings(max_examples=40, deadline=None)
    @given(st.lists(rows_of(row_type), min_size=1, max_size=5))
    def round_trip(rows):
        frame = to_frame(rows, seq=1)
        assert frame.schema == frame_schema(row_type)
        assert from_frame(row_type, frame) == rows
        assert [from_record(row_type, to_record(row)) for row in rows] == rows

    round_trip()


@pytest.mark.parametrize("row_type", ROW_TYPES, ids=lambda t: t.table)
def test_every_row_comes_back_from_delta(row_type, tmp_path_factory):
    @settings(max_examples=4, deadline=None)
    @given(st.lists(rows_of(row_type), min_size=1, max_size=8, unique_by=lambda r: id(r)))
    def round_trip(rows):
        store = Lake.open(tmp_path_factory.mktemp("lake") / "a lake, with ünusual 'name'")
        assert store.append(rows, seq=1)
        again = Lake.open(store.uri)
        assert again.read(row_type) == sort_rows(rows)
        some = rows[0]
        assert again.read(row_type, campaign=some.campaign, epoch=some.epoch, n=some.n) == (
            sort_rows(
                r for r in rows if (r.campaign, r.epoch, r.n) == (some.campaign, some.epoch, some.n)
            )
        )

    round_trip()


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"value": float("nan")}, "value"),
        ({"value": float("-inf")}, "value"),
        ({"measures": {"last": float("inf")}}, "measures"),
        ({"measures": {"last": None}}, "measures"),
        ({"value": "2.5"}, "value"),
        ({"value": True}, "value"),
        ({"status": "valid"}, "status"),
        ({"metric": None}, "metric"),
        ({"reason": "\ud800"}, "reason"),
        ({"created_at": DAYS[0]}, "created_at"),
        ({"epoch": 2**63}, "epoch"),
        ({"epoch": -1}, "epoch"),
        ({"campaign": "../other"}, "campaign"),
        ({"campaign": ""}, "campaign"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_table_row_and_column(values, column, tmp_path):
    with pytest.raises(RowError) as refused:
        Lake.open(tmp_path).append([score(**values)])
    assert "table scores, row 's', column " + column in refused.value.where
    for part in (refused.value.found, refused.value.expected, refused.value.todo):
        assert part in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_path_that_readers_would_take_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(StorageError, match="VARVE_LAKE"):
        Lake.open(tmp_path / "run=1")


def test_missing_stays_missing_and_a_whole_number_is_a_float(tmp_path):
    store = Lake.open(tmp_path)
    store.append([score(value=None, reason="no run"), score(score_id="t", value=3)])
    missing, whole = store.read(Score)
    assert (missing.value, missing.reason) == (None, "no run")
    assert (whole.value, type(whole.value)) == (3.0, float)


def test_rows_of_two_tables_are_not_one_commit(tmp_path):
    idea = Idea(
        campaign="demo",
        epoch=0,
        n=0,
        idea_id="i",
        ordinal=0,
        kind=IdeaKind.FRESH,
        title="",
        text="",
    )
    with pytest.raises(RowError, match="rows of Score"):
        Lake.open(tmp_path).append([score(), idea])


def test_a_transaction_is_done_once_and_by_any_handle(tmp_path):
    first, second = Lake.open(tmp_path), Lake.open(tmp_path)
    assert first.append([score()], app=App("a", 3))
    assert not first.append([score()], app=App("a", 3))
    assert not second.append([score()], app=App("a", 2))
    assert second.append([score()], app=App("a", 4))
    assert not first.append([score()], app=App("a", 4))
    assert first.append([score()], app=App("b", 0))
    assert len(first.read(Score)) == 3
    assert (first.committed(Score, "a"), first.committed(Idea, "a")) == (4, -1)


def test_tables_refuse_delete_update_and_overwrite(tmp_path):
    from deltalake import DeltaTable, write_deltalake
    from deltalake.exceptions import DeltaError

    store = Lake.open(tmp_path)
    store.append([score()])
    table = DeltaTable(f"{store.uri}/scores")
    frame = to_frame([score(score_id="other")])
    for change in (
        table.delete,
        lambda: table.update(updates={"metric": "'x'"}),
        lambda: write_deltalake(table, frame, mode="overwrite"),
    ):
        with pytest.raises(DeltaError, match="append-only"):
            change()
    assert [row.score_id for row in Lake.open(tmp_path).read(Score)] == ["s"]


def make_table(uri: str, *, version: int, without: str) -> None:
    """A table of `scores` as another version of Varve would have made it."""
    from deltalake import DeltaTable, write_deltalake

    frame = to_frame([score(score_id="old", reason="x")]).drop(without)
    write_deltalake(uri, frame, partition_by=["campaign", "epoch"])
    DeltaTable(uri).alter.set_table_properties(
        {SCHEMA_PROPERTY: str(version)}, raise_if_not_exists=False
    )


def test_a_lake_made_by_a_newer_schema_is_not_touched(tmp_path):
    make_table(f"{tmp_path}/scores", version=SCHEMA_VERSION + 1, without="blame")
    store = Lake.open(tmp_path)
    for touch in (
        lambda: store.read(Score),
        lambda: store.append([score()]),
        lambda: lake.query(store, "select * from scores_history"),
    ):
        with pytest.raises(SchemaError, match="Install the version of Varve"):
            touch()


def test_a_lake_made_by_an_older_schema_opens_and_grows(tmp_path):
    make_table(f"{tmp_path}/scores", version=SCHEMA_VERSION - 1, without="reason")
    store = Lake.open(tmp_path)
    assert store.read(Score)[0].reason is None
    counted = "select count(*), count(reason) from scores_history"
    assert lake.query(store, counted).rows == [(1, 0)]
    store.append([score(score_id="young", reason="late")])
    assert [row.reason for row in store.read(Score)] == [None, "late"]
    assert store.version(Score) == SCHEMA_VERSION
    assert lake.query(store, counted).rows == [(2, 1)]


def run_processes(*calls: tuple) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=call[0], args=call[1:]) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


def append_at(uri: str, campaign: str, barrier: Barrier) -> None:
    store = Lake.open(uri)
    barrier.wait(60)
    assert store.append([score(campaign=campaign, score_id=campaign)], app=App(campaign, 0))


@pytest.mark.parametrize("older", [False, True])
def test_processes_that_make_or_migrate_a_table_at_once_all_append(tmp_path, older):
    for i in range(4):
        uri = tmp_path / str(i)
        if older:
            make_table(f"{uri}/scores", version=SCHEMA_VERSION - 1, without="reason")
        barrier = get_context("spawn").Barrier(5)
        run_processes(*((append_at, str(uri), name, barrier) for name in "vwxyz"))
        ids = sorted(row.score_id for row in Lake.open(uri).read(Score))
        assert ids == ["old"] * older + list("vwxyz")
        made = [path for path in (uri / "scores/_delta_log").glob("*.json") if makes(path)]
        assert older or len(made) == 1


def makes(log_entry: Path) -> bool:
    """Whether a commit sets the table's metadata."""
    return any("metaData" in json.loads(line) for line in log_entry.read_text().splitlines())


def append_many(uri: str, campaign: str, commits: int) -> None:
    store = Lake.open(uri)
    for i in range(commits):
        row = score(campaign=campaign, epoch=i % 3, score_id=f"{campaign}{i}")
        assert store.append([row], app=App(campaign, i))


def maintain_often(uri: str, times: int) -> None:
    for _ in range(times):
        Lake.open(uri).maintain(small_files=1)


def test_campaigns_of_four_processes_write_at_once_and_lose_nothing(tmp_path):
    names = ["a", "b", "c"]
    uri = str(tmp_path / "lake")
    run_processes(*((append_many, uri, name, 25) for name in names), (maintain_often, uri, 6))
    rows = Lake.open(uri).read(Score)
    expected = sorted(f"{name}{i}" for name in names for i in range(25))
    assert sorted(row.score_id for row in rows) == expected


def test_maintenance_keeps_every_row_once(tmp_path):
    store = Lake.open(tmp_path)
    for i in range(30):
        store.append([score(score_id=str(i))], app=App("a", i))
    before = store.read(Score)
    assert store.maintain()["scores"] == 30
    assert store.read(Score) == before
    assert len(store.files(Score)) == 1
    assert not store.append([score()], app=App("a", 29))
    assert store.maintain()["scores"] == 0


def test_known_ids_stay_known():
    idea = ids.idea_id(
        campaign="demo",
        epoch=3,
        n=0,
        ordinal=1,
        kind=IdeaKind.EXPLOIT,
        text="ünder\ud800",
        parents=("a", "b"),
    )
    patch = ids.patch_id(idea_id=idea, n=0, ordinal=0, revision=0, diff="--- a\n")
    run = ids.run_id(patch_id=patch, n=0, run_key="k")
    place = {"campaign": "demo", "epoch": 3, "n": 0}
    known = [
        idea,
        patch,
        run,
        ids.score_id(run_id=run, evaluator="e"),
        ids.completion_id(**place, stage="ideas", role="ideator", ordinal=0, revision=0),
        ids.selection_id(**place, role="parent", ordinal=0, idea_id=idea),
        ids.event_id(**place, stage="runs", ordinal=0, kind="started", repeat=0),
        ids.attempt_id(**place, stage="runs", seq=1),
    ]
    assert known == GOLDEN_IDS
    assert ids.content_id("a", "b") != ids.content_id("ab") != ids.content_id(("a", "b"))


GOLDEN_IDS = [
    "5718fe1f8fe5dc43",
    "f1f5755e23b62d75",
    "3cb5b624926604bf",
    "73934b1e1ddb5746",
    "e1e9938a643cd43e",
    "56a5f936afa469a7",
    "04c7f43417bb470d",
    "a62083b1609d735b",
]
"""Computed by hand from the formulas of the design."""


def test_the_room_exports_what_it_says_and_imports_nothing_heavy():
    for name in lake.__all__:
        assert hasattr(lake, name)
    heavy = ["polars", "deltalake", "duckdb", "dagster", "torch", "rich", "numpy"]
    code = f"import sys, lake; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_vocabulary_documents_its_members():
    tables = importlib.import_module("lake.tables")
    source = Path(tables.__file__).read_text()
    for word in vars(tables).values():
        if isinstance(word, type) and issubclass(word, StrEnum) and word is not StrEnum:
            for member in word:
                assert f'{member.name} = "{member.value}"\n    """' in source


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        score().value = 1.0
