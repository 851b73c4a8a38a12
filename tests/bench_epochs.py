"""What an epoch costs with many epochs before it: `python tests/bench_epochs.py [--epochs 200]`.

One campaign of the small environment is searched in one process, as `varve search` does: Dagster,
lake, launcher and jobs are real. No two ideas are the same, so that every epoch starts jobs of its
own, and the context that models are shown is full from the third epoch on, so that every epoch
asks the same of them. At some epochs the project's state is copied, and `varve search --epochs 1`
goes on from each copy, one process an epoch.

Times are CPU seconds, since the machine may have other work: of the searching process with the
programs that it waits for, divided by what they were spent on, and of the jobs as their rows tell
it. Not here: what one job or one epoch costs beyond its jobs (`bench_search`).
"""

import argparse
import functools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_search import spread
from conftest import PROJECT, write_campaign
from rich.console import Console
from rich.table import Table

import assets.attempt.session
import assets.graph.campaign
from assets.attempt.monitor import Hooks
from assets.config.home import find_home
from assets.graph.search import Search, Work, open_search, run_search
from lake.delta import Lake
from lake.tables import Run

BATCH = 4
AROUND = 5
"""Neighbouring epochs that are measured at each point."""
SINGLE = 3
"""Of these, epochs that are run in a process of their own."""
READING, COMMITS, DAGSTER, OURS = ("reading the lake", "commits to the lake", "Dagster", "ours")
IDLE = "between epochs"
CLI = ("-c", "from assets.cli import main; main()")
LINE = "PAUSE_SECONDS = 0.0"
IDEA = """
[[ideas]]
name = "idea{number}"
title = "Idea {number}"
text = "{text}"
[[ideas.edits]]
file = "train.py"
search = "{line}"
replace = "{line}  # {number}"
"""
WORDS = "a comment that changes the tree and nothing else, " * 20
"""The text of an idea: 1 KB."""


def prepare(folder: Path, *, epochs: int) -> None:
    """A campaign of as many epochs."""
    write_campaign(
        folder / "campaigns",
        environment="tests/environments/ridge",
        epochs=epochs,
        batch=BATCH,
        strategy={"kind": "evolution", "ideas_per_call": 2, "parents": 8, "context": 8},
        ideators=[{"model": "catalog", "name": str(folder / "catalog.toml")}],
        implementer={"model": "catalog"},
    )
    offer_ideas(folder, 0)


def offer_ideas(folder: Path, epoch: int) -> None:
    """Gives the epoch a catalog of its own, so that none of its jobs was run before."""
    numbers = range(epoch * BATCH, (epoch + 1) * BATCH)
    ideas = (IDEA.format(number=number, line=LINE, text=WORDS) for number in numbers)
    (folder / "catalog.toml").write_text("\n".join(ideas))


class Ledger:
    """CPU seconds of this process by what they were spent on; what is nested counts once."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._within = [IDLE]
        self._since = cpu_seconds()

    def turn(self) -> None:
        """Books what was used since the last turn."""
        at = cpu_seconds()
        self.spent[self._within[-1]] += at - self._since
        self._since = at

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Has what runs below `owner.name` booked under `part`."""
        inner: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(inner)
        def booked(*args: Any, **kwargs: Any) -> Any:
            self.turn()
            self._within.append(part)
            try:
                return inner(*args, **kwargs)
            finally:
                self.turn()
                self._within.pop()

        setattr(owner, name, booked)

    def take(self) -> dict[str, float]:
        """What is booked, and begins anew."""
        self.turn()
        taken = {part: self.spent[part] for part in (READING, COMMITS, DAGSTER, OURS)}
        self.spent.clear()
        return taken


def cpu_seconds() -> float:
    """CPU time of this process and of the programs that it waited for."""
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + waited.ru_utime + waited.ru_stime


def watch() -> Ledger:
    """Books what this process does from here on."""
    ledger = Ledger()
    for name in ("read", "attempts", "layers", "columns", "committed"):
        ledger.wrap(Lake, name, READING)
    ledger.wrap(assets.attempt.session, "costs", READING)
    for name in ("append_frame", "_maintain"):
        ledger.wrap(Lake, name, COMMITS)
    ledger.wrap(Search, "materialize", DAGSTER)
    ledger.wrap(Search, "summary", OURS)
    ledger.wrap(assets.graph.campaign, "work", OURS)
    return ledger


def search_all(folder: Path, points: list[int]) -> list[dict[str, float]]:
    """Searches in this process; copies the state before the epochs at `points`.

    Returns:
        CPU seconds of each epoch, by part.
    """
    epochs: list[dict[str, float]] = []
    ledger = watch()

    def each(work: Work) -> None:
        search.summary()
        epochs.append(ledger.take())
        following = work.epoch + 1
        offer_ideas(folder, following)
        if following in points:
            shutil.copytree(folder / "home", folder / f"home-{following}")
        print(f"epoch {work.epoch:4d} {sum(epochs[-1].values()):6.2f}", file=sys.stderr)

    with open_search(find_home(), "small", Hooks(sandbox="none"), doing="bench") as search:
        works = search.missing()
        ledger.take()
        run_search(search, works, each=each)
    return epochs


def search_singly(folder: Path, point: int) -> list[float]:
    """CPU seconds of `varve search --epochs 1` from a copied state on, process by process."""
    environment = os.environ | {"VARVE_HOME": str(folder / f"home-{point}")}
    seconds = []
    for epoch in range(point, point + SINGLE):
        offer_ideas(folder, epoch)
        command = [*CLI, "search", "small", "--epochs", "1", "--sandbox", "none"]
        seconds.append(run(command, environment))
    return seconds


def run(command: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of a Python command and of what it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *command],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def job_seconds(epochs: int) -> list[float]:
    """CPU seconds of the jobs of each epoch, as their rows tell it."""
    seconds = [0.0] * epochs
    for row in Lake.open(find_home().lake).read(Run, campaign="small"):
        if row.reused_from is None:
            seconds[row.epoch] += sum(row.step_cpu_seconds.values())
    return seconds


def report(
    epochs: list[dict[str, float]], singles: dict[int, list[float]], jobs: list[float]
) -> None:
    """Prints the table and the two ratios."""
    start = [run(["-c", "import assets.terminal.commands"], dict(os.environ)) for _ in range(3)]
    table = Table(
        "epochs", "one process", READING, COMMITS, DAGSTER, OURS, "a process each", "jobs"
    )
    whole = {}
    for point in sorted(singles):
        near = epochs[point : point + AROUND]
        parts = [
            statistics.median(e[part] for e in near) for part in (READING, COMMITS, DAGSTER, OURS)
        ]
        whole[point] = [sum(e.values()) for e in near]
        table.add_row(
            f"{point}-{point + len(near) - 1}",
            spread(whole[point], ".2f"),
            *(f"{part:.2f}" for part in parts),
            spread([one - statistics.median(start) for one in singles[point]], ".2f"),
            f"{statistics.median(jobs[point : point + AROUND]):.2f}",
        )
    console = Console(width=150, markup=False)
    console.print(
        f"CPU seconds an epoch of {BATCH} ideas: median [min..max]; n = {AROUND} and {SINGLE}",
        highlight=False,
    )
    console.print(table)
    first, last = min(singles), max(singles)
    grown = statistics.median(whole[last]) / statistics.median(whole[first])
    less = statistics.median(start)
    single = (statistics.median(singles[last]) - less) / (statistics.median(singles[first]) - less)
    console.print(
        f"epoch {last} against {first}: {grown:.2f}x in one process, {single:.2f}x in a process "
        f"each (at most 1.3x); start of a process, taken off: {spread(start, '.2f')}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        highlight=False,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--epochs", type=int, default=200, help="epochs before the last that are measured"
    )
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays")
    options = parser.parse_args()
    points = sorted({1, *(options.epochs * quarter // 4 for quarter in (1, 2, 3, 4))})
    with tempfile.TemporaryDirectory(prefix="varve-bench-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ |= {
            "VARVE_HOME": str(folder / "home"),
            "VARVE_CAMPAIGNS": str(folder / "campaigns"),
        }
        prepare(folder, epochs=points[-1] + AROUND)
        epochs = search_all(folder, points)
        singles = {point: search_singly(folder, point) for point in points}
        report(epochs, singles, job_seconds(len(epochs)))


if __name__ == "__main__":
    main()
