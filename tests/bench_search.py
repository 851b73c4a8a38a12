"""What a search costs beyond its jobs: `python tests/bench_search.py [--repeats N]`.

Jobs of a known length (the small environment, told to sleep) run through the real stages, the real
launcher and the real lake in a temporary folder. The ideal makespan counts what the jobs sleep. By
hand they take longer, since programs have to start and cores are few: threads of this process run
the same programs, as many at once. What is over that is ours. The whole epoch is `varve search`
from its start to its end, Python and Dagster included.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench_launchers import by_hand, in_scratch
from conftest import PROJECT, VARVE, write_campaign
from rich.console import Console
from rich.table import Table
from test_launchers import ridge_tree

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
        os.environ |= {
            "VARVE_HOME": str(folder / "home"),
            "VARVE_CAMPAIGNS": str(folder / "campaigns"),
        }
        prepare(folder, jobs=jobs, seconds=seconds)
        yield


def jobs_by_hand(*, jobs: int, seconds: float) -> float:
    """Wall seconds of the programs of as many jobs, as many at once."""
    tree = ridge_tree()
    told = tree["train.py"].replace(b"PAUSE_SECONDS = 0.0", f"PAUSE_SECONDS = {seconds}".encode())
    assert told != tree["train.py"]
    one = partial(in_scratch, partial(by_hand, tree=tree | {"train.py": told}))
    started = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as threads:
        list(threads.map(lambda _: one(), range(jobs)))
    return time.perf_counter() - started


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
    repeats = range(parser.parse_args().repeats)
    table = Table("what", "figure to hold", "measured: median [min..max]", "n")
    for jobs, seconds, to_hold in (
        (100, 1.0, ("at most 33 ms", "")),
        (80, 5.0, ("", "at least 97 %")),
    ):
        ideal = math.ceil(jobs / SLOTS) * seconds
        size = {"jobs": jobs, "seconds": seconds}
        took = [(jobs_by_hand(**size), run_jobs(**size), search_epoch(**size)) for _ in repeats]
        rows = {
            "over the ideal, per job": (
                to_hold[0],
                [1000 * (runs - ideal) / jobs for _, runs, _ in took],
                "ms",
            ),
            "ideal / runs stage": (to_hold[1], [100 * ideal / runs for _, runs, _ in took], "%"),
            "by hand / runs stage": ("", [100 * hand / runs for hand, runs, _ in took], "%"),
            "ideal / whole epoch": (
                "at least 85 %",
                [100 * ideal / all_ for _, _, all_ in took],
                "%",
            ),
            "by hand / whole epoch": ("", [100 * hand / all_ for hand, _, all_ in took], "%"),
        }
        for what, (held, values, unit) in rows.items():
            name = f"{jobs} jobs of {seconds:.0f} s, {SLOTS} at once: {what}"
            table.add_row(name, held, f"{spread(values, '.1f')} {unit}", str(len(repeats)))
    Console(width=120).print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", table, highlight=False
    )


if __name__ == "__main__":
    main()
