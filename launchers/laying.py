"""How a job's run folder is written, and how an earlier one is moved out of the way."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from launchers import folder as names
from launchers.job import JobSpec
from launchers.place import Place
from launchers.tree import TreeError, pack_tree

UNFINISHED = ".new-"
"""Starts the name of a run folder that is still being written."""
UNFINISHED_SECONDS = 60.0
"""An unfinished folder that is older and locked by nobody is rubbish."""


def lay_job(run: Path, spec: JobSpec, place: Place, files: Mapping[str, bytes]) -> None:
    """Writes what a supervisor needs into a folder that has none of it."""
    names.write_whole(str(run / names.TREE), pack_tree(files), synced=False)
    names.write_whole(str(run / names.SPEC), spec.to_json().encode(), synced=False)
    names.write_whole(str(run / names.PLACE), place.to_json().encode(), synced=False)
    (run / names.OUT).mkdir()


def create_run(run: Path, spec: JobSpec, place: Place, files: Mapping[str, bytes]) -> int | None:
    """Writes a run folder next to its final place and moves it there in one step.

    Returns:
        A descriptor that holds its lock, or None if another process was first.
    """
    building = run.parent / f"{UNFINISHED}{os.getpid()}-{time.monotonic_ns()}-{run.name}"
    building.mkdir()
    lock = names.take_lock(str(building), create=True)
    try:
        lay_job(building, spec, place, files)
        building.rename(run)
    except (OSError, TreeError) as error:
        names.remove_tree(str(building))
        if lock is not None:
            os.close(lock)
        if isinstance(error, OSError) and run.exists():
            return None
        raise
    return lock


def set_aside(run: Path) -> None:
    """Keeps the events of an unsettled job under another name, and removes what it left behind."""
    number = len(list(run.glob("events.lost-*.jsonl"))) + 1
    if (run / names.EVENTS).exists():
        (run / names.EVENTS).rename(run / f"events.lost-{number}.jsonl")
    for name in (names.ENV, names.JUDGE, names.OUT, names.WORK):
        names.remove_tree(str(run / name))
    partial = f"{names.RESULT}.partial"
    for name in (names.RESULT, names.LOG, names.SCORE_LOG, names.PROCESSES, names.RESERVE, partial):
        names.remove_file(str(run / name))


def remove_unfinished(building: Path) -> None:
    """Removes a folder whose maker died before it was complete."""
    try:
        old = time.time() - building.stat().st_mtime > UNFINISHED_SECONDS
        lock = names.take_lock(str(building), create=True) if old else None
    except FileNotFoundError:
        return
    if lock is not None:
        names.remove_tree(str(building))
        os.close(lock)
