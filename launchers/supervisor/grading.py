"""A Grade: trusted code reports what the outputs are worth, and may start an untrusted server.

It starts in a folder of the frozen files alone, outside the wall, and prints into a log of its own.
The server, where there is one, is put behind the wall by the words that the grader is given, and no
other untrusted program runs on the machine meanwhile.
"""

import contextlib
import os

from launchers import folder as names
from launchers.result import Evaluation
from launchers.sandbox.view import View
from launchers.steps import Grade
from launchers.supervisor.commands import REPORT, SERVER, filled
from launchers.supervisor.evaluation import EvaluationError, read_evaluation
from launchers.supervisor.failures import JobFailedError
from launchers.supervisor.job import Job
from launchers.supervisor.program import End, Ending
from launchers.supervisor.views import sources, view_of

REPORT_FILE = "evaluation.json"
"""In the private folder: where a grader leaves its report."""


def grade_step(job: Job, step: Grade) -> None:
    """Runs the grader, and notes what it took and what it reported.

    Raises:
        JobFailedError: there is no value.
        CancelledError: the job was told to stop.
    """
    view = _view_of_server(job, step)
    job.fresh_work()
    turn = job.turn(step.name, alone=True) if view else contextlib.nullcontext(0.0)
    with turn as waited, job.starting(job.score_log):
        if view:
            job.wall.prepare(view)
        end = job.run_program(
            _command(job, step, view),
            folder=names.JUDGE,
            log=job.score_log,
            wall_seconds=step.wall_seconds,
            idle_seconds=step.idle_seconds,
        )
    job.account.add_step(step.name, end, waited=waited)
    job.check_end(end)
    _check_grader(step, end)
    evaluation = _evaluation(job, step)
    job.account.evaluations[step.name] = evaluation
    job.events.append("scored", step=step.name, value=evaluation.value, blame=evaluation.blame)
    if view and evaluation.blame == "evaluate":
        job.check_wall(view, job.score_log)
    if evaluation.value is None:
        raise JobFailedError(str(evaluation.blame), str(evaluation.reason))


def _view_of_server(job: Job, step: Grade) -> View | None:
    """What the server sees; None where there is none."""
    if step.server is None:
        return None
    readable = sources(step.server.mounts, job.place, job.run)
    return view_of(job.spec, job.place, job.run, readable=readable, out=None)


def _command(job: Job, step: Grade, view: View | None) -> list[str]:
    """The grader's command line, with that of its server in it."""
    paths = sources(step.mounts, job.place, job.run) | {REPORT: _report(job)}
    server: list[str] = []
    if view and step.server:
        inside = {name: job.wall.path(view, name) for name in step.server.mounts}
        words = [job.place.python, *filled(step.server.command, inside)]
        server = job.wall.command(view, words)
        paths |= {f"{SERVER}.{name}": path for name, path in inside.items()}
    return [job.place.python, *filled(step.command, paths, server)]


def _report(job: Job) -> str:
    return os.path.join(job.path(names.WORK), REPORT_FILE)


def _check_grader(step: Grade, end: End) -> None:
    """Finds the blame for a grader that did not end well: what it served, or else the machine.

    Raises:
        JobFailedError: it did not end well.
    """
    program = step.command[0]
    if end.ending is Ending.DEADLINE:
        blame = "timeout" if step.server else "infrastructure"
        said = f"{program}: killed after {step.wall_seconds:g} s of scoring"
        raise JobFailedError(blame, said)
    if end.ending is Ending.IDLE:
        blame = "timeout" if step.server else "infrastructure"
        raise JobFailedError(blame, f"{program}: {end.idle_words}")
    if end.ending is Ending.LIMIT and step.server:
        raise JobFailedError("evaluate", f"{step.server.command[0]}: {end.excess}; it was killed")
    if end.ending is Ending.LIMIT:
        raise JobFailedError("infrastructure", f"{program}: {end.excess}; it was killed")
    if end.exit_code != 0:
        raise JobFailedError("infrastructure", f"{program}: {end.exit_words}")


def _evaluation(job: Job, step: Grade) -> Evaluation:
    """The report of the grader.

    Raises:
        JobFailedError: it is missing or broken.
    """
    try:
        return read_evaluation(_report(job), program=step.command[0])
    except EvaluationError as error:
        raise JobFailedError("infrastructure", str(error)) from error
