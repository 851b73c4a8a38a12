"""Dagster's web server behind the gate, with its code server and daemon: `varve ui` starts it.

    python -m assets.graph.server ADDRESS PORT HOST...

It stands for `dagster dev`, whose web server nothing can be put in front of. The web server alone
listens on a port: the code server is on a Unix socket, the daemon on none.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
import yaml
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import IWorkspaceProcessContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from assets.config.home import PROJECT
from assets.config.permit import new_token, ui_token
from assets.graph.gate import App, Gate
from assets.graph.permits import Sealing

MODULE = "assets.definitions"
POLL_MILLISECONDS = 2000
"""Between two looks of an open page for new materializations; that of `dagster dev`."""
CLOSING_SECONDS = 3
"""For open connections to end, once the server is told to."""
BY_POST = (
    "varve ui: /graphql: found {method}, expected POST with a JSON body; a query in an address "
    "could come from any page\n"
)


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's own, which obeys no query in an address and stores no token."""

    def __init__(self, context: IWorkspaceProcessContext[Any], *, token: str) -> None:
        self._token = token
        super().__init__(context, live_data_poll_rate=POLL_MILLISECONDS)

    def build_graphql_middleware(self) -> list[Any]:
        """What every field of a query passes through."""
        return [*super().build_graphql_middleware(), Sealing(self._token)]

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """A query or a mutation; here and not in the gate, since a path can be written in ways."""
        if request.method != "POST":
            return PlainTextResponse(BY_POST.format(method=request.method), status_code=405)
        answer: Response = await super().graphql_http_endpoint(request)
        return answer


def gated_app(context: IWorkspaceProcessContext[Any], hosts: Sequence[str], *, token: str) -> App:
    """The web server as it may be reached.

    Args:
        context: the code and the history that it shows.
        hosts: what `Host` may say.
        token: what a run at a weaker sandbox level needs.
    """
    return Gate(Webserver(context, token=token).create_asgi_app(), hosts=hosts)


def serve(address: str, port: int, hosts: Sequence[str]) -> None:
    """Serve until SIGINT, SIGTERM or the end of the daemon.

    Raises:
        SystemExit: the daemon has ended by itself.
    """
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.get())
        workspace = stack.enter_context(_workspace(instance))
        context = stack.enter_context(
            WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)]))
        )
        config = uvicorn.Config(
            gated_app(context, hosts, token=ui_token() or new_token()),
            host=address,
            port=port,
            log_level="warning",
            lifespan="off",
            proxy_headers=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
        )
        server = uvicorn.Server(config)
        daemon = stack.enter_context(_daemon(workspace, server))
        server.run()
        if daemon.poll() is not None:
            raise SystemExit(f"Dagster's daemon ended with exit code {daemon.returncode}")


@contextmanager
def _workspace(instance: dg.DagsterInstance) -> Iterator[Path]:
    """A file that says where the code server listens, which web server and daemon share."""
    target = ModuleTarget(
        MODULE, attribute=None, working_directory=str(PROJECT), location_name=None
    )
    with (
        ProxyServerManager(instance, target, code_server_log_level="warning") as code,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "workspace.yaml"
        path.write_text(yaml.safe_dump({"load_from": list(code.get_code_server_specs())}))
        yield path


@contextmanager
def _daemon(workspace: Path, server: uvicorn.Server) -> "Iterator[subprocess.Popen[bytes]]":
    """Dagster's daemon: its queue, backfills and sensors; its end is the server's end."""
    command = [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run"]
    daemon = subprocess.Popen([*command, "--workspace", str(workspace)], env=os.environ)

    def watch() -> None:
        daemon.wait()
        server.should_exit = True

    threading.Thread(target=watch, name="daemon", daemon=True).start()
    try:
        yield daemon
    finally:
        daemon.terminate()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
