"""The Dagster UI with its daemon, as a group of processes that ends with this one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import FrameType

from assets.attempt.lock import held
from assets.config.home import PROJECT, Home, server_environment
from assets.config.permit import TOKEN_TAG, TOKEN_VARIABLE, new_token
from assets.config.sandbox import LEVEL_TAG
from assets.config.settings import campaign_names
from assets.errors import HeldError, VarveError
from assets.graph.gate import is_loopback, own_hosts
from assets.graph.instance import fail_dead_runs, open_instance
from assets.terminal.console import open_console

PATIENCE_SECONDS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""Signals that end the group, and how long each may take. Dagster's own shutdown stops its daemon
and may leave the rest."""
OPEN = (
    "This UI listens on {address}, beyond this machine, without login or encryption: whoever can "
    "reach that address reads every idea, patch and score, and starts runs, which execute code on "
    "this machine and spend money with the keys of this shell. Use an address that only people "
    "whom you trust can reach, or leave --host out and come from elsewhere with `ssh -L`"
)
"""Said where the server can be reached from other machines."""


def serve_ui(
    home: Home, port: int, *, address: str = "127.0.0.1", names: Sequence[str] = ()
) -> None:
    """Run Dagster's web server behind the gate, and its daemon, until Ctrl-C or SIGTERM.

    Running steps stop with it; their jobs go on under their supervisors and are adopted when the
    stage is materialized again.

    Args:
        home: whose history is shown.
        port: where the web server listens.
        address: where the web server listens.
        names: by which a browser may ask for it besides the address and loopback.

    Raises:
        VarveError: if the server ends by itself, another UI of this project is open, or a name
            cannot be one.
    """
    hosts = own_hosts(address, port, names)
    with held(home.lock(".ui"), doing=f"varve ui --port {port}"):
        campaigns = campaign_names(home.campaigns)
        with open_instance(home, campaigns) as instance, _free(home, campaigns) as free:
            fail_dead_runs(instance, untagged=True, held=free)
        _serve(home, port, address, hosts)


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


def _serve(home: Home, port: int, address: str, hosts: Sequence[str]) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "assets.graph.server", address, str(port)]
    token = new_token()
    _tell(address, hosts, token)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    server = subprocess.Popen(
        [*command, *hosts],
        env=server_environment(home) | {TOKEN_VARIABLE: token},
        cwd=PROJECT,
        start_new_session=True,
    )
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        _end_group(server)
    raise VarveError(f"the Dagster UI ended with exit code {code}; its messages are above")


def _tell(address: str, hosts: Sequence[str], token: str) -> None:
    """Say where the UI is, who can reach it, and how a weaker sandbox level is permitted in it."""
    say = partial(open_console().print, highlight=False, soft_wrap=True, markup=False)
    if not is_loopback(address):
        say(OPEN.format(address=address))
        say(f"A browser may ask for it as {', '.join(hosts)}; --name adds to these")
    say(f"Dagster UI: http://{hosts[0]} in about half a minute (Ctrl-C to stop)")
    say(
        f"A run whose tag {LEVEL_TAG} names a weaker level than its campaign's needs the tag "
        f"{TOKEN_TAG} = {token} as well, which holds until this UI stops"
    )


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
