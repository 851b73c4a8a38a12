"""What the wall and the audit cost in CPU time: `python tests/bench_sandbox.py [--repeats N]`.

The first table starts /bin/true with all the arguments of a scoring pass. The second runs whole
jobs of the small environment: training, one scoring pass, supervisor included. The third scores a
trained nanogpt, once and with the leak audit, as the worker does.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import PROJECT
from rich.console import Console
from rich.table import Table
from test_launchers import Jobs

from assets.config.data import prepare_data
from assets.config.environment import read_environment
from launchers.sandbox.preflight import examine, trial_view
from launchers.sandbox.walls import WALLS

LEVELS = [found.level for found in examine() if found.works]
SCORED = 5
"""Times that nanogpt is scored each way; each takes some seconds."""


def cpu_seconds(command: list[str], *, folder: str | None = None) -> float:
    """CPU time of a command and all that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_starts(level: str, repeats: int) -> list[float]:
    """Milliseconds of each start."""
    with tempfile.TemporaryDirectory() as folder:
        view = trial_view(folder, sys.executable, out_bytes=0)
        WALLS[level].prepare(view)
        command = WALLS[level].command(view, ["/bin/true"])
        return [1000 * cpu_seconds(command) for _ in range(repeats)]


def of_jobs(level: str, repeats: int) -> list[float]:
    """Milliseconds of each job, that of the supervisor included."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = Jobs(Path(folder))
        for number in range(repeats):
            result = jobs.run(f"job{number}", sandbox=level)
            events = jobs.path("events.jsonl", f"job{number}").read_text().splitlines()
            own = json.loads(events[-1])["supervisor_cpu_seconds"]
            took.append(1000 * (sum(step.cpu_seconds for step in result.steps) + own))
    return took


def of_scoring(repeats: int) -> dict[str, list[float]]:
    """CPU seconds of scoring nanogpt: imports alone, one pass, with the audit."""
    environment = read_environment(PROJECT / "environments/nanogpt")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = prepare_data(environment, "cpu", folder=folder / "data").path
        train = [sys.executable, "train.py", "--profile", "cpu", "--seed", "0"]
        train += ["--data", str(data / "train"), "--out", name, "--budget-seconds", "120"]
        cpu_seconds(train, folder=str(environment.path))
        score = [sys.executable, "evaluate.py", "--profile", "cpu", "--outputs", name]
        score += ["--data", str(data / "train"), "--hidden", str(data / "hidden")]
        score += ["--second", str(data / "second"), "--result", str(folder / "result.json")]
        serve = ["--serve", sys.executable, "serve.py"]
        cuts = ["--cuts", str(environment.manifest.audit.cuts)]
        ways = {
            "imports of a server alone": [sys.executable, "-c", "import torch, train"],
            "scoring, no audit": [*score, *serve],
            "scoring with the audit": [*score, *cuts, *serve],
        }
        return {
            what: [cpu_seconds(command, folder=str(environment.path)) for _ in range(repeats)]
            for what, command in ways.items()
        }


def spread(values: list[float], form: str) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}..{max(values):{form}}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30, help="runs of the short measurements")
    repeats = parser.parse_args().repeats
    table = Table("what", "level", "measured: median [min..max]", "n")
    for what, measure in (("a start", of_starts), ("a job of one scoring pass", of_jobs)):
        for level in LEVELS:
            table.add_row(what, level, f"{spread(measure(level, repeats), '.1f')} ms", str(repeats))
    for what, took in of_scoring(SCORED).items():
        table.add_row(f"nanogpt: {what}", "none", f"{spread(took, '.2f')} s", str(SCORED))
    Console().print(table)


if __name__ == "__main__":
    main()
