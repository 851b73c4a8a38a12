"""A Run and the Harvest after it: an untrusted program, and what is kept of its outputs."""

import os
from typing import NamedTuple

from launchers import folder as names
from launchers.sandbox.view import OUT
from launchers.steps import Harvest, Run
from launchers.supervisor.commands import filled
from launchers.supervisor.failures import JobFailedError
from launchers.supervisor.job import Job
from launchers.supervisor.program import End, Ending
from launchers.supervisor.taking import take_outputs
from launchers.supervisor.views import out_bytes, sources, view_of


class Ran(NamedTuple):
    """A program that has run and may be harvested."""

    step: Run
    end: End
    out: int
    """Descriptor of the folder that it left its outputs in, taken before it began."""


def run_step(job: Job, step: Run, behind: Harvest | None) -> Ran:
    """Runs the program, and notes what it took.

    Args:
        job: whose step it is.
        step: what to run.
        behind: its harvest; without one it has to exit with code 0.

    Raises:
        JobFailedError: it broke a limit, or could not begin.
        CancelledError: the job was told to stop.
    """
    readable = sources(step.mounts, job.place, job.run)
    out = out_bytes(behind.outputs if behind else {})
    view = view_of(job.spec, job.place, job.run, readable=readable, out=out)
    paths = {name: job.wall.path(view, name) for name in (*step.mounts, OUT)}
    opened: list[int] = []
    job.fresh_work()
    with job.turn(step.name, alone=False) as waited, job.starting(job.log):
        job.wall.prepare(view)
        words = [job.place.python, *([step.starter] if step.starter else [])]
        end = job.run_program(
            job.wall.command(view, [*words, *filled(step.command, paths)]),
            folder=names.ENV,
            log=job.log,
            wall_seconds=step.wall_seconds,
            cpu_seconds=step.cpu_seconds,
            idle_seconds=step.idle_seconds,
            starts=step.starter is not None,
            begun=lambda pid: opened.append(job.wall.open_out(view, pid)),
        )
    job.account.add_step(step.name, end, waited=waited)
    job.events.append("trained", step=step.name, ending=end.ending.value, exit_code=end.exit_code)
    job.check_end(end)
    job.check_wall(view, job.log)
    ran = Ran(step, end, opened[0])
    _check_limits(ran)
    if behind is None:
        _check_exit(ran)
    return ran


def harvest_step(job: Job, ran: Ran, step: Harvest) -> None:
    """Takes what a Run left.

    Raises:
        JobFailedError: it is not complete.
    """
    found = take_outputs(job, ran.out, step.outputs)
    end, program = ran.end, ran.step.command[0]
    if found.complete:
        if end.ending is Ending.DEADLINE:
            job.events.append("deadline", budget_seconds=ran.step.wall_seconds)
        return
    why = "; ".join(found.missing)
    if job.disk.was_full and end.exit_code != 0:
        raise JobFailedError("infrastructure", f"the disk ran full during training; {why}")
    if end.ending is Ending.DEADLINE:
        raise _over_budget(ran, f" with nothing complete in out/ ({why})")
    raise JobFailedError("train", f"{program}: {end.exit_words}; {why}")


def _check_limits(ran: Ran) -> None:
    """Refuses the outputs of a program that broke a limit, however complete they are.

    Raises:
        JobFailedError: it did.
    """
    end, program = ran.end, ran.step.command[0]
    if end.ending is Ending.CPU_LIMIT:
        raise JobFailedError(
            "timeout",
            f"{program}: used {end.cpu_seconds:.1f} s of CPU time in its process tree, "
            f"killed at {ran.step.cpu_seconds:g} s; make the idea cheaper",
        )
    if end.ending is Ending.IDLE:
        raise JobFailedError("timeout", f"{program}: {end.idle_words}")
    if end.ending is Ending.LIMIT:
        raise JobFailedError("train", f"{program}: {end.excess}; it was killed")


def _check_exit(ran: Ran) -> None:
    """Judges a program that nothing is taken from by its exit code.

    Raises:
        JobFailedError: it did not exit with code 0.
    """
    os.close(ran.out)
    if ran.end.ending is Ending.DEADLINE:
        raise _over_budget(ran)
    if ran.end.exit_code != 0:
        raise JobFailedError("train", f"{ran.step.command[0]}: {ran.end.exit_words}")


def _over_budget(ran: Ran, left: str = "") -> JobFailedError:
    killed = f"{ran.step.command[0]}: killed at its budget of {ran.step.wall_seconds:g} s"
    return JobFailedError("timeout", f"{killed}{left}; make the idea cheaper")
