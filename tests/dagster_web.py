"""Dagster's real web server on loopback, without its daemon: what is launched stays queued."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import uvicorn
from conftest import PROJECT, write_campaign
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from web import Answer, query

from assets.config.home import find_home
from assets.config.permit import TOKEN_VARIABLE
from assets.graph.gate import App
from assets.graph.instance import open_instance

TOKEN = "0123456789abcdef0123456789abcdef"
SELECTOR = {
    "repositoryLocationName": "assets.definitions",
    "repositoryName": "__repository__",
    "pipelineName": "__ASSET_JOB",
    "assetSelection": [{"path": ["small", "evolution"]}],
}
LAUNCH = """
mutation($e: ExecutionParams!) {launchPipelineExecution(executionParams: $e) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
}}"""
LITERAL = """
mutation {launchPipelineExecution(executionParams: {
  selector: {repositoryLocationName: "assets.definitions", repositoryName: "__repository__",
    pipelineName: "__ASSET_JOB", assetSelection: [{path: ["small", "evolution"]}]},
  mode: "default", runConfigData: "{}", executionMetadata: {tags: [
    {key: "dagster/partition", value: "0000"}, {key: "varve/sandbox", value: "none"}%s]}
}) {__typename ... on LaunchRunSuccess {run {runId}}}}"""


class Served:
    """A web server, and the instance that it changes."""

    def __init__(self, port: int, instance: dg.DagsterInstance) -> None:
        self.port = port
        self.instance = instance

    def runs(self) -> list[dg.DagsterRun]:
        """Every run that was ever launched, the newest first."""
        return list(self.instance.get_runs())

    def launch(self, *tags: tuple[str, str]) -> Answer:
        """Launch one stage as the UI does."""
        pairs = [("dagster/partition", "0000"), *tags]
        metadata = {"tags": [{"key": key, "value": value} for key, value in pairs]}
        params = {"selector": SELECTOR, "mode": "default", "executionMetadata": metadata}
        return query(self.port, LAUNCH, e=params | {"runConfigData": {}})

    def launched(self, *tags: tuple[str, str]) -> dg.DagsterRun:
        """The run that was launched."""
        answer = json.loads(self.launch(*tags).text)["data"]["launchPipelineExecution"]
        run = self.instance.get_run_by_id(answer["run"]["runId"])
        assert run is not None
        return run


@contextmanager
def dagster_context(folder: Path) -> Iterator[WorkspaceProcessContext]:
    """The code and the history of a project with one small campaign; its UI's token is TOKEN."""
    write_campaign(folder / "campaigns")
    target = ModuleTarget("assets.definitions", None, str(PROJECT), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARVE_HOME", str(folder / "home"))
        patch.setenv("VARVE_CAMPAIGNS", str(folder / "campaigns"))
        patch.setenv(TOKEN_VARIABLE, TOKEN)
        with (
            open_instance(find_home(), ["small"]) as instance,
            WorkspaceProcessContext(instance, target) as context,
        ):
            yield context


@contextmanager
def free_port() -> Iterator[socket.socket]:
    """A socket at a free port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


@contextmanager
def serving(app: App, listener: socket.socket) -> Iterator[None]:
    """An app as a server at a socket."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
