"""The Dagster UI with its daemon, as a group of processes that ends with this one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from assets.attempt.lock import held
from assets.config.home import PROJECT, Home, server_environment
from assets.config.settings import campaign_names
from assets.errors import HeldError, VarveError
from assets.graph.instance import fail_dead_runs, open_instance
from assets.terminal.console import open_console

PATIENCE_SECONDS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""Signals that end the group, and how long each may take. Dagster's own shutdown stops its daemon
and may leave the rest."""


def serve_ui(home: Home, port: int) -> None:
    """Run Dagster's web server and daemon until Ctrl-C or SIGTERM.

    Running steps stop with it; their jobs go on under their supervisors and are adopted when the
    stage is materialized again.

    Raises:
        VarveError: if the server ends by itself, or another UI of this project is open.
    """
    with held(home.lock(".ui"), doing=f"varve ui --port {port}"):
        campaigns = campaign_names(home.campaigns)
        with open_instance(home, campaigns) as instance, _free(home, campaigns) as free:
            fail_dead_runs(instance, untagged=True, held=free)
        _serve(home, port)


@contextmanager
def _free(home: Home, campaigns: Iterable[str]) -> Iterator[set[str]]:
    """The campaigns that nobody works on, held meanwhile."""
    free = set()
    with ExitStack() as locks:
        for name in campaigns:
            with suppress(HeldError):
                locks.enter_context(held(home.lock(name), doing="varve ui begins"))
                free.add(name)
        yield free


def _serve(home: Home, port: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-h", "127.0.0.1"]
    command += ["-p", str(port), "-m", "assets.definitions", "-d", str(PROJECT)]
    open_console().print(
        f"Dagster UI: http://127.0.0.1:{port} in about half a minute (Ctrl-C to stop)",
        highlight=False,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    server = subprocess.Popen(
        command, env=server_environment(home), cwd=PROJECT, start_new_session=True
    )
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        _end_group(server)
    raise VarveError(f"the Dagster UI ended with exit code {code}; its messages are above")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_group(server: "subprocess.Popen[bytes]") -> None:
    for number, seconds in PATIENCE_SECONDS:
        give_up = time.monotonic() + seconds
        try:
            os.killpg(server.pid, number)
            while time.monotonic() < give_up:
                server.poll()
                os.killpg(server.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return
