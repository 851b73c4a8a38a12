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

_mine: dict[Path, int] = {}
_guard = threading.Lock()


@contextmanager
def hold(lock: Path, *, doing: str) -> Iterator[bool]:
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
        descriptor = _take(lock, doing) if first else None
        _mine[lock] = _mine.get(lock, 0) + 1
    try:
        yield first
    finally:
        with _guard:
            _mine[lock] -= 1
            if not _mine[lock]:
                del _mine[lock]
        if descriptor is not None:
            os.close(descriptor)


def _take(lock: Path, doing: str) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read_text(errors="replace")
        os.close(descriptor)
        raise HeldError(
            f"campaign {lock.stem}: somebody works on it already: {holder or 'unknown'}. "
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
