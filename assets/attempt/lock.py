"""One holder per campaign, in its home and in its lake: locks that say who works on it.

The home's lock keeps journal and job folders apart, the lake's lock the rows: two homes may have
one lake. In a folder both are file locks; on an object store the lake's is a lease.
"""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.config.home import Home
from assets.errors import HeldError
from lake.lease import FOLDER, Lease
from lake.tables import now

_mine: dict[Path, tuple[int, int]] = {}
"""Locks that this process holds: descriptor, and how often it was taken."""
_leases: dict[tuple[str, str], Lease] = {}
"""Campaigns that this process holds in lakes on object stores."""
_guard = threading.Lock()
LOCKS = Path("/proc/locks")


@contextmanager
def campaign_held(home: Home, campaign: str, *, doing: str) -> Iterator[None]:
    """Hold a campaign in its home and in its lake; within one process it may be taken again.

    Raises:
        HeldError: saying who holds it in this home, or in this lake from another one.
        LeaseError: the same of a lake on an object store.
    """
    with held(home.lock(campaign), doing=doing) as first:
        if "://" not in home.lake:
            with held(lake_lock(home, campaign), doing=doing):
                yield
        elif first:
            with _leased(home.lake, campaign, doing):
                yield
        else:
            yield


def lake_lock(home: Home, campaign: str) -> Path:
    """The lock file of a campaign in a lake that is a folder."""
    return Path(home.lake, FOLDER, f"{campaign}.lock")


def check_held(home: Home, campaign: str) -> None:
    """Does nothing while a campaign that was taken is still held.

    Raises:
        LeaseError: the lease in its lake was lost.
    """
    lease = _leases.get((home.lake, campaign))
    if lease is not None:
        lease.check()


@contextmanager
def _leased(lake: str, campaign: str, doing: str) -> Iterator[None]:
    lease = Lease(lake, campaign, _said(doing))
    _leases[lake, campaign] = lease
    try:
        yield
    finally:
        del _leases[lake, campaign]
        lease.release()


@contextmanager
def held(lock: Path, *, doing: str) -> Iterator[bool]:
    """Hold a lock file; within one process it may be taken again.

    Args:
        lock: the file.
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
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(_said(doing)).encode(), 0)
    return descriptor


def _said(doing: str) -> dict[str, str]:
    """What others are told about this process."""
    return {
        "pid": str(os.getpid()),
        "host": socket.gethostname(),
        "since": now().isoformat(timespec="seconds"),
        "doing": doing,
    }
