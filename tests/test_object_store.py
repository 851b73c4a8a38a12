"""A lake on an object store: rows come once, whole searches end, and SQL answers."""

import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import VARVE, child_environment, write_campaign
from object_store import URI
from test_lake_copies import fact

from lake import App, Lake
from lake.tables import RunEvent


def test_rows_come_once(store):
    event = fact(1)
    lake = Lake.open(URI)
    assert lake.append([event], app=App("a", 1))
    assert not Lake.open(URI).append([event], app=App("a", 1))
    assert Lake.open(URI).read(RunEvent) == [event]
    assert lake.maintain() == {"run_events": 0}


@pytest.mark.trains
def test_a_search_ends_there_and_sql_answers(store, home):
    write_campaign(home.campaigns, epochs=2, batch=2)
    environment = child_environment(replace(home, lake=URI))

    def varve(*words: str) -> str:
        command = [sys.executable, str(VARVE), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "2 epoch(s) in" in varve("search", "small")
    assert "Nothing is missing" in varve("search", "small")
    counted = varve("sql", "select count(*) from scores where value is not null", "--format", "csv")
    assert int(counted.splitlines()[1]) >= 4
    assert not (home.root / "lake").exists()
    assert not store.list("_locks").collect()
