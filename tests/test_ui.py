"""`varve ui` as people start it: weaker sandbox levels, sensors, and who can reach what."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaigns import materialize, rows
from conftest import RIDGE, VARVE, child_environment, trust, write_campaign
from dagster_ui import Ui, processes_with, running_ui

from assets.config.home import Home
from assets.config.permit import TOKEN_TAG
from assets.config.sandbox import LEVEL_TAG
from lake.tables import Run, Stage

pytestmark = pytest.mark.daemon

AGAIN = """
mutation($p: ReexecutionParams!) {launchRunReexecution(reexecutionParams: $p) {
  ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
}}"""
START = """
mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {
  __typename ... on Sensor {sensorState {status}}
}}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    folder: Path = tmp_path_factory.mktemp("ui")
    write_campaign(folder / "campaigns")
    write_campaign(folder / "campaigns", "alone", epochs=1)
    root = folder / "home"
    home = Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")
    trust(home, RIDGE)
    materialize(home, 0, [Stage.EVOLUTION, Stage.IDEAS, Stage.PATCHES])
    return home


@pytest.fixture(scope="module")
def ui(home):
    with running_ui(home) as ui:
        yield ui
    assert not [pid for pid in processes_with(str(home.root)) if pid != os.getpid()]


def campaign_of(run: dict) -> str:
    return run["assetSelection"][0]["path"][0]


def levels(home: Home, epoch: int) -> set[str]:
    return {run.sandbox_level for run in rows(home, Run) if run.epoch == epoch}


def test_a_weaker_level_needs_the_token_that_was_printed_on_every_launch(ui: Ui, home):
    weaker = {LEVEL_TAG: "none"}
    refused = ui.materialize("small", Stage.RUNS, "0000", weaker)
    assert refused["status"] == "FAILURE"
    assert f"tag {LEVEL_TAG}: found 'none', which is weaker" in ui.failures(refused["runId"])
    assert not levels(home, 0)

    permitted = weaker | {TOKEN_TAG: ui.token}
    done = ui.materialize("small", Stage.RUNS, "0000", permitted)
    assert done["status"] == "SUCCESS"
    assert levels(home, 0) == {"none"}
    assert done["tags"][TOKEN_TAG] != ui.token

    params = {"parentRunId": done["runId"], "strategy": "ALL_STEPS"}
    again = ui.ended(ui.query(AGAIN, p=params)["launchRunReexecution"]["run"]["runId"])
    assert again["status"] == "FAILURE"
    assert TOKEN_TAG in ui.failures(again["runId"])


def test_a_backfill_takes_the_token_for_all_its_epochs(ui: Ui, home):
    tags = {LEVEL_TAG: "none", TOKEN_TAG: ui.token}
    backfill = ui.launch_backfill("small", ["0000", "0001"], tags=tags)
    assert ui.backfill_status(backfill) == "COMPLETED_SUCCESS"
    assert levels(home, 1) == {"none"}
    assert {run["tags"][TOKEN_TAG] for run in ui.runs(backfill)}.isdisjoint({ui.token})


def test_a_sensor_that_is_turned_on_here_starts_runs_at_the_campaigns_level(ui: Ui, home):
    where = {
        "repositoryLocationName": "assets.definitions",
        "repositoryName": "__repository__",
        "sensorName": "alone_autopilot",
    }
    assert ui.query(START, s=where)["startSensor"]["sensorState"]["status"] == "RUNNING"
    give_up = time.monotonic() + 120
    while not (mine := [run for run in ui.runs() if campaign_of(run) == "alone"]):
        assert time.monotonic() < give_up
        time.sleep(1)
    assert ui.ended(mine[0]["runId"])["status"] == "SUCCESS"
    assert {run.sandbox_level for run in rows(home, Run, "alone")} == {"bwrap"}


def test_the_token_is_stored_nowhere(ui: Ui, home):
    kept = [path for path in home.root.rglob("*") if path.is_file() and path != ui.log]
    assert kept
    assert not [path for path in kept if ui.token.encode() in path.read_bytes()]


def test_nothing_of_the_ui_listens_beyond_one_port_of_loopback(ui: Ui, home):
    inodes = {
        os.readlink(f"/proc/{pid}/fd/{fd}")
        for pid in processes_with(str(home.root))
        for fd in os.listdir(f"/proc/{pid}/fd")
        if os.path.islink(f"/proc/{pid}/fd/{fd}")
    }
    listening = [
        row[1]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for row in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if row[3] in ("0A", "07") and f"socket:[{row[9]}]" in inodes
    ]
    assert listening == [f"0100007F:{ui.port:04X}"]


def test_an_address_beyond_loopback_is_told_before_anything_starts(home, tmp_path):
    """The address is one of another network, so that nothing of this machine is opened."""
    other = Home(root=tmp_path / "home", lake=str(tmp_path / "lake"), campaigns=home.campaigns)
    command = [sys.executable, str(VARVE), "ui", "--host", "192.0.2.1", "--name", "box.example"]
    done = subprocess.run(
        command, env=child_environment(other), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "listens on 192.0.2.1, beyond this machine, without login" in done.stdout
    assert "192.0.2.1:3000, 127.0.0.1:3000" in done.stdout
    assert "box.example:3000" in done.stdout
    assert "the Dagster UI ended" in done.stderr
