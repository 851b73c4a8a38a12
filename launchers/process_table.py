"""The process table of this machine: what runs, below what, since when, and with how much CPU time.

Everything that differs between systems is here. Linux has /proc, and lets a process adopt the
orphans below it and die with its parent; elsewhere `ps` must do, and both are left out.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LINUX = sys.platform.startswith("linux")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DEAD = (b"Z", b"X")
"""States of what has ended."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """One row of the process table."""

    pid: int
    parent: int
    group: int
    """Process group; a signal to it reaches all members at once, those being forked included."""
    born: int
    """Start time; with the pid it identifies a process for good. Clock ticks on Linux."""
    cpu_seconds: float
    """Its own user and system time."""
    waited_seconds: float
    """That of the dead children that it waited for."""
    zombie: bool
    """Whether nothing of it runs any more: a process lives on when its first thread has ended."""
    memory_bytes: int = 0
    """Resident, pages shared with others included."""
    folder: str = ""
    """Where the kernel tells of its memory and files: that of a thread that lives. Linux only."""
    state: str = "?"
    """One letter, of its first thread: R wants a processor or has one, D waits for a disk, T is
    stopped, S sleeps."""

    def states(self) -> Iterator[str]:
        """Of its first thread, then of the others as they are by now."""
        yield self.state
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                fields = _stat(f"/proc/{self.pid}/task/{thread}")
                if fields is not None:
                    yield fields[0].decode()


def prctl(option: int, value: int) -> None:
    """Linux process control; does nothing on other systems.

    Raises:
        OSError: the kernel refused.
    """
    if LINUX and _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


_LIBC = ctypes.CDLL(None, use_errno=True)


def boot_id() -> str:
    """Identifies the current boot: after a reboot, pids and start times mean nothing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "-"


def become_subreaper() -> None:
    """Makes orphans below this process its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, even if it is dead already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(127)


def read_process(pid: int) -> Process | None:
    """The row of one process, or None when it is gone."""
    if not LINUX:
        return next((one for one in _ps_table() if one.pid == pid), None)
    folder = f"/proc/{pid}"
    fields = _stat(folder)
    if fields is None:
        return None
    memory = fields
    if fields[0] in DEAD and int(fields[17]) > 1:
        folder, memory = _living_thread(folder) or (folder, fields)
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        born=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS,
        waited_seconds=(int(fields[13]) + int(fields[14])) / TICKS,
        zombie=memory[0] in DEAD,
        memory_bytes=int(memory[21]) * PAGE_BYTES,
        folder=folder,
        state=fields[0].decode(),
    )


def _stat(folder: str) -> list[bytes] | None:
    """What the kernel tells of a process or thread after its name; None when it is gone."""
    try:
        with open(f"{folder}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _living_thread(folder: str) -> tuple[str, list[bytes]] | None:
    """A thread of a process that lives: its folder, and what the kernel tells of it."""
    try:
        threads = os.listdir(f"{folder}/task")
    except OSError:
        return None
    for thread in threads:
        fields = _stat(f"{folder}/task/{thread}")
        if fields is not None and fields[0] not in DEAD:
            return f"{folder}/task/{thread}", fields
    return None


def proportional_bytes(folder: str) -> int | None:
    """Memory of one process, each shared page divided among its users; None if unknown.

    Args:
        folder: that of its row.
    """
    try:
        with open(f"{folder}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss:"))
    except OSError:
        return None


def process_table() -> list[Process]:
    """Every process of the machine that can be seen."""
    if not LINUX:
        return _ps_table()
    rows = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [row for row in rows if row is not None]


def _ps_table() -> list[Process]:
    """The table as `ps` prints it, for systems without /proc."""
    import subprocess

    command = ["ps", "-axo", "pid=,ppid=,pgid=,stat=,time=,rss=,lstart="]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = []
    for line in text.splitlines():
        pid, parent, group, state, used, resident, *started = line.split()
        born = int(time.mktime(time.strptime(" ".join(started), "%a %b %d %H:%M:%S %Y")))
        row = Process(
            pid=int(pid),
            parent=int(parent),
            group=int(group),
            born=born,
            cpu_seconds=_clock_seconds(used),
            waited_seconds=0.0,
            zombie=state[:1] == "Z",
            memory_bytes=int(resident) << 10,
            state={"U": "D"}.get(state[:1], state[:1]),
        )
        rows.append(row)
    return rows


def _clock_seconds(text: str) -> float:
    """Seconds of a `[[dd-]hh:]mm:ss.cc` as `ps` writes it."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86400 * int(days or 0)


def _children(pid: int) -> list[int]:
    """Process ids of the children, by the kernel's own list.

    Raises:
        OSError: the process is gone or the kernel keeps no such list.
    """
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            found += [int(child) for child in file.read().split()]
    return found


HAS_CHILD_LISTS = os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children")


def descendants(root: int) -> list[Process]:
    """All processes below `root`, parents before children."""
    return _walk(root) if HAS_CHILD_LISTS else below(process_table(), [root])


def _walk(root: int) -> list[Process]:
    """Descendants by the child lists: the cost grows with the tree, not with the machine."""
    found: list[Process] = []
    pending = [root]
    while pending:
        try:
            children = _children(pending.pop())
        except OSError:
            continue
        rows = [row for row in map(read_process, children) if row is not None]
        found += rows
        pending += [row.pid for row in rows if not row.zombie]
    return found


def below(table: Iterable[Process], roots: Iterable[int]) -> list[Process]:
    """Rows of a table that descend from `roots`."""
    by_parent: dict[int, list[Process]] = {}
    for row in table:
        by_parent.setdefault(row.parent, []).append(row)
    found: list[Process] = []
    pending = list(roots)
    while pending:
        rows = by_parent.pop(pending.pop(), [])
        found += rows
        pending += [row.pid for row in rows]
    return found
