"""What a search costs beyond its jobs: `python tests/bench_search.py [--repeats N]`.

Jobs of a known length (the small environment, told to sleep) run through the real stages, the real
launcher and the real lake in a temporary folder; what is over the ideal makespan is ours. The whole
epoch is `varve search` from its start to its end, Python and Dagster included.
"""

import argparse
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import PROJECT, VARVE, write_campaign
from rich.console import Console
from rich.table import Table

from assets.config.home import find_home
from assets.work import work
from lake import Lake
from lake.tables import Run, RunStatus, Stage

SLOTS = 8
BASELINES = 3


def prepare(folder: Path, *, jobs: int, seconds: float) -> None:
    """A campaign of one epoch whose `jobs` jobs each sleep for `seconds`."""
    environment = shutil.copytree(PROJECT / "tests/environments/ridge", folder / "ridge")
    train = environment / "train.py"
    text, count = re.subn(
        r"^PAUSE_SECONDS = .*$", f"PAUSE_SECONDS = {seconds}", train.read_text(), flags=re.M
    )
    assert count == 1
    train.write_text(text)
    manifest = environment / "pyproject.toml"
    text = re.sub(
        r"^budget_seconds = .*$", "budget_seconds = 120", manifest.read_text(), flags=re.M
    )
    manifest.write_text(text)
    catalog = folder / "catalog.toml"
    catalog.write_text("\n".join(idea(n, f"PAUSE_SECONDS = {seconds}") for n in range(jobs)))
    write_campaign(
        folder / "campaigns",
        environment=str(environment),
        epochs=1,
        batch=jobs - BASELINES,
        strategy={"kind": "best_of_n", "ideas_per_call": 10},
        ideators=[{"model": "catalog", "name": str(catalog)}],
        launcher={"kind": "local", "slots": SLOTS},
    )


def idea(number: int, line: str) -> str:
    """An idea that changes the tree and nothing else."""
    return f"""
[[ideas]]
name = "idea{number}"
title = "Idea {number}"
text = "A comment."
[[ideas.edits]]
file = "train.py"
search = '{line}'
replace = '{line}  # {number}'
"""


@contextmanager
def prepared(*, jobs: int, seconds: float) -> Iterator[None]:
    """A home of its own with such a campaign."""
    with tempfile.TemporaryDirectory(prefix="varve-bench-") as name:
        folder = Path(name)
        prepare(folder, jobs=jobs, seconds=seconds)
        os.environ |= {
            "VARVE_HOME": str(folder / "home"),
            "VARVE_CAMPAIGNS": str(folder / "campaigns"),
        }
        yield


def run_jobs(*, jobs: int, seconds: float) -> float:
    """Wall seconds of the runs stage."""
    with prepared(jobs=jobs, seconds=seconds):
        for stage in list(Stage)[: list(Stage).index(Stage.RUNS)]:
            work(find_home(), "small", stage, 0)
        started = time.perf_counter()
        report = work(find_home(), "small", Stage.RUNS, 0)
        took = time.perf_counter() - started
        assert report.attempt.counts["finished"] == jobs, report.attempt.counts
        return took


def search_epoch(*, jobs: int, seconds: float) -> float:
    """Wall seconds of `varve search`."""
    with prepared(jobs=jobs, seconds=seconds):
        started = time.perf_counter()
        command = [sys.executable, str(VARVE), "search", "small"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - started
        runs = Lake.open(find_home().lake).read(Run, campaign="small")
        assert [run.status for run in runs] == [RunStatus.FINISHED] * jobs
        return took


def spread(values: list[float], form: str) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}..{max(values):{form}}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement")
    repeats = parser.parse_args().repeats
    table = Table("what", "figure to hold", "measured: median [min..max]", "n")
    for jobs, seconds, what in ((100, 1.0, "100 jobs of 1 s"), (80, 5.0, "80 jobs of 5 s")):
        ideal = math.ceil(jobs / SLOTS) * seconds
        took = [run_jobs(jobs=jobs, seconds=seconds) for _ in range(repeats)]
        over = [1000 * (runs - ideal) / jobs for runs in took]
        share = [100 * ideal / runs for runs in took]
        whole = [100 * ideal / search_epoch(jobs=jobs, seconds=seconds) for _ in range(repeats)]
        place = f"{what}, {SLOTS} at once"
        held = ("at most 33 ms", "") if seconds == 1.0 else ("", "at least 97 %")
        table.add_row(
            f"{place}: over the ideal, per job", held[0], f"{spread(over, '.1f')} ms", str(repeats)
        )
        table.add_row(
            f"{place}: ideal / runs stage", held[1], f"{spread(share, '.1f')} %", str(repeats)
        )
        table.add_row(
            f"{place}: ideal / whole epoch",
            "at least 85 %",
            f"{spread(whole, '.1f')} %",
            str(repeats),
        )
    Console().print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", highlight=False
    )
    Console().print(table)


if __name__ == "__main__":
    main()
