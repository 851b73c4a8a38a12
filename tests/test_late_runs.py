"""Runs that outlive the quorum of their epoch join its layer, whatever is killed meanwhile."""

import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest
from campaigns import materialize, rows, search_all
from conftest import PROJECT, VARVE, child_environment, write_campaign

from assets.attempt.monitor import Hooks
from assets.config.home import Home
from assets.graph.search import open_search
from lake import Lake, query
from lake.tables import (
    AttemptEvent,
    AttemptKind,
    Run,
    RunEvent,
    RunEventKind,
    Score,
    Selection,
    Stage,
)

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
def slow_home(home, tmp_path) -> Home:
    """A campaign of which one idea of the first epoch takes far longer than the others."""
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
