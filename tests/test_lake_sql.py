"""SQL: what is current, what is history, and what is refused."""

import csv
import io
import json
from pathlib import Path

import pytest

from lake import FORMATS, VIEWS, Journal, Lake, QueryError, ReadOnlyError, Writer, connect, query
from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    Patch,
    PatchStatus,
    Row,
    Run,
    RunStatus,
    Score,
    ScoreStatus,
    Selection,
    SelectionRole,
    Stage,
)


def rows_for(stage: Stage, place: dict, number: int) -> list[Row]:
    """One baseline and `number - 1` ideas, from selection to score; ids tell the place."""
    rows: list[Row] = []
    for i in range(number):
        key = f"{place['epoch']}-{i}"
        made: dict[Stage, Row] = {
            Stage.EVOLUTION: Selection(
                **place,
                selection_id=f"{key}-{place['n']}",
                ordinal=i,
                role=SelectionRole.PARENT,
                idea_id=key,
                reason="best",
            ),
            Stage.IDEAS: Idea(
                **place,
                idea_id=key,
                ordinal=i,
                kind=IdeaKind.EXPLOIT if i else IdeaKind.BASELINE,
                title=f"idea {key}",
                text="text",
            ),
            Stage.PATCHES: Patch(
                **place,
                patch_id=f"p{key}",
                idea_id=key,
                ordinal=0,
                revision=0,
                format="none",
                diff="",
                base_tree="t",
                status=PatchStatus.APPLIED,
            ),
            Stage.RUNS: Run(
                **place,
                run_id=f"r{key}",
                patch_id=f"p{key}",
                run_key=key,
                seed=0,
                profile="cpu",
                launcher="local",
                status=RunStatus.FINISHED,
                cpu_seconds=1.5,
                versions={"python": "3"},
                sandbox_level="none",
            ),
            Stage.SCORES: Score(
                **place,
                score_id=f"s{key}-{place['n']}",
                run_id=f"r{key}",
                metric="val_loss",
                value=2.5 - i if i < 2 else None,
                reward=1 / (2.5 - i) if i < 2 else None,
                blame=None if i < 2 else Blame.TIMEOUT,
                reason=None if i < 2 else "slow",
                status=ScoreStatus.VALID if i < 2 else ScoreStatus.INVALID,
                evaluator="e",
                measures={"last": 2.5, "cuts": 512.0},
            ),
        }
        rows.append(made[stage])
    return rows


def do_stage(writer: Writer, epoch: int, stage: Stage, *, number: int = 3, again: bool = False):
    before = list(Stage)[: list(Stage).index(stage)][-1:]
    chain = writer.log.current(epoch)
    newest = [writer.log.newest(epoch, each) for each in before] if again else []
    reads = [
        str((newest[0] or chain[each]).read if newest else chain[each].read) for each in before
    ]
    attempt = writer.begin(epoch, stage, reads=reads, again=again).attempt
    place = {"campaign": writer.campaign, "epoch": epoch, "n": attempt.n}
    return writer.complete(attempt, rows_for(stage, place, number))


@pytest.fixture
def writer(tmp_path):
    journal = Journal.open(tmp_path / "journal.db")
    yield Writer(Lake.open(tmp_path / "lake"), journal, "demo")
    journal.close()


@pytest.fixture
def searched(writer):
    for epoch in range(2):
        for stage in Stage:
            do_stage(writer, epoch, stage)
    return writer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two epochs that nobody adds to; its folder holds nothing else but a file beside the lake."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "outside.txt").write_text("secret")
    journal = Journal.open(folder / "journal.db")
    writer = Writer(Lake.open(folder / "lake"), journal, "demo")
    for epoch in range(2):
        for stage in Stage:
            do_stage(writer, epoch, stage)
    journal.close()
    return writer.lake


def answers(lake: Lake, sql: str) -> list[tuple]:
    return query(lake, sql).rows


def test_an_empty_lake_has_every_view_with_its_columns_and_no_rows(tmp_path):
    empty = Lake.open(tmp_path / "nothing")
    for view in VIEWS:
        result = query(empty, f"select * from {view}")
        assert result.rows == []
        assert {"campaign", "epoch"} <= set(result.columns)
    described = dict(row[:2] for row in answers(empty, "describe scores"))
    assert described["measures"] == "MAP(VARCHAR, DOUBLE)"
    assert described["created_at"] == "TIMESTAMP WITH TIME ZONE"
    assert not (tmp_path / "nothing").exists()


def test_types_of_an_empty_view_are_those_of_a_filled_one(finished, tmp_path):
    for view in VIEWS:
        full = query(finished, f"select * from {view} limit 0")
        empty = query(tmp_path / "nothing", f"select * from {view}")
        assert (full.columns, full.types) == (empty.columns, empty.types), view


def test_the_leaderboard_has_a_row_per_scored_idea_with_its_reason(finished):
    rows = answers(
        finished,
        "select epoch, kind, title, value, reason, blame, run_id, cpu_seconds from leaderboard "
        "where campaign = 'demo' and epoch = 1 order by reward desc nulls last",
    )
    assert rows == [
        (1, "exploit", "idea 1-1", 1.5, None, None, "r1-1", 1.5),
        (1, "baseline", "idea 1-0", 2.5, None, None, "r1-0", 1.5),
        (1, "exploit", "idea 1-2", None, "slow", "timeout", "r1-2", 1.5),
    ]
    guards = "select distinct cuts, sandbox_level from leaderboard where run_id is not null"
    assert answers(finished, guards) == [(512, "none")]


def test_one_stage_rerun_alone_is_current_only_when_its_successors_have_read_it(searched):
    lake = searched.lake
    do_stage(searched, 0, Stage.RUNS, number=2, again=True)
    assert answers(lake, "select n, count(*) from runs where epoch = 0 group by n") == [(0, 3)]
    assert answers(lake, "select count(*) from runs_history where epoch = 0") == [(5,)]
    assert len(lake.current(Run, "demo", epoch=0)) == 3
    do_stage(searched, 0, Stage.SCORES, number=2, again=True)
    assert answers(lake, "select n, count(*) from runs where epoch = 0 group by n") == [(1, 2)]
    assert answers(lake, "select n, count(*) from scores where epoch = 0 group by n") == [(1, 2)]
    assert answers(lake, "select n, count(*) from ideas where epoch = 0 group by n") == [(0, 3)]
    assert len(lake.current(Run, "demo", epoch=0)) == 2
    assert len(lake.current(Run, "demo")) == 5


def test_rows_are_not_current_before_their_event(searched):
    lake = searched.lake
    opened = searched.begin(2, Stage.IDEAS).attempt
    rows = rows_for(Stage.IDEAS, {"campaign": "demo", "epoch": 2, "n": opened.n}, 2)
    lake.append(rows, seq=1)
    assert answers(lake, "select count(*) from ideas where epoch = 2") == [(0,)]
    assert answers(lake, "select count(*) from ideas_history where epoch = 2") == [(2,)]
    assert lake.current(Idea, "demo", epoch=2) == []
    late = rows_for(Stage.RUNS, {"campaign": "demo", "epoch": 1, "n": 0}, 4)[3:]
    lake.append(late, seq=2)
    assert answers(lake, "select count(*) from runs where epoch = 1") == [(3,)]
    assert len(lake.current(Run, "demo", epoch=1)) == 3


def test_late_rows_are_seen_from_their_event_on_and_not_by_an_earlier_reader(searched):
    runs = searched.log.newest(1, Stage.RUNS)
    late = rows_for(Stage.RUNS, {"campaign": "demo", "epoch": 1, "n": 0}, 4)
    longer = searched.extend(runs, late)
    assert (runs.seq, longer.seq) == (1, 2)
    assert answers(searched.lake, "select count(*) from runs where epoch = 1") == [(4,)]
    assert len(searched.lake.layer(Run, "demo", runs.read)) == 3
    assert len(searched.lake.layer(Run, "demo", longer.read)) == 4
    assert searched.extend(runs, late) == longer


def test_maps_lists_and_times_come_back_as_python_values(finished):
    row = answers(finished, "select versions, sandbox_gaps, created_at from runs limit 1")[0]
    assert row[:2] == ({"python": "3"}, [])
    assert row[2].utcoffset().total_seconds() == 0
    assert answers(finished, "select distinct measures['last'] from scores") == [(2.5,)]


@pytest.mark.parametrize(
    "sql",
    [
        "with a as (select 1 as x) select x from a",
        "from ideas",
        "values (1)",
        "explain select * from ideas",
        "explain analyze select * from ideas",
        "describe ideas",
        "show tables",
        "summarize select epoch from ideas",
        "select * from scores; ",
        "-- a comment\nselect 1 /* ; */",
        "select * from IDEAS",
    ],
)
def test_statements_that_read_are_answered(finished, sql):
    assert answers(finished, sql)


def test_show_tables_lists_every_view(finished):
    assert {row[0] for row in answers(finished, "show tables")} >= set(VIEWS)


OTHERWISE = ("select * from '/etc/passwd'", "select * from query('create table t as select 1')")
"""Refused as an unknown table, and by DuckDB's parser."""


@pytest.mark.parametrize(
    "sql",
    [
        "insert into ideas values (1)",
        "delete from ideas_history",
        "update ideas set title = ''",
        "create table t (x int)",
        "create macro m() as 1",
        "drop view ideas",
        "copy (select 1) to '{lake}/ideas/x.csv'",
        "copy ideas to '/tmp/x.csv'",
        "explain analyze copy (select 1) to '{lake}/x.csv'",
        "explain analyze /* /* */ select 1 -- */ copy (select 42 as a) to '{lake}/x.csv'",
        "explain(analyze) copy (select 1) to '{lake}/x.csv'",
        "explain /* a */ analyze -- b\n create table t as select 1",
        "attach '{lake}/x.db'",
        "export database '{lake}/x'",
        "set threads = 1",
        "set enable_external_access = true",
        "reset enable_external_access",
        "pragma database_list",
        "install httpfs",
        "load httpfs",
        "call pragma_version()",
        "use memory",
        "begin",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "select * from read_text('{lake}/../outside.txt')",
        "select * from glob('/etc/*')",
        "select * from read_parquet('https://example.org/x.parquet')",
        "select * from query('create table t as select 1')",
    ],
)
def test_statements_that_write_or_look_elsewhere_are_refused(finished, sql):
    folder = Path(finished.uri).parent
    before = sorted(folder.rglob("*"))
    with pytest.raises(QueryError) as refused:
        query(finished, sql.format(lake=finished.uri))
    assert "secret" not in str(refused.value)
    assert isinstance(refused.value, ReadOnlyError) or sql in OTHERWISE
    assert refused.value.expected
    assert refused.value.todo
    assert sorted(folder.rglob("*")) == before


def test_two_statements_are_one_too_many(finished):
    with pytest.raises(QueryError, match="2 statements"):
        query(finished, "select 1; drop view ideas")
    with pytest.raises(QueryError, match="0 statements"):
        query(finished, " ")


def test_local_variables_of_the_program_are_not_tables(finished):
    frame = {"a": [1]}
    with pytest.raises(QueryError, match="unknown table 'frame'"):
        query(finished, "select * from frame")
    assert frame


def test_a_wrong_name_gets_the_known_ones_and_a_guess(finished):
    with pytest.raises(QueryError, match=r"unknown table 'idea'.*leaderboard.*Did you mean ideas"):
        query(finished, "select * from idea")
    with pytest.raises(QueryError, match="titel"):
        query(finished, "select titel from ideas")
    with pytest.raises(QueryError, match="syntax error"):
        query(finished, "selec 1")


def test_a_connection_serves_many_queries_and_stays_shut(finished):
    connection = connect(finished)
    assert connection.execute("select count(*) from ideas").fetchall() == [(6,)]
    assert connection.execute("select count(*) from leaderboard").fetchall() == [(6,)]


def test_columns_of_one_name_are_told_apart_in_json(finished):
    sql = "select 1 as a, 2 as a, 3 as a_1, 4 as a"
    (record,) = json.loads(FORMATS["json"](query(finished, sql)))
    assert record == {"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}


def test_csv_json_and_table_show_the_same_rows(finished):
    sql = (
        "select title, measures, value, scores.created_at "
        "from scores join ideas on run_id = 'r' || idea_id order by 1"
    )
    result = query(finished, sql)
    records = json.loads(FORMATS["json"](result))
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](result))))
    assert (
        [r["title"] for r in records] == [r["title"] for r in lines] == [r[0] for r in result.rows]
    )
    assert (
        records[0]["measures"] == json.loads(lines[0]["measures"]) == {"last": 2.5, "cuts": 512.0}
    )
    assert (records[2]["value"], lines[2]["value"]) == (None, "")
    assert records[0]["created_at"].endswith("+00:00")
    assert "idea 0-0" in FORMATS["table"](result)
    assert "[bold]" in FORMATS["table"](query(finished, "select '[bold]x' as a"))
