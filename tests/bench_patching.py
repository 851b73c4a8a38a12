"""What an epoch of patches takes beside its models: `python tests/bench_patching.py`.

The patches stage of 80 ideas with ten samples each, through Dagster, the journal, the lake and the
ladder, against a model server in a process of its own that answers after half a second, forty calls
at once. The ideal is the server's time alone.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from campaigns import materialize, rows
from conftest import PROJECT, write_campaign
from rich.console import Console
from rich.table import Table

from assets.config.home import find_home
from lake.tables import Completion, Patch, PatchStatus, Stage

IDEAS, DIFFS, AT_ONCE, DELAY = 80, 10, 40, 0.5
SERVER = """
import asyncio, sys
from tests.model_server import ModelServer
from tests.scripted_model import ScriptedModel

async def main():
    server = ModelServer(ScriptedModel(delay_seconds=float(sys.argv[1])))
    listening = await server.start()
    print(server.port, flush=True)
    await listening.serve_forever()

asyncio.run(main())
"""


def measure(protocol: str) -> tuple[float, float, int, int]:
    """Seconds of the stage, its CPU seconds, its calls, and the ideas that have a patch."""
    command = [sys.executable, "-c", SERVER, str(DELAY)]
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server,
    ):
        try:
            port = server.stdout.readline().strip()
            home = _campaign(Path(folder), protocol, port)
            materialize(home, 0, [Stage.EVOLUTION, Stage.IDEAS])
            began, used = time.monotonic(), _cpu()
            materialize(home, 0, [Stage.PATCHES])
            seconds, used = time.monotonic() - began, _cpu() - used
        finally:
            server.kill()
        calls = sum(row.role == "implementer" for row in rows(home, Completion))
        patched = sum(row.status is PatchStatus.APPLIED for row in rows(home, Patch)) - 1
        return seconds, used, calls, patched


def _campaign(folder: Path, protocol: str, port: str):
    os.environ["VARVE_HOME"] = str(folder / "home")
    os.environ["VARVE_CAMPAIGNS"] = str(folder / "campaigns")
    role = {"model": "local", "name": "m"}
    path = "" if protocol == "anthropic" else "/v1"
    write_campaign(
        folder / "campaigns",
        batch=IDEAS,
        epochs=1,
        strategy={"kind": "evolution", "ideas_per_call": 10},
        ideators=[role],
        implementer=role | {"diffs": DIFFS},
        providers={
            "local": {
                "protocol": protocol,
                "base_url": f"http://127.0.0.1:{port}{path}",
                "concurrency": AT_ONCE,
            }
        },
    )
    return find_home()


def _cpu() -> float:
    """CPU seconds of this process and all that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    table = Table("protocol", "calls", "ideas patched", "seconds", "ideal", "ratio", "CPU s")
    for protocol in ("anthropic", "openai"):
        seconds, used, calls, patched = measure(protocol)
        ideal = calls * DELAY / AT_ONCE
        table.add_row(
            protocol,
            str(calls),
            str(patched),
            f"{seconds:.1f}",
            f"{ideal:.1f}",
            f"{seconds / ideal:.2f}",
            f"{used:.1f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
