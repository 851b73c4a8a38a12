"""What a job costs beyond its own work, in CPU time: python tests/bench_launchers.py [--jobs 20]

The job is that of the small environment, whose work is nothing: starts of three programs. Its own
work is what train.py, evaluate.py and serve.py cost when they are run by hand in a tree of their
own, with the process environment of a job. By hand and as a job take turns, so that what else the
machine does hits both. A job is all that its supervisor waited for, itself included, forked by a
process that has imported it once, as the nursery of a launcher does; what the launching process
spends on it is a row of its own. Where the run folders lie matters: making a file costs ten
times as much on a disk as in memory, and TMPDIR says where.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import specs
from rich.console import Console
from rich.table import Table
from test_launchers import ROOT, Jobs, lay_job_by_hand, ridge_data, ridge_tree

from launchers.sandbox.environment import job_environment
from launchers.sandbox.preflight import examine
from launchers.supervisor.commands import filled
from launchers.tree import lay_tree

WAITER = """
import gc, json, os, sys
sys.path.insert(0, sys.argv[1])
from launchers.supervisor.supervise import main
gc.freeze()
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os._exit(main([line.strip()]))
    _, status, used = os.wait4(pid, 0)
    print(json.dumps([status, used.ru_utime + used.ru_stime]), flush=True)
"""
"""Supervises run folders that it is told, and says what each took with all that it waited for."""
AIM_MS = 60


def by_hand(folder: Path, tree: Mapping[str, bytes] | None = None) -> float:
    """CPU milliseconds of training and scoring by hand, of the small environment or another."""
    lay_tree(str(folder / "env"), tree or ridge_tree())
    (folder / "out").mkdir()
    own = job_environment(os.environ, run=str(folder), threads=1, gpus=())
    own |= {"HOME": str(folder), "TMPDIR": str(folder)}
    data, python = ridge_data(), sys.executable
    out = str(folder / "out")
    train = filled(specs.train().command, {"data": f"{data}/train", "out": out})
    paths = {name: f"{data}/{name}" for name in ("train", "hidden", "second")}
    paths |= {"server.checkpoint": out, "report": str(folder / "result.json")}
    score = filled(specs.score().command, paths, [python, "serve.py"])
    return sum(cpu_of([python, *words], folder / "env", own) for words in (train, score))


def cpu_of(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """CPU milliseconds of a command and all that it waited for."""
    null = os.open(os.devnull, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.chdir(folder)
        os.execve(command[0], command, environment)
    os.close(null)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, command
    return 1000 * (used.ru_utime + used.ru_stime)


class Supervised:
    """Jobs of one level, whose supervisors are forked by a process that waits for them."""

    def __init__(self, folder: Path, level: str) -> None:
        self.jobs, self.level = Jobs(folder / "runs"), level
        command = [sys.executable, "-I", "-S", "-c", WAITER, str(ROOT)]
        pipe = subprocess.PIPE
        self._waiter = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def take(self, number: int) -> tuple[float, float]:
        """CPU milliseconds of a job with all its parts, and of its supervisor alone."""
        run_id = f"job{number}"
        lay_job_by_hand(self.jobs, *self.jobs.job(run_id, sandbox=self.level))
        self._waiter.stdin.write(f"{self.jobs.path('', run_id)}\n")
        self._waiter.stdin.flush()
        status, seconds = json.loads(self._waiter.stdout.readline())
        assert (status, self.jobs.wait(run_id).status) == (0, "finished")
        last = self.jobs.path("events.jsonl", run_id).read_text().splitlines()[-1]
        return 1000 * seconds, 1000 * json.loads(last)["supervisor_cpu_seconds"]

    def close(self) -> None:
        self._waiter.stdin.close()
        self._waiter.wait()


def of_launching(folder: Path, level: str, number: int) -> list[float]:
    """CPU milliseconds of this process for each job from `submit` until it is done, asked for
    every `poll_seconds`.
    """
    jobs, took = Jobs(folder), []
    jobs.run("first", sandbox=level)  # starts the nursery
    for n in range(number):
        spec, files = jobs.job(f"job{n}", sandbox=level)
        before = time.process_time()
        jobs.launcher.submit(spec, files)
        while not jobs.state(spec.run_id).phase.has_ended:
            time.sleep(jobs.launcher.poll_seconds)
        took.append(1000 * (time.process_time() - before))
    return took


def spread(values: list[float]) -> str:
    """Median, quartiles and range."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f}-{high:.1f}) [{min(values):.1f}..{max(values):.1f}]"


def in_scratch(measure: Callable[[Path], object]) -> object:
    """What a measurement gives in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def measure(level: str, number: int) -> dict[str, list[float]]:
    """Milliseconds of each part, job after job."""
    found: dict[str, list[float]] = {
        name: [] for name in ("by hand", "a job", "of it the supervisor", "beyond its own work")
    }
    with tempfile.TemporaryDirectory() as folder:
        supervised = Supervised(Path(folder), level)
        for n in range(-1, number):
            hand = in_scratch(by_hand)
            job, own = supervised.take(n)
            for name, value in zip(found, (hand, job, own, job - hand), strict=True):
                found[name] += [value] if n >= 0 else []  # the first warms the caches
        supervised.close()
    found["of the launching process"] = in_scratch(
        lambda folder: of_launching(folder / "runs", level, number)
    )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20, help="jobs at each level, at least 4")
    number = parser.parse_args().jobs
    table = Table("level", "CPU of a job", "ms: median (quartiles) [min..max]", "n")
    for level in [found.level for found in examine() if found.works]:
        for name, values in measure(level, number).items():
            table.add_row(level, name, spread(values), str(number))
    console = Console()
    console.print(table)
    where = os.path.realpath(tempfile.gettempdir())
    console.print(f"aim at level none: at most {AIM_MS} ms beyond its own work; folders in {where}")


if __name__ == "__main__":
    main()
