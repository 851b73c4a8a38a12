"""Where the job of a run folder stands, by its folder and by the lock of its supervisor alone."""

import contextlib
import fcntl
import os
import signal
from pathlib import Path

from launchers import folder as names
from launchers.job import JobPhase, JobSpec, JobState
from launchers.process_table import read_process
from launchers.sandbox.levels import at_least


def state_of(run: Path) -> JobState:
    """Where a job stands; a few system calls."""
    result = names.read_result(str(run))
    if result is not None:
        return JobState(phase=JobPhase.DONE, result=result)
    try:
        live = _is_locked(run)
    except FileNotFoundError:
        return JobState(phase=JobPhase.ABSENT)
    if live:
        return JobState(phase=JobPhase.RUNNING)
    result = names.read_result(str(run))
    return JobState(phase=JobPhase.DONE if result else JobPhase.LOST, result=result)


def is_settled(run: Path, spec: JobSpec) -> bool:
    """Whether the job has a result that says something about the work, at no weaker a level."""
    result = names.read_result(str(run))
    if result is None or result.is_inconclusive:
        return False
    return at_least(result.sandbox_level, spec.sandbox)


def terminate_supervisor(run: Path) -> bool:
    """Sends SIGTERM to the process that the lock file names, if that process wrote it."""
    try:
        pid, born = map(int, (run / names.LOCK).read_text(encoding="utf-8").split())
    except ValueError:
        return False
    found = read_process(pid)
    if found is None or found.born != born:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return True


def _is_locked(run: Path) -> bool:
    """Whether a supervisor is alive.

    Raises:
        FileNotFoundError: there is no such job.
    """
    with open(run / names.LOCK, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
