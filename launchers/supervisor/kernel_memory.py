"""Memory that a job takes and that belongs to no process: page tables, pipes, sockets.

Page tables are known to the byte. What waits in a pipe or a socket is not: the kernel tells how
many there are, and how much fits into each, so that the most that can lie there is counted. Behind
a wall no program can make more fit. As long as all that a job may have open could not hold too
much, nothing is counted one by one.

Where a job has a network of its own, its connections tell what waits in them, and sockets count
that nobody has open, since they are on their way from one process to another.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from launchers.process_table import PAGE_BYTES

MOST_OPEN = 65536
"""Descriptors of all processes together, from which on they are too many to be looked at."""
FULL_PIPE, LEAST_PIPE = 16 * PAGE_BYTES, 2 * PAGE_BYTES
"""What fits into a pipe, and into one that is made when its user has too many."""
SLOTS = "FDSize"
TABLES = ("VmPTE", "VmSwap", "HugetlbPages")
"""Names in a process's status: room for descriptors, and what it takes beside what is resident."""


class Seen(NamedTuple):
    """Pipes and sockets that processes have open, by their numbers."""

    pipes: set[tuple[int, int]]
    """With the file system that each lies in: one that has a name may lie in any."""
    sockets: set[int]


class TooManyOpenError(Exception):
    """The processes of a job have more files open than are looked through."""


def kernel_bytes(folders: Sequence[str], *, room: int) -> int:
    """Most memory of the kernel that processes may have taken.

    Args:
        folders: of all processes of a job, as their rows in the process table name them.
        room: bytes up to which a rough sum will do.
    """
    fields = [_status(folder) for folder in folders]
    known = sum(found.get(name, 0) << 10 for found in fields for name in TABLES)
    own = next((folder for folder in folders if _has_own_network(folder)), None)
    sockets, connections = _sockets_of(own) if own else (0, 0)
    slots = sockets + sum(found.get(SLOTS, 0) for found in fields)
    most = slots * max(pipe_bytes(1), _socket_bytes()) + connections * _connection_bytes()
    if known + most <= room:
        return known
    seen = look_through(folders)
    known += _waiting_in_tcp(own) if own and connections else 0
    return known + pipe_bytes(len(seen.pipes)) + max(sockets, len(seen.sockets)) * _socket_bytes()


def look_through(folders: Iterable[str]) -> Seen:
    """All pipes and sockets that processes have open, each once.

    Raises:
        TooManyOpenError: they have more files open than are looked through.
    """
    seen = Seen(set(), set())
    for number, found in enumerate(_open_files(folders)):
        if number >= MOST_OPEN:
            raise TooManyOpenError
        if stat.S_ISFIFO(found.st_mode):
            seen.pipes.add((found.st_dev, found.st_ino))
        elif stat.S_ISSOCK(found.st_mode):
            seen.sockets.add(found.st_ino)
    return seen


def pipe_bytes(count: int) -> int:
    """Most that fits into so many pipes of one user, who is given small ones from a sum on.

    Source: pipe(7), /proc/sys/fs/pipe-user-pages-soft.
    """
    soft = _setting("fs/pipe-user-pages-soft", 0) * PAGE_BYTES
    if soft == 0:
        return count * _setting("fs/pipe-max-size", 1 << 20)
    return min(count * FULL_PIPE, soft) + count * LEAST_PIPE


def _sockets_of(folder: str) -> tuple[int, int]:
    """How many sockets there are in a network, and how many of them speak TCP."""
    found = {
        row[0]: int(row[2]) for name in ("sockstat", "sockstat6") for row in _rows(folder, name)
    }
    return found.get("sockets:", 0), found.get("TCP:", 0) + found.get("TCP6:", 0)


def _waiting_in_tcp(folder: str) -> int:
    """What waits in the connections of a network, at twice its bytes: each piece costs more."""
    rows = (row for name in ("tcp", "tcp6") for row in _rows(folder, name))
    sizes = (size for row in rows if ":" in row[4] for size in row[4].split(":"))
    return 2 * sum(int(size, 16) for size in sizes)


def _status(folder: str) -> dict[str, int]:
    """The numbers in what the kernel tells of a process; sizes are in KiB."""
    with (
        contextlib.suppress(OSError),
        open(f"{folder}/status", encoding="utf-8", errors="replace") as file,
    ):
        rows = (line.split() for line in file)
        return {row[0][:-1]: int(row[1]) for row in rows if row[0][:-1] in (SLOTS, *TABLES)}
    return {}


def _open_files(folders: Iterable[str]) -> Iterator[os.stat_result]:
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"{folder}/fd"):
                with contextlib.suppress(OSError):
                    yield os.stat(f"{folder}/fd/{name}")


def _rows(folder: str, name: str) -> Iterator[list[str]]:
    """Rows of a table about sockets; in some the first names the columns."""
    with (
        contextlib.suppress(OSError),
        open(f"{folder}/net/{name}", encoding="utf-8", errors="replace") as file,
    ):
        for line in file:
            yield line.split()


def _has_own_network(folder: str) -> bool:
    try:
        return not os.path.samestat(os.stat(f"{folder}/ns/net"), os.stat("/proc/self/ns/net"))
    except OSError:
        return False


def _socket_bytes() -> int:
    """What fits into a socket on its way to another, and one piece more."""
    return _setting("net/core/wmem_default", 212992) + FULL_PIPE


def _connection_bytes() -> int:
    """What may wait at both ends of a connection, at twice its bytes."""
    return 2 * (_setting("net/ipv4/tcp_rmem", 6 << 20) + _setting("net/ipv4/tcp_wmem", 4 << 20))


def _setting(name: str, default: int) -> int:
    """A number of the kernel's, the last where there are several: the largest."""
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as file:
            return int(file.read().split()[-1])
    except (OSError, ValueError, IndexError):
        return default
