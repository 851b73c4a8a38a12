"""The supervisor of one job: check, the steps of its list in order, and result.json last.

It is a process of its own, holds the lock of the run folder for life and outlives whoever started
it. What it runs is untrusted, or is kept apart from what is: its conclusions come from exit codes,
clocks, declared files and the reports of graders. SIGTERM cancels.
Started by `python -I -S launchers RUN [LOCK_FD]`; LOCK_FD is a descriptor that holds the lock
already, handed down so that there is no moment at which nobody holds it.
"""

import contextlib
import os
import resource
import sys
from typing import Any

from launchers import folder as names
from launchers.process_table import become_subreaper, read_process
from launchers.sandbox.levels import LEVELS
from launchers.steps import Grade, Harvest, Run, Take
from launchers.supervisor.checks import checked_tree
from launchers.supervisor.failures import CancelledError, JobFailedError
from launchers.supervisor.grading import grade_step
from launchers.supervisor.interrupts import Interrupts
from launchers.supervisor.job import Job
from launchers.supervisor.running import Ran, harvest_step, run_step
from launchers.supervisor.taking import take_step


def supervise(job: Job) -> None:
    """Does the whole job. Whatever happens, a result is written."""
    job.events.append("started", pid=os.getpid())
    try:
        names.reserve_room(job.run)
        _do(job)
    except JobFailedError as error:
        job.account.fail(error.blame, error.reason)
    except CancelledError:
        job.account.cancel("the launcher was asked to cancel the job")
    except Exception as error:  # noqa: BLE001  # the last boundary: a bug is no idea's fault
        import traceback

        full = job.disk.was_full or names.says_disk_full(error)
        what = "the disk is full" if full else "the supervisor failed"
        job.account.fail("infrastructure", f"{what}: {traceback.format_exc(limit=-3)}")
    _finish(job)


def _do(job: Job) -> None:
    """The steps in order; a failure of one is raised. Each program gets a fresh tree."""
    files = checked_tree(job.spec, job.place, job.run)
    frozen = {path: files[path] for path in job.spec.frozen}
    ran: Ran | None = None
    for step, behind in zip(job.spec.steps, (*job.spec.steps[1:], None), strict=True):
        if isinstance(step, Run):
            job.lay(names.ENV, files)
            ran = run_step(job, step, behind if isinstance(behind, Harvest) else None)
        elif isinstance(step, Harvest) and ran:
            harvest_step(job, ran, step)
        elif isinstance(step, Take):
            take_step(job, step)
        elif isinstance(step, Grade):
            job.lay(names.ENV, files)
            job.lay(names.JUDGE, frozen)
            grade_step(job, step)


def _finish(job: Job) -> None:
    """Writes the result, after giving back all that the job no longer needs."""
    result = job.account.result(
        job.spec,
        level=LEVELS.get(job.spec.sandbox, LEVELS["none"]),
        python=job.place.python,
        log_tail=job.log.tail(),
        log_bytes=job.log.total,
    )
    with contextlib.suppress(OSError):  # leftover rubbish must not cost the result
        names.remove_tree(job.path(names.WORK))
        names.remove_tree(job.path(names.JUDGE))
    names.remove_file(job.path(names.RESERVE))
    names.remove_empty(job.path(names.SUPERVISOR_LOG))
    job.log.close()
    job.score_log.close()
    own = resource.getrusage(resource.RUSAGE_SELF)
    job.events.append(
        "finished",
        status=result.status,
        blame=result.blame,
        supervisor_cpu_seconds=round(own.ru_utime + own.ru_stime, 4),
    )
    names.write_result(job.run, result.to_json().encode(), job.disk)


def main(arguments: list[str]) -> int:
    """Supervises the job of a run folder; gives the exit code."""
    run = os.path.abspath(arguments[0])
    lock = int(arguments[1]) if len(arguments) > 1 else names.take_lock(run, create=True)
    if lock is None:
        sys.stderr.write(f"{run}: another supervisor holds the lock; nothing was started\n")
        return 2
    os.set_inheritable(lock, False)
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    os.umask(0o022)  # behind some walls the job is another user, who must read its tree
    interrupts = Interrupts()
    become_subreaper()
    myself: Any = read_process(os.getpid())
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{myself.pid} {myself.born}\n".encode(), 0)
    supervise(Job(run, interrupts))
    return 0
