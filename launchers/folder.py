"""The run folder: the names of its files, and how facts are written into it durably.

RUN/ spec.json   the job
     place.json  what it is told about this machine: interpreter, data, GPUs
     tree        the patched tree, in one file
     env/        that tree, written afresh for every program
     judge/      its frozen files alone, while a grader runs
     out/        harvested outputs, only what was declared
     log.txt     bounded log of Run steps: training
     score.txt   that of graders and their servers; never shown to a model, since a server prints
                 what it is asked
     events.jsonl  what happened when, each line synced; heartbeats
     result.json last, by rename: the job is done
     lock        flock held by the live supervisor, its pid inside
     processes   pid and start time of every process of the job, for cleaning up after a crash
     work/       private home, temporary files and raw outputs while the job runs
"""

import errno
import fcntl
import json
import os
import re
import time

from launchers.result import MOST_BYTES, JobResult, ResultError

RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""What may name a run folder."""
SPEC = "spec.json"
PLACE = "place.json"
TREE = "tree"
ENV = "env"
JUDGE = "judge"
OUT = "out"
LOG = "log.txt"
SCORE_LOG = "score.txt"
EVENTS = "events.jsonl"
RESULT = "result.json"
LOCK = "lock"
PROCESSES = "processes"
WORK = "work"
RESERVE = "reserve"
SUPERVISOR_LOG = "supervisor.txt"
"""What the supervisor itself prints: empty and removed unless it crashes."""

RESERVE_BYTES = 1 << 17
"""Reserved on the disk so that a result can be written when a job has filled it."""
RESULT_PATIENCE_SECONDS = 60.0
"""How long a result waits for a full disk to have room for it."""
LOW_DISK_BYTES = 4 << 20
"""With less than this free, a failure is the disk's and says nothing about the idea."""


def timestamp() -> str:
    """The present moment in UTC, ISO 8601 with milliseconds."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


def write_whole(path: str, content: bytes, *, synced: bool) -> None:
    """Replaces a file so that a reader finds the old or the new content, never a part.

    Args:
        path: the file.
        content: all of it.
        synced: make that hold after a crash of the machine too.
    """
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        if synced:
            os.fsync(file.fileno())
    os.replace(partial, path)
    if synced:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


def read_result(run: str) -> JobResult | None:
    """The result of a job, or None while there is none that its supervisor wrote whole."""
    try:
        with open(os.path.join(run, RESULT), "rb") as file:
            result = JobResult.from_json(file.read(MOST_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ResultError):
        return None
    return result if result.run_id == os.path.basename(run) else None


def take_lock(run: str, *, create: bool = False, wait_seconds: float = 0.0) -> int | None:
    """Takes the supervisor's lock of a run folder.

    Args:
        run: the run folder.
        create: make the lock file where it is missing.
        wait_seconds: how long to keep trying; a poll holds the lock for microseconds.

    Returns:
        A descriptor that holds the lock until it and its copies are closed; None if another holds
        it.

    Raises:
        FileNotFoundError: there is no lock file.
    """
    descriptor = os.open(os.path.join(run, LOCK), os.O_RDWR | (os.O_CREAT if create else 0), 0o644)
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                os.close(descriptor)
                return None
            time.sleep(0.002)
        else:
            return descriptor


def remove_tree(folder: str) -> None:
    """Removes a folder that a job could write to, whatever it left there.

    Raises:
        OSError: something in it cannot be removed.
    """
    if not os.path.lexists(folder):
        return
    try:
        _remove(folder)
    except (OSError, RecursionError):  # nested deeper than Python or a path can go
        os.spawnlp(os.P_WAIT, "rm", "rm", "-rf", folder)
        if os.path.lexists(folder):
            raise


def _remove(path: str) -> None:
    """Removes a file, a link, or a folder with its content; `shutil` costs 4 ms to import."""
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    os.chmod(path, 0o700)
    with os.scandir(path) as entries:
        inner = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for one, is_folder in inner:
        if is_folder:
            _remove(one)
        else:
            os.unlink(one)
    os.rmdir(path)


def remove_file(path: str) -> None:
    """Removes a file if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def remove_empty(path: str) -> None:
    """Removes a file that nothing was written to."""
    if os.path.exists(path) and os.path.getsize(path) == 0:
        remove_file(path)


def says_disk_full(error: BaseException) -> bool:
    """Whether an error says that a file system or a quota has no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """Watches the free space of the file system that holds a run folder."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.was_full = False
        """Whether space ran out at any moment so far."""

    def look(self) -> None:
        """Notes whether the disk is full at this moment."""
        found = os.statvfs(self.run)
        no_names = found.f_files > 0 and found.f_favail == 0
        if found.f_bavail * found.f_frsize < LOW_DISK_BYTES or no_names:
            self.was_full = True

    def forgive(self, error: OSError) -> None:
        """Swallows an error that only says that the disk is full, and notes it.

        Raises:
            OSError: it says something else.
        """
        if not says_disk_full(error):
            raise error
        self.was_full = True


def reserve_room(run: str) -> None:
    """Reserves the room that the result will need.

    Raises:
        OSError: there is none.
    """
    with open(os.path.join(run, RESERVE), "wb") as file:
        file.write(bytes(RESERVE_BYTES))


def write_result(run: str, content: bytes, disk: Disk) -> None:
    """Writes result.json durably, waiting a while for room on a full disk.

    Raises:
        OSError: it cannot be written.
    """
    give_up = time.monotonic() + RESULT_PATIENCE_SECONDS
    while True:
        try:
            return write_whole(os.path.join(run, RESULT), content, synced=True)
        except OSError as error:
            disk.forgive(error)
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)


class Events:
    """Appends to events.jsonl; each line is on disk when the call returns."""

    def __init__(self, run: str, disk: Disk) -> None:
        self._disk = disk
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(os.path.join(run, EVENTS), flags, 0o644)

    def append(self, kind: str, **details: object) -> None:
        """Writes one event. A full disk loses the event, not the job."""
        line = json.dumps({"at": timestamp(), "kind": kind, **details}) + "\n"
        try:
            os.write(self._descriptor, line.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            self._disk.forgive(error)
