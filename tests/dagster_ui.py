"""`varve ui` as a real process, and its API over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from conftest import VARVE, child_environment

from assets.config.home import Home
from assets.config.permit import TOKEN_TAG
from lake.tables import Stage

EMPTY: Mapping[str, str] = MappingProxyType({})
START_SECONDS = 180
BACKFILL_SECONDS = 300
RUNS = """
{runsOrError(limit: 100) {... on Runs {results {
  runId status startTime endTime tags {key value} assetSelection {path}
}}}}"""
LOADED = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"


Tags = Mapping[str, str]


class Ui:
    """A running UI."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log

    @property
    def token(self) -> str:
        """What it printed for runs that name a weaker sandbox level."""
        return re.search(rf"{TOKEN_TAG} = (\w+)", self.log.read_text())[1]

    def query(self, query: str, **variables) -> dict:
        """The `data` of a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def page(self, path: str) -> str:
        """What a browser would get."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return response.read().decode()

    def launch_backfill(
        self, campaign: str, epochs: list[str], stages=tuple(Stage), tags: Tags = EMPTY
    ) -> str:
        """Launch a backfill as the UI does, and give its id."""
        mutation = """
        mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {
          ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}
        }}"""
        keys = [{"path": [campaign, stage.value]} for stage in stages]
        params = {"assetSelection": keys, "partitionNames": epochs, "fromFailure": False}
        params["tags"] = pairs(tags)
        return self.query(mutation, p=params)["launchPartitionBackfill"]["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        """How a backfill ended; waits for its end."""
        query = """
        query($id: String!) {partitionBackfillOrError(backfillId: $id) {
          ... on PartitionBackfill {status}
        }}"""
        give_up = time.monotonic() + BACKFILL_SECONDS
        while time.monotonic() < give_up:
            status = self.query(query, id=backfill)["partitionBackfillOrError"]["status"]
            if status.startswith("COMPLETED") or status == "FAILED":
                return status
            time.sleep(1)
        raise AssertionError(f"backfill {backfill} did not end: {self.runs()}")

    def materialize(self, campaign: str, stage: Stage, epoch: str, tags: Tags = EMPTY) -> dict:
        """Launch one stage of one epoch as the UI does, and wait for the run's end."""
        mutation = """
        mutation($e: ExecutionParams!) {launchPipelineExecution(executionParams: $e) {
          ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
        }}"""
        params = {
            "selector": {
                "repositoryLocationName": "assets.definitions",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [campaign, stage.value]}],
            },
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": pairs({"dagster/partition": epoch, **tags})},
        }
        return self.ended(self.query(mutation, e=params)["launchPipelineExecution"]["run"]["runId"])

    def ended(self, run_id: str) -> dict:
        """A run, once it has ended."""
        give_up = time.monotonic() + BACKFILL_SECONDS
        while time.monotonic() < give_up:
            (run,) = [r for r in self.runs() if r["runId"] == run_id]
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return run
            time.sleep(1)
        raise AssertionError(f"run {run_id} did not end")

    def runs(self, backfill: str | None = None) -> list[dict]:
        """Runs in the order of their epochs, with their tags as a mapping."""
        runs = self.query(RUNS)["runsOrError"]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
            run["epoch"] = run["tags"].get("dagster/partition")
        if backfill is not None:
            runs = [run for run in runs if run["tags"].get("dagster/backfill") == backfill]
        return sorted(runs, key=lambda run: run["epoch"] or "")

    def failures(self, run_id: str) -> str:
        """What the failing steps of a run said."""
        query = """
        query($id: ID!) {runOrError(runId: $id) {... on Run {eventConnection {events {
          ... on ExecutionStepFailureEvent {stepKey error {message causes {message}}}
        }}}}}"""
        events = self.query(query, id=run_id)["runOrError"]["eventConnection"]["events"]
        return json.dumps([event for event in events if event])


def pairs(tags: Tags) -> list[dict]:
    """Tags as GraphQL takes them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


@contextmanager
def running_ui(home: Home) -> Iterator[Ui]:
    """The UI of a home; all its processes are gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home.root / "ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(VARVE), "ui", "--port", str(port)],
            env=child_environment(home),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _wait_until_loaded(Ui(port, log), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_loaded(ui: Ui, process: subprocess.Popen) -> Ui:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            entries = ui.query(LOADED)["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                return ui
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"the UI did not start:\n{ui.log.read_text()[-4000:]}")


def processes_with(text: str) -> list[int]:
    """Processes whose environment names `text`."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if entry.isdigit() and text.encode() in file.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found
