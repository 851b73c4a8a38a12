"""Runs that outlive the quorum of their epoch join its layer, whatever is killed meanwhile."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib import metadata

import pytest
from campaigns import PressedAfter, materialize, opened, rows, search_all
from conftest import PROJECT, VARVE, child_environment, write_campaign
from rows import run
from scratch import scratch

from assets.attempt.monitor import Hooks, Stop
from assets.config.home import Home
from assets.errors import Interrupted
from assets.graph.search import open_search
from assets.runs.late import late_attempts, without_rows
from lake import App, Journal, Lake, Writer, query
from lake.tables import (
    AttemptEvent,
    AttemptKind,
    Blame,
    Run,
    RunEvent,
    RunEventKind,
    Score,
    Selection,
    Stage,
)
from launchers import here
from launchers.folder import LOCK, OUT, TREE

pytestmark = pytest.mark.trains
SLOW_SECONDS = 6.0
CATALOG = """
[[ideas]]
name = "{name}"
title = "{name}"
text = "{name}"
[[ideas.edits]]
file = "train.py"
search = '{search}'
replace = '{replace}'
"""
EDITS = {
    "slow": ("PAUSE_SECONDS = 0.0", f"PAUSE_SECONDS = {SLOW_SECONDS}; RIDGE = 1.0"),
    "light": ("RIDGE = 30.0", "RIDGE = 10.0"),
    "lighter": ("RIDGE = 30.0", "RIDGE = 5.0"),
    "heavy": ("RIDGE = 30.0", "RIDGE = 60.0"),
}


@pytest.fixture
def slow_home(home, tmp_path, monkeypatch) -> Home:
    """A campaign of which one idea of the first epoch takes far longer than the others.

    Each job has locks of its own, as on a machine of its own: on one machine nobody is scored while
    the slow one trains.
    """
    monkeypatch.setattr(here, "folder_of_turns", lambda: str(scratch("varve-turns-")))
    environment = shutil.copytree(PROJECT / "tests/environments/ridge", tmp_path / "slow")
    told = (CATALOG.format(name=n, search=s, replace=r) for n, (s, r) in EDITS.items())
    (environment / "catalog.toml").write_text("".join(told))
    write_campaign(
        home.campaigns,
        environment=str(environment),
        ideators=[{"model": "catalog"}],
        epochs=2,
        batch=4,
        quorum=0.8,
        launcher={"kind": "local", "slots": 4},
    )
    return home


def events(home: Home, stage: Stage, epoch: int = 0) -> list[AttemptEvent]:
    found = (e for e in rows(home, AttemptEvent) if (e.stage, e.epoch) == (stage, epoch))
    return sorted(found, key=lambda event: (event.n, event.seq))


def kinds(home: Home, stage: Stage, epoch: int = 0) -> list[AttemptKind]:
    return [event.kind for event in events(home, stage, epoch)]


GROWN = [AttemptKind.OPENED, AttemptKind.COMPLETED, AttemptKind.EXTENDED]


def is_whole(home: Home) -> None:
    """Every idea has one run, the baseline three, each run one score, and nothing is open."""
    ideas = query(home.lake, "select kind, valid, scored from leaderboard where epoch = 0").rows
    assert sorted(ideas) == [("baseline", 3, 3), *[("fresh", 1, 1)] * 4]
    for row_type in (Run, Score):
        ids = Counter((row.epoch, getattr(row, row.key)) for row in rows(home, row_type))
        assert set(ids.values()) == {1}
    log = Lake.open(home.lake).attempts("small")
    assert not log.open_attempts()
    for attempt in log.attempts(0, Stage.RUNS):
        assert "late" not in attempt.counts
        assert attempt.counts["rows"] == 7


def test_an_epoch_closes_at_its_quorum_and_the_late_run_joins_its_own_layer(slow_home):
    search_all(slow_home, hooks=Hooks(sandbox="none"))
    with open_search(slow_home, "small", Hooks(sandbox="none"), doing="test") as search:
        search.wait_for_late()
    assert kinds(slow_home, Stage.RUNS) == kinds(slow_home, Stage.SCORES) == GROWN
    completed, extended = events(slow_home, Stage.RUNS)[1:]
    assert (completed.counts["rows"], completed.counts["late"]) == (6, 1)
    assert extended.counts["rows"] == 7
    is_whole(slow_home)
    (slow,) = query(slow_home.lake, "select value from leaderboard where title = 'slow'").rows
    assert slow[0] is not None


def test_later_epochs_see_what_has_joined_before_they_began(slow_home):
    with open_search(slow_home, "small", Hooks(sandbox="none"), doing="test") as search:
        first, second = search.missing()
        search.materialize(first)
        assert kinds(slow_home, Stage.RUNS) == GROWN[:2]
        time.sleep(SLOW_SECONDS)
        search.materialize(second)
    assert kinds(slow_home, Stage.RUNS) == kinds(slow_home, Stage.SCORES) == GROWN
    (opened,) = [e for e in events(slow_home, Stage.EVOLUTION, 1) if e.kind is AttemptKind.OPENED]
    assert opened.reads == ("scores/0000/0/2",)
    shown = {selection.idea_id for selection in rows(slow_home, Selection)}
    (slow,) = query(slow_home.lake, "select idea_id from leaderboard where title = 'slow'").rows
    assert slow[0] in shown
    is_whole(slow_home)


def test_a_full_quorum_waits_for_all(slow_home):
    path = slow_home.campaigns / "small" / "defs.yaml"
    path.write_text(re.sub(r"quorum: .*", "quorum: 1.0", path.read_text()))
    materialize(slow_home, 0, Stage)
    assert kinds(slow_home, Stage.RUNS) == GROWN[:2]
    is_whole(slow_home)


def start_search(home: Home) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(VARVE), "search", "small", "--sandbox", "none"],
        env=child_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_a_kill_at_any_moment_loses_no_late_run_and_repeats_none(slow_home):
    moments = random.Random(9)
    for _ in range(5):
        process = start_search(slow_home)
        time.sleep(moments.uniform(3.0, 8.0))
        process.kill()
        process.communicate()
    process = start_search(slow_home)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    is_whole(slow_home)
    ends = (RunEventKind.FINISHED, RunEventKind.FAILED)
    ended = Counter(e.run_id for e in rows(slow_home, RunEvent) if e.kind in ends)
    assert set(ended.values()) == {1}


def exchange_torch(monkeypatch) -> None:
    """Another version is installed from here on."""
    real = metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "9.9" if name == "torch" else real(name)
    )


def close_first_epoch(home: Home) -> RunEvent:
    """Works until the first epoch closes at its quorum; gives how its late run began."""
    materialize(home, 0, Stage)
    assert kinds(home, Stage.RUNS) == GROWN[:2]
    known = {run.run_id for run in rows(home, Run)}
    begun = [e for e in rows(home, RunEvent) if e.kind is RunEventKind.INTENDED]
    (late,) = [event for event in begun if event.run_id not in known]
    return late


def wait_for_late(home: Home) -> Run:
    """Waits for the late run; gives its row."""
    known = {run.run_id for run in rows(home, Run)}
    with open_search(home, "small", Hooks(sandbox="none"), doing="test") as search:
        assert search.wait_for_late() == 1
        assert search.wait_for_late() == 0
    (row,) = [run for run in rows(home, Run) if run.run_id not in known]
    return row


def test_a_late_run_joins_as_it_was_begun_though_torch_was_exchanged_meanwhile(
    slow_home, monkeypatch
):
    begun = close_first_epoch(slow_home)
    exchange_torch(monkeypatch)
    row = wait_for_late(slow_home)
    assert (row.run_id, row.run_key) == (begun.run_id, begun.run_key)
    assert row.value is not None
    assert "torch" not in row.versions
    is_whole(slow_home)


def test_a_lost_late_run_is_not_begun_again_with_another_torch(slow_home, monkeypatch):
    begun = close_first_epoch(slow_home)
    supervisor = (slow_home.jobs / begun.run_id / LOCK).read_text().split()[0]
    os.kill(int(supervisor), signal.SIGKILL)
    exchange_torch(monkeypatch)
    row = wait_for_late(slow_home)
    assert (row.run_id, row.value, row.blame) == (begun.run_id, None, Blame.INFRASTRUCTURE)
    found = Counter(e.kind for e in rows(slow_home, RunEvent) if e.run_id == begun.run_id)
    assert (found[RunEventKind.INTENDED], found[RunEventKind.FAILED]) == (1, 1)
    (score,) = [score for score in rows(slow_home, Score) if score.run_id == row.run_id]
    assert score.reason == "the supervisor died"


def test_events_of_an_attempt_that_is_resumed_with_another_torch_have_ids_of_their_own(
    home, monkeypatch
):
    stop = Stop()
    hooks = Hooks(monitor=PressedAfter(stop, done=2, times=1), stop=stop, sandbox="none")
    with pytest.raises(Interrupted):
        search_all(home, hooks=hooks)
    exchange_torch(monkeypatch)
    search_all(home, hooks=Hooks(sandbox="none"))
    events = [event for event in rows(home, RunEvent) if event.epoch == 0]
    begun = {event.run_id for event in events if event.kind is RunEventKind.INTENDED}
    assert len(begun) > len({event.ordinal for event in events}), "some began under two ids"
    assert len({event.event_id for event in events}) == len(events)


@pytest.mark.parametrize("ridge", ["1.0", "1e9"], ids=["the best", "not the best"])
def test_the_folder_of_a_late_run_is_cleared_when_it_joins(slow_home, ridge):
    catalog = slow_home.root.parent / "slow" / "catalog.toml"
    catalog.write_text(catalog.read_text().replace("RIDGE = 1.0", f"RIDGE = {ridge}"))
    close_first_epoch(slow_home)
    materialize(slow_home, 1, Stage)
    assert kinds(slow_home, Stage.RUNS) == GROWN[:2], "it must outlive the next epoch too"
    row = wait_for_late(slow_home)
    assert not (slow_home.jobs / row.run_id / TREE).exists()
    best = opened(slow_home).summary().kept_runs
    assert (row.run_id in best) == (ridge == "1.0")
    kept = {run.run_id for run in rows(slow_home, Run) if has_outputs(slow_home, run)}
    assert kept == best


def has_outputs(home: Home, run: Run) -> bool:
    return (home.jobs / run.run_id / OUT).exists()


@pytest.fixture
def healed(home) -> Iterator[Writer]:
    """A runs attempt whose process died between the commit of its rows and the event."""
    lake = Lake.open(home.lake)
    place = {"campaign": "small", "epoch": 0, "n": 0}
    with closing(Journal.open(home.journal("small"))) as journal:
        writer = Writer(lake, journal, "small")
        writer.begin(0, Stage.RUNS)
        writer.record(begin_of("done"))
        row = replace(run("done"), **place, run_id="done")
        lake.append([row], app=App("rows/small/0000/runs/0", 1), seq=1)
        yield Writer(lake, journal, "small")


def begin_of(run_id: str, ordinal: int = 0) -> RunEvent:
    told = {"run_key": "k", "ordinal": ordinal, "kind": RunEventKind.INTENDED}
    return RunEvent(campaign="small", epoch=0, n=0, event_id=run_id, run_id=run_id, **told)


def test_the_facts_of_a_healed_attempt_that_lacks_nothing_are_read_once(healed):
    (attempt,) = late_attempts(healed.log)
    assert without_rows(healed, attempt) == set()
    healed.record(begin_of("never in a complete attempt", 1))
    assert without_rows(healed, attempt) == set()


def test_a_healed_attempt_that_lacks_a_row_is_asked_again_until_it_has_it(healed):
    healed.record(begin_of("late", 1))
    (attempt,) = late_attempts(healed.log)
    assert without_rows(healed, attempt) == {"late"}
    assert without_rows(healed, attempt) == {"late"}
    row = replace(run("late"), campaign="small", run_id="late")
    assert without_rows(healed, healed.extend(attempt, [row])) == set()
