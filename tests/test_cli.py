"""`varve` as people and programs use it: a process, its output, its exit code."""

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from campaigns import facts, rows, search_all
from click.testing import CliRunner
from conftest import VARVE, child_environment, write_campaign

from assets.cli import main
from lake import Lake
from lake.tables import Idea, RunEvent, RunEventKind


def varve(home, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(VARVE), *arguments],
        env=child_environment(home) | {"COLUMNS": "160"} | environment,
        capture_output=True,
        text=True,
    )


def test_help_names_every_command_with_lines_to_copy():
    said = CliRunner().invoke(main, ["--help"]).output
    for command in main.commands:
        assert command in said
        help_text = CliRunner().invoke(main, [command, "--help"]).output
        assert "Example" in help_text, command
        assert "\\b" not in help_text
        assert len(help_text.splitlines()) > 6


@pytest.mark.trains
def test_a_search_ends_with_a_table_and_the_next_three_commands(home):
    done = varve(home, "search", "small")
    assert done.returncode == 0, done.stderr
    for piece in ("Best ideas", "noise units", "make ui", "varve sql", "varve backfill small"):
        assert piece in done.stdout
    again = varve(home, "search", "small")
    assert "Nothing is missing" in again.stdout


@pytest.mark.trains
def test_a_search_can_be_limited_to_some_epochs_and_goes_on_later(home):
    assert varve(home, "search", "small", "--epochs", "1").returncode == 0
    assert Lake.open(home.lake).attempts("small").epochs() == [0]
    assert "next epoch 0001" in varve(home, "campaigns").stdout
    assert varve(home, "search", "small", "--epochs", "9").returncode == 0
    assert Lake.open(home.lake).attempts("small").epochs() == [0, 1, 2]
    assert "complete" in varve(home, "campaigns").stdout


@pytest.mark.trains
def test_a_backfill_makes_new_attempts_in_order(home):
    search_all(home)
    done = varve(home, "backfill", "small", "--epochs", "1-2")
    assert done.returncode == 0, done.stderr
    log = Lake.open(home.lake).attempts("small")
    assert [log.current(epoch)["scores"].n for epoch in range(3)] == [0, 1, 1]
    assert "scores/0001/1/1" in log.current(2)["evolution"].reads


@pytest.mark.trains
def test_lineage_shows_parents_under_their_child(home):
    search_all(home)
    exploits = [i for i in rows(home, Idea) if i.parents]
    done = varve(home, "lineage", exploits[-1].idea_id)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in (exploits[-1].idea_id, *exploits[-1].parents))
    assert varve(home, "lineage", exploits[-1].idea_id[:8]).stdout == done.stdout
    for unknown, said in (
        ("nope", "found the id 'nope'"),
        ("0" * 16, f"no id begins with '{'0' * 16}'"),
    ):
        refused = varve(home, "lineage", unknown)
        assert refused.returncode == 1
        assert said in refused.stderr


@pytest.mark.parametrize("span", ["3", "2-1", "x", "1-", "0-9", "-1"])
def test_a_wrong_span_of_epochs_is_refused(home, span):
    done = varve(home, "backfill", "small", f"--epochs={span}")
    assert done.returncode == 1
    assert "expected one epoch or FIRST-LAST within 0-2" in done.stderr


@pytest.mark.trains
def test_sql_answers_as_table_csv_and_json(home):
    search_all(home)
    question = (
        "select kind, count(*) n, max(value) best from leaderboard group by all order by kind"
    )
    records = json.loads(varve(home, "sql", question, "--format", "json").stdout)
    assert records[0]["kind"] == "baseline"
    assert sum(record["n"] for record in records) == 13
    lines = list(
        csv.DictReader(io.StringIO(varve(home, "sql", question, "--format", "csv").stdout))
    )
    assert [line["kind"] for line in lines] == [record["kind"] for record in records]
    assert "baseline" in varve(home, "sql", question).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "smal"], "no campaign 'smal'; there is broken, small"),
        (["search", "broken"], "epochs: "),
        (["sql", "select * from idea"], "Did you mean ideas?"),
        (["sql", "selec 1"], "syntax error"),
        (["sql", "drop view ideas"], "read-only"),
        (["sql", "copy ideas to 'x.csv'"], "read-only"),
        (["sql", "insert into ideas values (1)"], "read-only"),
        (["sql", "select 1; drop view ideas"], "Expected one"),
    ],
)
def test_bad_input_is_answered_in_words_with_exit_code_1(home, arguments, said):
    write_campaign(home.campaigns, "broken", epochs="four")
    done = varve(home, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_search_without_git_begins_nothing(home):
    done = varve(home, "search", "small", PATH=str(home.root))
    assert done.returncode == 1
    assert "git: not found in PATH=" in done.stderr
    assert "Traceback" not in done.stderr
    assert Lake.open(home.lake).attempts("small").epochs() == []


def test_doctor_says_where_git_is_or_how_to_get_it(home):
    assert f"\ngit: {shutil.which('git')}\n" in varve(home, "doctor").stdout
    without = varve(home, "doctor", PATH=str(home.root))
    assert without.returncode == 1
    assert "\ngit: not found in PATH=" in without.stdout


@pytest.mark.trains
def test_the_other_campaigns_still_run_beside_a_broken_one(home):
    write_campaign(home.campaigns, "broken", epochs="four")
    assert varve(home, "search", "small", "--epochs", "1").returncode == 0
    assert "found 'four'" in varve(home, "campaigns").stdout


def test_a_campaign_whose_environment_cannot_run_here_is_listed_so(home):
    write_campaign(home.campaigns, "nowhere", environment="nowhere")
    write_campaign(home.campaigns, "big", environment="nanogpt", profile="h100x8")
    listed = " ".join(varve(home, "campaigns").stdout.split())
    assert "no such environment folder" in listed
    assert "not available yet" in listed


@pytest.mark.trains
def test_a_search_without_a_terminal_prints_that_it_lives(home):
    lines = varve(home, "search", "small", "--epochs", "1").stdout.splitlines()
    counted = [line for line in lines if "jobs done" in line]
    assert counted[0].startswith("epoch 0000 · ")
    assert 2 <= len(counted) <= 5


@pytest.mark.trains
def test_a_row_too_wide_for_the_terminal_is_shown_column_by_column(home):
    varve(home, "search", "small", "--epochs", "1")
    question = "select * from leaderboard where kind = 'fresh' limit 1"
    narrow = subprocess.run(
        [sys.executable, str(VARVE), "sql", question],
        env=child_environment(home) | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    lines = narrow.stdout.splitlines()
    assert any(line.startswith("│ idea_id ") for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert "1 row" in lines[-1]


@pytest.mark.trains
@pytest.mark.parametrize(("times", "cancelled"), [(1, 0), (2, 1)])
def test_ctrl_c_once_waits_and_twice_cancels(home, times, cancelled):
    catalog = home.root.parent / "slow.toml"
    catalog.write_text(SLOW)
    slow = [{"model": "catalog", "name": str(catalog)}]
    write_campaign(home.campaigns, ideators=slow, batch=2)
    process = subprocess.Popen(
        [sys.executable, str(VARVE), "search", "small"],
        env=child_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_slow_job(home)
    assert f"running: varve search small, process {process.pid}" in varve(home, "campaigns").stdout
    wait_for_slow_job(home)  # the one before may have ended
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "goes on where this stopped" in said
    kinds = [e.kind for e in rows(home, RunEvent)]
    assert bool(kinds.count(RunEventKind.CANCELLED)) == bool(cancelled)
    before = facts(home)
    search_all(home)
    assert before.items() <= facts(home).items()
    scored = {e.run_id for e in rows(home, RunEvent) if e.kind is RunEventKind.FINISHED}
    assert len(scored) == len([e for e in rows(home, RunEvent) if e.kind is RunEventKind.FINISHED])


SLOW = "\n".join(
    f"""
[[ideas]]
name = "slow{n}"
title = "Sleep, then go on"
text = "It takes a while."
[[ideas.edits]]
file = "train.py"
search = 'PAUSE_SECONDS = 0.0'
replace = 'PAUSE_SECONDS = 5.{n}'
"""
    for n in range(6)
)


def wait_for_slow_job(home) -> None:
    """Until a job that sleeps has just begun to train."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        for train in home.jobs.glob("*/env/train.py"):  # laid down again when it is scored
            age = time.time() - (train.parents[1] / "spec.json").stat().st_mtime
            if "PAUSE_SECONDS = 0.0" not in train.read_text() and age < 1:
                time.sleep(1)
                return
        time.sleep(0.05)
    raise AssertionError("no slow job was started")


def run_to_end(home, *arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    """A command, whatever it ends with."""
    return subprocess.run(
        [sys.executable, str(VARVE), *arguments],
        env=child_environment(home),
        capture_output=True,
        text=True,
    )


def test_a_question_leaves_nothing_on_stderr(home):
    done = run_to_end(home, "sql", "select 1 as a")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sql", b"select '\xff'"), "bytes that are not UTF-8"),
        (("search", "x" * 300), "no campaign 'xxx"),
        (("backfill", "x" * 300, "--epochs", "0"), "no campaign 'xxx"),
    ],
)
def test_what_a_command_line_may_hold_is_answered_in_words(home, arguments, said):
    done = run_to_end(home, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_cannot_be_made_is_told_in_words(home):
    environment = child_environment(home) | {"VARVE_HOME": "/proc/nope"}
    done = subprocess.run(
        [sys.executable, str(VARVE), "campaigns"], env=environment, capture_output=True, text=True
    )
    assert "/proc/nope/runs: found that it cannot be made" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


ENDLESS = "with recursive t(x) as (select 1 union all select x + 1 from t) select count(*) from t"


def test_ctrl_c_ends_a_question(home):
    process = subprocess.Popen(
        [sys.executable, str(VARVE), "sql", ENDLESS],
        env=child_environment(home),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, said) == (130, "varve: stopped at your request\n")
