"""A search is killed with SIGKILL at random moments: nothing is lost, nothing repeated.

Then the UI is opened on what the last kill left, and is used as people use it.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import dagster as dg
import pytest
from campaigns import facts, rows
from conftest import PROJECT, RIDGE, VARVE, child_environment, trust, write_campaign
from dagster_ui import Ui, processes_with, running_ui

from assets.config.home import Home
from assets.graph.instance import (
    PROCESS_TAG,
    UNFINISHED,
    fail_dead_runs,
    open_instance,
    process_tag,
)
from lake import Lake
from lake.tables import Run, RunEvent, RunEventKind, Stage

pytestmark = pytest.mark.daemon

KILLS = 10
EPOCHS = ["0000", "0001", "0002"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Makes homes that share a folder of campaigns."""
    folder = tmp_path_factory.mktemp("killed")
    write_campaign(folder / "campaigns")

    def home(name: str) -> Home:
        root = folder / name
        home = Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")
        trust(home, RIDGE)
        return home

    return home


def start_search(home: Home, name: str = "small") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(VARVE), "search", name],
        env=child_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish_search(home: Home, name: str = "small") -> None:
    process = start_search(home, name)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.fixture(scope="module")
def undisturbed(place) -> tuple[Home, float]:
    """A home whose search was left alone, and how many seconds it took."""
    home = place("undisturbed")
    started = time.monotonic()
    finish_search(home)
    return home, time.monotonic() - started


@pytest.fixture(scope="module")
def killed(place, undisturbed) -> Home:
    """A home whose search was killed ten times and then left to end."""
    home, (_, seconds) = place("killed"), undisturbed
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start_search(home)
        time.sleep(moments.uniform(0.2, 0.9) * seconds)
        process.kill()
        process.communicate()
    finish_search(home)
    return home


def test_no_score_is_lost_and_none_differs_from_an_undisturbed_search(killed, undisturbed):
    assert facts(killed) == facts(undisturbed[0])


def test_no_finished_job_is_repeated(killed):
    ends = (RunEventKind.FINISHED, RunEventKind.FAILED)
    ended = Counter(e.run_id for e in rows(killed, RunEvent) if e.kind in ends)
    assert set(ended.values()) == {1}
    for run in rows(killed, Run):
        if run.reused_from is None:
            folder = killed.jobs / run.run_id
            lines = (folder / "events.jsonl").read_text().splitlines()
            kinds = Counter(json.loads(line)["kind"] for line in lines)
            assert kinds["started"] == 1, folder
            assert not list(folder.glob("events.lost-*")), folder


def test_a_killed_search_leaves_no_run_that_blocks_the_campaign(killed):
    with open_instance(killed, ["small"]) as instance:
        statuses = Counter(run.status.value for run in instance.get_runs())
    assert set(statuses) <= {"SUCCESS", "FAILURE"}
    assert statuses["SUCCESS"] >= 1


@pytest.mark.parametrize("status", UNFINISHED)
def test_only_runs_of_dead_processes_are_buried(place, status):
    home = place(f"buried-{status.value}")
    mine = process_tag()[PROCESS_TAG]
    host, boot, pid, born = mine.split("/")
    tags = {
        "mine": mine,
        "dead": f"{host}/{boot}/{pid}/{int(born) - 1}",
        "far": f"x{host}/{boot}/1/1",
    }
    with open_instance(home, ["small"]) as instance:
        for name, tag in tags.items():
            run = dg.DagsterRun(
                job_name="x",
                run_id=f"{name}-{status.value}",
                status=status,
                tags={PROCESS_TAG: tag},
            )
            instance.add_run(run)
        assert fail_dead_runs(instance) == [f"dead-{status.value}"]
        left = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[status]))}
    assert left == {f"mine-{status.value}", f"far-{status.value}"}


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_run_launched_again_is_not_buried_for_the_process_of_its_first(place, status):
    """Dagster copies the tags of the run that it repeats, that of its dead process too."""
    home = place(f"again-{status.value}")
    host, boot, pid, born = process_tag()[PROCESS_TAG].split("/")
    dead, other = (f"{host}/{boot}/{pid}/{int(born) - n}" for n in (1, 2))
    done = dg.DagsterRunStatus.FAILURE
    with open_instance(home, ["small"]) as instance:
        for name, state, tag in (
            ("first", done, dead),
            ("again", status, dead),
            ("died", status, other),
        ):
            parent = None if name == "first" else "first"
            run = dg.DagsterRun(
                job_name="x",
                run_id=name,
                status=state,
                tags={PROCESS_TAG: tag},
                parent_run_id=parent,
                root_run_id=parent,
            )
            instance.add_run(run)
        assert fail_dead_runs(instance) == ["died"]
        assert fail_dead_runs(instance, untagged=True) == ["again"]


@pytest.fixture(scope="module")
def ui(killed):
    """The UI on a killed campaign, one killed in the middle, one broken, one about to break."""
    campaigns = killed.campaigns
    write_campaign(campaigns, "broken", epochs="four")
    write_campaign(campaigns, "nowhere", environment="tests/environments/nowhere")
    catalog = killed.root / "catalog.toml"
    catalog.write_bytes((PROJECT / "tests/environments/ridge/catalog.toml").read_bytes())
    model = [{"model": "catalog", "name": str(catalog)}]
    write_campaign(campaigns, "failing", epochs=2, ideators=model)
    finish_search(killed, "failing")
    write_campaign(campaigns, "halfway", seed=1)
    process = start_search(killed, "halfway")
    wait_for_started_run(killed, "halfway")
    process.kill()
    process.communicate()
    with running_ui(killed) as ui:
        yield ui
    assert not [pid for pid in processes_with(str(killed.root)) if pid != os.getpid()]


def wait_for_started_run(home: Home, campaign: str) -> None:
    """Until Dagster shows a run of the campaign as started, so that a kill leaves it so."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with open_instance(home, []) as instance:
            for run in instance.get_runs():
                keys = run.asset_selection or set()
                if run.status.value == "STARTED" and all(k.path[0] == campaign for k in keys):
                    return
        time.sleep(0.05)
    raise AssertionError("no run was started")


@pytest.fixture(scope="module")
def before(killed) -> int:
    """The attempt of the first epoch's scores before anything is backfilled."""
    return Lake.open(killed.lake).attempts("small").current(0)[Stage.SCORES].n


@pytest.fixture(scope="module")
def backfills(ui: Ui, killed, before) -> dict[str, str]:
    """Campaign -> id of its backfill. Launched together: the daemon looks twice a minute."""
    (killed.root / "catalog.toml").write_text("ideas = 3\n")
    spans = {"small": EPOCHS, "halfway": EPOCHS[:2], "failing": EPOCHS[:2]}
    return {campaign: ui.launch_backfill(campaign, epochs) for campaign, epochs in spans.items()}


def test_a_backfill_runs_the_epochs_in_order_as_new_attempts(ui: Ui, backfills, before, killed):
    assert ui.backfill_status(backfills["small"]) == "COMPLETED_SUCCESS"
    runs = ui.runs(backfills["small"])
    assert [run["epoch"] for run in runs] == EPOCHS
    assert all(a["endTime"] <= b["startTime"] for a, b in pairwise(runs))
    log = Lake.open(killed.lake).attempts("small")
    assert all(log.current(epoch)[Stage.SCORES].n == before + 1 for epoch in range(3))
    assert log.current(2)[Stage.EVOLUTION].reads == ("scores/0000/1/1", "scores/0001/1/1")


def test_a_backfill_of_a_campaign_killed_in_its_first_epoch_still_starts(ui: Ui, backfills, killed):
    assert ui.backfill_status(backfills["halfway"]) == "COMPLETED_SUCCESS"
    runs = ui.runs(backfills["halfway"])
    assert [run["status"] for run in runs] == ["SUCCESS", "SUCCESS"]
    assert not Lake.open(killed.lake).attempts("halfway").open_attempts()


def test_later_epochs_of_a_backfill_refuse_the_stale_scores_of_one_that_failed(
    ui: Ui, backfills, killed
):
    assert ui.backfill_status(backfills["failing"]) == "COMPLETED_FAILED"
    first, second = ui.runs(backfills["failing"])
    assert (first["status"], second["status"]) == ("FAILURE", "FAILURE")
    assert "malformed catalog" in ui.failures(first["runId"])
    said = ui.failures(second["runId"])
    assert "evolution" in said
    assert "whose epoch 0000 has not completed its scores" in said
    assert Lake.open(killed.lake).attempts("failing").current(1)[Stage.SCORES].n == 0


def test_one_stage_of_one_epoch_is_materialized_alone(ui: Ui, killed):
    log = Lake.open(killed.lake).attempts("small")
    before = {stage: log.newest(1, stage).n for stage in Stage}
    run = ui.materialize("small", Stage.SCORES, "0001")
    assert run["status"] == "SUCCESS"
    log = Lake.open(killed.lake).attempts("small")
    after = {stage: log.newest(1, stage).n for stage in Stage}
    assert after == before | {Stage.SCORES: before[Stage.SCORES] + 1}


def test_a_broken_campaign_is_a_group_that_says_why_and_takes_nobody_down(ui: Ui):
    nodes = ui.query("{assetNodes {groupName description assetKey {path}}}")["assetNodes"]
    groups = {node["groupName"] for node in nodes}
    assert {"small", "halfway", "failing", "broken", "nowhere"} <= groups
    (broken,) = [node for node in nodes if node["groupName"] == "broken"]
    assert "epochs: " in broken["description"]
    assert "found 'four'" in broken["description"]
    (nowhere,) = [node for node in nodes if node["groupName"] == "nowhere"]
    assert "no such environment folder" in nowhere["description"]


def test_the_page_is_served_on_loopback_alone(ui: Ui):
    assert "<html" in ui.page("/asset-groups")
    with open("/proc/net/tcp") as table:
        listeners = [line.split() for line in table.readlines()[1:]]
    mine = {row[1] for row in listeners if row[1].endswith(f":{ui.port:04X}") and row[3] == "0A"}
    assert mine == {f"0100007F:{ui.port:04X}"}


def test_sensors_are_off_until_somebody_turns_them_on(ui: Ui):
    selector = {
        "repositoryLocationName": "assets.definitions",
        "repositoryName": "__repository__",
    }
    query = """
    query($s: RepositorySelector!) {sensorsOrError(repositorySelector: $s) {
      ... on Sensors {results {name sensorState {status}}}
    }}"""
    sensors = ui.query(query, s=selector)["sensorsOrError"]["results"]
    ours = {s["name"]: s["sensorState"]["status"] for s in sensors if "autopilot" in s["name"]}
    assert set(ours) >= {"small_autopilot", "failing_autopilot"}
    assert set(ours.values()) == {"STOPPED"}
