"""Dagster's history: made by one at a time, rid of dead runs, made again from the lake."""

import dataclasses
import sqlite3
import subprocess
import sys
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest
from campaigns import search_all
from conftest import RIDGE, VARVE, child_environment, trust, write_campaign

from assets.attempt.lock import campaign_held, held
from assets.config.home import Home, find_home
from assets.errors import HistoryError
from assets.graph.campaign import epoch_key
from assets.graph.instance import PROCESS_TAG, fail_dead_runs, open_instance, pool, process_tag
from lake.stages import stages_of
from lake.tables import Stage

TOGETHER, ROUNDS = 4, 3


def home_at(root: Path) -> Home:
    return Home(root=root, lake=str(root / "lake"), campaigns=root / "campaigns")


def open_at_once(folder: str, name: str, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait(120)
        with open_instance(home_at(Path(folder, str(number))), [name]) as instance:
            instance.get_runs_count()


def test_processes_that_make_the_history_at_once_all_open_it(tmp_path):
    context = get_context("spawn")
    barrier = context.Barrier(TOGETHER)
    processes = [
        context.Process(target=open_at_once, args=(str(tmp_path), f"c{i}", barrier))
        for i in range(TOGETHER)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * TOGETHER
    for number in range(ROUNDS):
        with open_instance(home_at(tmp_path / str(number)), []) as instance:
            limits = {
                each.name: each.limit for each in instance.event_log_storage.get_pool_limits()
            }
        assert limits == {pool(f"c{i}"): 1 for i in range(TOGETHER)}


def test_whoever_holds_a_campaign_ends_its_runs_of_hosts_that_are_gone(tmp_path):
    host, boot, pid, born = process_tag()[PROCESS_TAG].split("/")
    far = f"x{host}/{boot}/{pid}/{born}"
    runs = {"far": ("small", far), "mine": ("small", far), "other": ("other", far)}
    runs["here"] = ("small", f"{host}/{boot}/{pid}/{born}")
    with open_instance(home_at(tmp_path), ["small"]) as instance:
        for name, (campaign, tag) in runs.items():
            run = dg.DagsterRun(
                job_name="x",
                run_id=name,
                status=dg.DagsterRunStatus.STARTED,
                asset_selection=frozenset({dg.AssetKey([campaign, "runs"])}),
                tags={PROCESS_TAG: tag},
            )
            instance.add_run(run)
        assert fail_dead_runs(instance) == []
        assert fail_dead_runs(instance, held={"small"}, but="mine") == ["far"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Home:
    """A home whose campaign has run to its end."""
    home = home_at(tmp_path_factory.mktemp("history"))
    write_campaign(home.campaigns, epochs=2, batch=2)
    trust(home, RIDGE)
    search_all(home)
    return home


def two_heads(home: Home) -> None:
    with sqlite3.connect(home.dagster / "history/runs.db") as db:
        db.execute("INSERT INTO alembic_version VALUES ('another')")


def no_database(home: Home) -> None:
    (home.dagster / "history/runs/index.db").write_bytes(b"not a database" * 1000)


@pytest.mark.trains
@pytest.mark.parametrize("damage", [two_heads, no_database])
def test_a_damaged_history_is_told_and_made_again(searched, damage):
    damage(searched)
    with pytest.raises(HistoryError, match="varve rebuild-history"):
        open_instance(searched, ["small"])
    command = [sys.executable, str(VARVE), "search", "small"]
    environment = child_environment(searched)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "varve rebuild-history" in done.stderr
    assert "Traceback" not in done.stderr

    rebuild = [sys.executable, str(VARVE), "rebuild-history"]
    said = subprocess.run(rebuild, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("10 attempts of the lake stand in the new history; the old one")
    aside = Path(said.stdout.rpartition(" lies in ")[2].strip())
    assert (aside / "history").is_dir()
    with open_instance(searched, ["small"]) as instance:
        for stage in stages_of():
            found = instance.get_materialized_partitions(dg.AssetKey(["small", stage.value]))
            assert found == {epoch_key(0), epoch_key(1)}
        newest = instance.get_latest_materialization_event(dg.AssetKey(["small", Stage.SCORES]))
        assert newest.asset_materialization.tags["dagster/data_version"] == "scores/0001/0/1"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Nothing is missing" in done.stdout


def test_a_history_is_not_made_again_while_somebody_works(tmp_path):
    home = home_at(tmp_path)
    write_campaign(home.campaigns)
    with open_instance(home, []):
        pass
    with held(home.lock("small"), doing="a long search"):
        command = [sys.executable, str(VARVE), "rebuild-history"]
        environment = child_environment(home)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "a long search" in done.stderr
    assert home.dagster.is_dir()


def test_two_homes_of_one_lake_do_not_work_on_one_campaign_at_once(tmp_path):
    first = home_at(tmp_path / "first")
    second = dataclasses.replace(home_at(tmp_path / "second"), lake=first.lake)
    write_campaign(second.campaigns)
    trust(second, RIDGE)
    with campaign_held(first, "small", doing="a long search elsewhere"):
        command = [sys.executable, str(VARVE), "search", "small"]
        environment = child_environment(second)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        with campaign_held(first, "other", doing="another campaign"):
            pass
    assert done.returncode == 1
    assert "a long search elsewhere" in done.stderr
    with campaign_held(second, "small", doing="later"):
        pass


def test_a_lake_that_is_named_as_a_file_is_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VARVE_LAKE", f"file://{tmp_path}/lake")
    assert find_home().lake == f"{tmp_path}/lake"
