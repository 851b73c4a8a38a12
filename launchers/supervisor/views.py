"""What each program of a job may see, and where the worker has it.

a Run      untrusted: its tree and what is mounted, and a folder for what it makes
a Server   untrusted: its tree and what is mounted; writes nothing
a Grade    trusted: outside the wall, in a folder without the files that a patch may change
"""

import os
from collections.abc import Mapping

from launchers import folder as names
from launchers.job import JobSpec
from launchers.place import Place
from launchers.sandbox.environment import job_environment
from launchers.sandbox.view import View
from launchers.steps import OUTPUTS, Harvest, Take

DATA = "data"
"""First part of a mount that lies in the job's data."""
COPIES = 2
"""How many copies of an output may lie in `out` at once, since it is written aside and then
renamed."""
SPARE_BYTES = 1 << 20


def source(mount: str, place: Place, run: str) -> str:
    """Where the worker has what is mounted: `outputs`, `data`, or a path below `data`."""
    if mount == OUTPUTS:
        return os.path.join(run, names.OUT)
    return os.path.join(place.data, *mount.split("/")[1:])


def sources(mounts: Mapping[str, str], place: Place, run: str) -> dict[str, str]:
    """Name of each mount -> where the worker has it."""
    return {name: source(mount, place, run) for name, mount in mounts.items()}


def out_bytes(outputs: Mapping[str, Mapping[str, int]]) -> int:
    """Most that a program may hold in its output folder."""
    return COPIES * sum(rule["max"] * rule["bytes"] for rule in outputs.values()) + SPARE_BYTES


def most_out_bytes(spec: JobSpec) -> int:
    """Most that any output folder of the job may hold."""
    declared = [step.outputs for step in spec.steps if isinstance(step, Harvest | Take)]
    return max([SPARE_BYTES, *map(out_bytes, declared)])


def view_of(
    spec: JobSpec, place: Place, run: str, *, readable: Mapping[str, str], out: int | None
) -> View:
    """What an untrusted program sees.

    Args:
        spec: of the job.
        place: of the worker.
        run: the run folder.
        readable: name -> folder of the worker.
        out: most bytes that it may leave; None where it writes nothing.
    """
    return View(
        python=place.python,
        folder=os.path.join(run, names.ENV),
        readable=readable,
        work=None if out is None else os.path.join(run, names.WORK),
        wall=os.path.join(run, names.WORK, "wall"),
        lock=os.path.join(run, names.LOCK),
        masked=spec.masked,
        out_bytes=out or 0,
        scratch_bytes=spec.scratch_bytes,
        processes=spec.processes,
        gpus=place.gpus,
        environment=environment_of(spec, place, run),
    )


def environment_of(spec: JobSpec, place: Place, run: str) -> dict[str, str]:
    """The process environment of every program of the job, but for HOME and TMPDIR."""
    return job_environment(os.environ, run=run, threads=spec.threads, gpus=place.gpus)
