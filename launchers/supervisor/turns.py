"""Turns on a machine: a server that knows hidden text runs when no other untrusted code does.

What a scored server does to the machine, others can see: how much memory is taken, how fast
everything is. Walls hide counters, and nothing hides time. So programs that train run beside each
other, and a server is scored alone, even where another one waits to be scored: what one is asked in
its scored pass is what the other must not know in its audit.

Two locks, in files that every job of every user of the machine opens and no walled program can:

    floor   held by whoever runs: together by those that train, alone by a server that is scored
    queue   held together by all that wait to be scored; training begins only while nobody does

So what trains is let end, all that wait are scored one after the other, and training goes on. To
stop what trains instead would cost less where it takes long, but a stopped program has ways to wake
itself. The kernel frees the locks of whoever dies. Whoever waits asks again every few milliseconds,
since a job that is cancelled must not wait in the kernel.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

FLOOR, QUEUE = "varve-floor.lock", "varve-queue.lock"
PAUSE_SECONDS = 0.02


class TurnError(OSError):
    """A lock of the machine cannot be opened."""


@contextlib.contextmanager
def turn(folder: str, *, alone: bool, pause: Callable[[float], None]) -> Iterator[float]:
    """Holds a place on the floor; gives the seconds that were waited for it.

    Args:
        folder: of the locks, the same for all jobs of the machine.
        alone: whether nobody else may run meanwhile.
        pause: waits for so many seconds; what it raises ends the waiting.

    Raises:
        TurnError: a lock cannot be opened.
    """
    began = time.monotonic()
    with _opened(folder, FLOOR) as floor, _opened(folder, QUEUE) as queue:
        take = _taken_alone if alone else _taken_beside
        while not take(floor, queue):
            pause(PAUSE_SECONDS)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield time.monotonic() - began


def _taken_alone(floor: int, queue: int) -> bool:
    """Tries to take the floor alone; from the first try on, nobody begins to train."""
    return _taken(queue, fcntl.LOCK_SH) and _taken(floor, fcntl.LOCK_EX)


def _taken_beside(floor: int, queue: int) -> bool:
    """Tries to take a place beside others, if nobody waits to be alone."""
    if not _taken(queue, fcntl.LOCK_EX):
        return False
    taken = _taken(floor, fcntl.LOCK_SH)
    fcntl.flock(queue, fcntl.LOCK_UN)
    return taken


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _opened(folder: str, name: str) -> Iterator[int]:
    """A lock's file, made where it is missing; closing it frees the lock.

    Every user may open it, since reading is all that a lock needs.
    """
    path, reading = os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, reading)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another job makes it at this moment
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444))
            descriptor = os.open(path, reading)
    except OSError as error:
        raise TurnError(
            f"{path}: found that it cannot be opened ({error.strerror}), expected a file that all "
            "users of this machine can read, by which jobs take turns; remove what lies there"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
