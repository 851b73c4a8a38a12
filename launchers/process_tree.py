"""The processes of a job: what CPU time they used, and how all of them are ended.

On Linux the supervisor is a subreaper: whatever a job starts, however often it forks and whatever
session it opens, stays below the supervisor, and "nothing is left" is a fact (`waitpid` finds no
child), not a guess. Elsewhere an orphan is remembered only if it was seen before.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable

from launchers.process_table import (
    LINUX,
    Process,
    below,
    descendants,
    process_table,
    proportional_bytes,
)

BUSY = frozenset("RD")
"""States of a process that does something, or would if the machine let it."""
KILL_PATIENCE_SECONDS = 10.0
"""How long a killed process may take to go; only an uninterruptible system call takes this long."""


def waited_cpu_seconds() -> float:
    """CPU time of all dead descendants that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class ProcessTree:
    """What one step started: its CPU time, its idleness and its end.

    CPU time is the larger of two sums, since each misses something. Waiting misses children that
    their parent chose not to wait for (SIGCHLD ignored); looking misses what lived between looks.

    It is idle where a look finds nothing that is BUSY: then what passed since the look before, less
    the CPU time in it, was slept. Waiting for a processor on a loaded machine is not idleness, nor
    is being stopped by somebody else. A parent that waits in the kernel for a child of `vfork`
    looks as if it waited for a disk; the wall clock of the step ends that.
    """

    def __init__(self, on_new: Callable[[Process], None]) -> None:
        """Starts with no process seen.

        Args:
            on_new: called once with every process.
        """
        self._on_new = on_new
        self._seen: dict[tuple[int, int], float] = {}
        self._waited_before = waited_cpu_seconds()
        self._live: list[Process] = []
        self._idle = 0.0
        self._looked_at = (time.monotonic(), 0.0)
        """When, and the CPU seconds until then."""

    def look(self) -> list[Process]:
        """Reads the tree once and gives what is in it, zombies included."""
        self._live = descendants(os.getpid())
        if not LINUX:
            self._live += self._orphans()
        for row in self._live:
            key = (row.pid, row.born)
            if key not in self._seen:
                self._on_new(row)
            self._seen[key] = row.cpu_seconds
        self._note_idleness()
        return self._live

    def _note_idleness(self) -> None:
        before, used_before = self._looked_at
        now, used = self._looked_at = (time.monotonic(), self.cpu_seconds())
        alive = [row for row in self._live if not row.zombie]
        stopped = all(row.state == "T" for row in alive)
        if not stopped and not any(s in BUSY for row in alive for s in row.states()):
            self._idle += max(0.0, now - before - (used - used_before))

    def idle_seconds(self) -> float:
        """Wall clock up to the last look in which no process of it had anything to do."""
        return self._idle

    def cpu_seconds(self) -> float:
        """CPU time up to the last look, of the living and the dead."""
        waited = waited_cpu_seconds() - self._waited_before
        living = sum(row.cpu_seconds + row.waited_seconds for row in self._live if not row.zombie)
        return max(waited + living, sum(self._seen.values()))

    def count(self) -> int:
        """How many processes were alive at the last look."""
        return len(self.pids())

    def pids(self) -> list[int]:
        """Processes alive at the last look, parents before children."""
        return [row.pid for row in self._live if not row.zombie]

    def folders(self) -> list[str]:
        """Where the kernel tells of those processes; empty outside Linux."""
        return [row.folder for row in self._live if row.folder and not row.zombie]

    def memory_bytes(self, *, above: int) -> int:
        """Memory at the last look; shared pages are counted once where the total looks too high.

        Args:
            above: bytes from which the cheap sum, which counts shared pages per process, will not
                do.
        """
        resident = sum(row.memory_bytes for row in self._live)
        if resident <= above or not LINUX:
            return resident
        found = [(proportional_bytes(row.folder), row.memory_bytes) for row in self._live]
        return sum(whole if shared is None else shared for shared, whole in found)

    def kill(self) -> bool:
        """Ends every process of the tree.

        First all are stopped, look after look, until no new one turns up: a stopped process
        cannot fork. Then all are killed and waited for.

        Returns:
            Whether nothing is left.
        """
        give_up = time.monotonic() + KILL_PATIENCE_SECONDS
        while time.monotonic() < give_up:
            if not self._reap():
                return True
            self._stop_all()
            _signal_all(self._live, signal.SIGKILL)
            time.sleep(0.001)
        return False

    def _stop_all(self) -> None:
        """Stops processes until a look finds none that is not stopped already."""
        stopped: set[tuple[int, int]] = set()
        while True:
            new = [row for row in self.look() if (row.pid, row.born) not in stopped]
            if not new:
                return
            _signal_all(new, signal.SIGSTOP)
            stopped |= {(row.pid, row.born) for row in new}

    def _reap(self) -> bool:
        """Waits for the dead; says whether any child, dead or living, was left before."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            self._live = [] if LINUX else self._orphans()
            return bool(self._live)
        return True

    def _orphans(self) -> list[Process]:
        """Processes seen before that are alive and no longer below this one (macOS)."""
        table = process_table()
        known = {row.pid for row in below(table, [os.getpid()])}
        return [
            row
            for row in table
            if (row.pid, row.born) in self._seen and row.pid not in known and not row.zombie
        ]


def _signal_all(rows: Iterable[Process], number: signal.Signals) -> None:
    """Sends a signal to each and to its group; those that are gone or not ours are skipped.

    A job is started in a session of its own, so no group below it has members from outside.
    """
    rows = list(rows)
    targets = [-group for group in {row.group for row in rows} - {0, 1, os.getpgrp()}]
    targets += [row.pid for row in rows]
    for target in targets:
        try:
            os.kill(target, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_outright(find: Callable[[], list[Process]], *, patience_seconds: float = 2.0) -> int:
    """Kills processes that are not below this one, until a search finds none.

    Args:
        find: searches for them.
        patience_seconds: when to stop trying.

    Returns:
        How many were killed.
    """
    killed: set[tuple[int, int]] = set()
    give_up = time.monotonic() + patience_seconds
    while rows := [row for row in find() if not row.zombie]:
        _signal_all(rows, signal.SIGSTOP)
        _signal_all(rows, signal.SIGKILL)
        killed |= {(row.pid, row.born) for row in rows}
        if time.monotonic() > give_up:
            break
        time.sleep(0.005)
    return len(killed)
