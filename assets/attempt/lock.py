"""One holder per campaign: a lock file that says who works on it."""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.errors import HeldError
from lake.tables import now

_mine: dict[Path, tuple[int, int]] = {}
"""Locks that this process holds: descriptor, and how often it was taken."""
_guard = threading.Lock()
LOCKS = Path("/proc/locks")


@contextmanager
def held(lock: Path, *, doing: str) -> Iterator[bool]:
    """Hold the campaign's lock; within one process it may be taken again.

    Args:
        lock: the campaign's lock file.
        doing: what the holder does, shown to whoever comes second.

    Yields:
        Whether this call is the one that took it.

    Raises:
        HeldError: saying who holds it.
    """
    with _guard:
        first = lock not in _mine
        descriptor, count = (_take(lock, doing), 0) if first else _mine[lock]
        _mine[lock] = (descriptor, count + 1)
    try:
        yield first
    finally:
        with _guard:
            descriptor, count = _mine.pop(lock)
            if count > 1:
                _mine[lock] = (descriptor, count - 1)
            else:
                os.close(descriptor)


def holder(lock: Path) -> str | None:
    """Who holds a lock, as they said; None where nobody does, or where the system cannot tell.

    Taking it to see would refuse whoever comes at that moment, so the kernel's list is read.
    """
    try:
        inode, held = lock.stat().st_ino, LOCKS.read_text()
    except OSError:
        return None
    fields = (line.split() for line in held.splitlines())
    flocks = {field[5].rpartition(":")[2] for field in fields if field[1] == "FLOCK"}
    return lock.read_text(errors="replace") if str(inode) in flocks else None


def _take(lock: Path, doing: str) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read_text(errors="replace")
        os.close(descriptor)
        raise HeldError(
            f"{lock}: held already by {holder or 'an unknown process'}. "
            "Expected to be alone: wait until it ends, or stop it with Ctrl-C there"
        ) from error
    said = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": now().isoformat(timespec="seconds"),
        "doing": doing,
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(said).encode(), 0)
    return descriptor
