"""What a job left alive after its supervisor was killed with -9.

The kernel kills the direct child with the supervisor. Deeper ones are found by the run's
marker in their environment, by the list of processes that the supervisor kept, and by descent from
those. A process that cleared its environment and was forked after the last look before the kill is
not found.
"""

import os

from launchers import folder as names
from launchers.process_table import LINUX, Process, below, boot_id, process_table
from launchers.process_tree import kill_outright
from launchers.sandbox.environment import RUN_MARKER


def kill_leftovers(run: str) -> int:
    """Kills every process of a run whose supervisor is dead.

    Args:
        run: the run folder; the caller holds its lock.

    Returns:
        How many were found.
    """
    return kill_outright(lambda: find_leftovers(run))


def find_leftovers(run: str) -> list[Process]:
    """Processes of the run, by marker, by record, and by descent from either."""
    marker = f"{RUN_MARKER}={os.path.abspath(run)}".encode()
    recorded = _recorded(run)
    table = process_table()
    found = [row for row in table if (row.pid, row.born) in recorded or _is_marked(row, marker)]
    known = {row.pid for row in found}
    found += [row for row in below(table, list(known)) if row.pid not in known]
    return [row for row in found if row.pid != os.getpid()]


def _recorded(run: str) -> set[tuple[int, int]]:
    """Pids and start times that the supervisor noted since the machine was started."""
    try:
        with open(os.path.join(run, names.PROCESSES), encoding="utf-8") as file:
            boot, *rows = [*file, ""]
    except FileNotFoundError:
        return set()
    if boot.strip() != boot_id():
        return set()
    whole = [row.split() for row in rows if row.endswith("\n")]
    return {(int(row[0]), int(row[1])) for row in whole}


def _is_marked(row: Process, marker: bytes) -> bool:
    """Whether a process carries the marker in the environment that it was started with."""
    if not LINUX or row.zombie:
        return False
    try:
        with open(f"/proc/{row.pid}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:
        return False
