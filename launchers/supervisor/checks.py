"""What is looked at before the first program of a job runs: its steps, its tree, and the machine.

A list of steps that makes no sense, or a machine that lacks a part, says nothing about the idea.
"""

import os
from collections.abc import Collection, Iterator, Mapping

from launchers import folder as names
from launchers.job import JobSpec
from launchers.place import Place
from launchers.sandbox.levels import UnknownLevelError, sandbox_level
from launchers.sandbox.view import ENV, OUT
from launchers.steps import OUTPUTS, Grade, Harvest, Run, Server, Step, Take
from launchers.supervisor.commands import REPORT, SERVER, SERVER_WORD, names_in
from launchers.supervisor.failures import JobFailedError
from launchers.supervisor.views import DATA, source
from launchers.tree import TreeError, checked_path, tree_hash, unpack_tree

RESERVED = (ENV, OUT, REPORT, SERVER)
"""Names that no mount may have."""


def checked_tree(spec: JobSpec, place: Place, run: str) -> dict[str, bytes]:
    """The tree of the job, once all that it needs is known to be there.

    Raises:
        JobFailedError: blamed on setup.
    """
    try:
        sandbox_level(spec.sandbox)
        with open(os.path.join(run, names.TREE), "rb") as file:
            files = unpack_tree(file.read())
        found = tree_hash(files)
    except (UnknownLevelError, TreeError, FileNotFoundError) as error:
        raise JobFailedError("setup", str(error)) from error
    if found != spec.tree:
        raise JobFailedError(
            "setup", f"tree: found the hash {found}, expected {spec.tree}; submit again"
        )
    problem = next(problems(spec), None)
    if problem:
        raise JobFailedError("setup", f"job {spec.run_id}: {problem}; correct its steps")
    lacking = list(missing_parts(spec, place, files))
    if lacking:
        raise JobFailedError(
            "setup",
            f"job {spec.run_id}: {', '.join(lacking)} not found in the tree or on this machine, "
            f"which has the data {spec.data} at {place.data}; prepare the environment's data again",
        )
    return files


def problems(spec: JobSpec) -> Iterator[str]:
    """What makes no sense in the list of steps."""
    before: Step | None = None
    programs: set[str] = set()
    for step in spec.steps:
        if isinstance(step, Run | Grade):
            if step.name in programs:
                yield f"found two steps called {step.name!r}, expected different names"
            programs.add(step.name)
        if isinstance(step, Harvest) and not isinstance(before, Run):
            yield "found a harvest that follows no run, expected it right after its run"
        yield from _problems_of(step, spec.frozen)
        before = step


def _problems_of(step: Step, frozen: Collection[str]) -> Iterator[str]:
    """What makes no sense in one step."""
    if isinstance(step, Run):
        yield from _unknown(step.name, step.command, step.mounts, {OUT})
        if step.starter is not None and step.starter not in frozen:
            yield f"{step.name}: found the starter {step.starter}, expected a frozen file"
    elif isinstance(step, Take):
        if not names.RUN_ID.fullmatch(step.run_id):
            yield f"found the job {step.run_id!r} to take outputs of, expected a run_id"
    elif isinstance(step, Grade):
        server = step.server
        told = {f"{SERVER}.{name}" for name in server.mounts} if server else set()
        words = [word for word in step.command if word != SERVER_WORD]
        yield from _unknown(step.name, words, step.mounts, {REPORT, *told})
        if step.command.count(SERVER_WORD) != (1 if server else 0):
            yield f"{step.name}: expected {SERVER_WORD} once as a word of its own, with a server"
        if server:
            yield from _unknown(f"server of {step.name}", server.command, server.mounts, set())


def _unknown(
    name: str, command: Collection[str], mounts: Mapping[str, str], more: set[str]
) -> Iterator[str]:
    """Names that a command uses but nothing provides, and mounts of unknown folders."""
    if not command:
        yield f"{name}: found no command, expected a program of the tree"
    for used in sorted(names_in(command) - {*mounts, *more}):
        yield f"{name}: found {{{used}}} in the command, expected one of {sorted({*mounts, *more})}"
    for mount, what in mounts.items():
        if mount in RESERVED or not mount.isidentifier():
            yield f"{name}: found a mount called {mount!r}, expected another name"
        if what != OUTPUTS and not _is_in_data(what):
            yield f"{name}: found the mount {what!r}, expected {OUTPUTS} or a path below {DATA}"


def _is_in_data(mount: str) -> bool:
    try:
        return checked_path(mount).split("/")[0] == DATA
    except TreeError:
        return False


def missing_parts(spec: JobSpec, place: Place, files: Collection[str]) -> Iterator[str]:
    """Programs, frozen files and data that the steps need and that are not there."""
    if not os.access(place.python, os.X_OK):
        yield place.python
    yield from (path for path in spec.frozen if path not in files)
    mounts: dict[str, None] = {}
    for step in _programs(spec):
        program = step.command[0]
        if program not in (spec.frozen if isinstance(step, Grade) else files):
            yield program
        mounts |= dict.fromkeys(step.mounts.values())
    for mount in mounts:
        if mount != OUTPUTS and not os.path.isdir(source(mount, place, "")):
            yield f"{mount}/"


def _programs(spec: JobSpec) -> Iterator[Run | Grade | Server]:
    for step in spec.steps:
        if isinstance(step, Run | Grade):
            yield step
        if isinstance(step, Grade) and step.server:
            yield step.server
