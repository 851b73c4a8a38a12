"""What a job does, step by step; the supervisor runs the list and knows no environment.

    train, harvest, score                       Run, Harvest, Grade with a server
    grade weights of a fixed architecture       Run, Harvest, Grade without a server
    score kept outputs again                    Take, Grade
    measure between steps of training           Run, Harvest, Grade, Run, Harvest, Grade, ...
    learn, no score                             Run, Harvest

A command names a program of the tree and its arguments; the worker puts its interpreter in front.
`{name}` in an argument is the path of the mount of that name as the program sees it. `{out}` is the
folder that the outputs of a Run are taken from. A grader reports in the file `{report}`, starts its
server with the words that the single argument `{server}` stands for, and passes it one of its
mounts as `{server.name}`, which is the path that the server sees. A Harvest directly follows its
Run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

READY = b"\0ready\n"
"""What a starter prints first, in one write."""
OUTPUTS = "outputs"
"""Mount: what was harvested or taken so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Runs an untrusted program of the patched tree behind the wall."""

    kind: ClassVar[str] = "run"

    name: str
    """Unique in the job; names the step in the result."""
    command: tuple[str, ...]
    mounts: Mapping[str, str]
    """Name -> what the program may read there: a path below the job's data, such as `data/train`,
    or `outputs`."""
    wall_seconds: float
    """By the supervisor's monotonic clock. What is complete at the deadline is still harvested."""
    cpu_seconds: float | None = None
    """CPU time of the whole process tree at which it is killed; None for no such limit."""
    idle_seconds: float | None = None
    """Wall clock in which nothing of the process tree has anything to do, at which it is killed;
    None for no such limit. What it left is then not taken."""
    starter: str | None = None
    """Frozen program that is given the command: it imports libraries, prints READY by itself, and
    only then runs the program. What that takes is told apart. None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """Takes the declared outputs of the run before it, or blames that run for what is missing."""

    kind: ClassVar[str] = "harvest"

    outputs: Mapping[str, Mapping[str, int]]
    """Name or glob -> {"max": how many files may match, "bytes": cap of each}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Takes the kept outputs of an earlier job."""

    kind: ClassVar[str] = "take"

    run_id: str
    """Of the earlier job."""
    outputs: Mapping[str, Mapping[str, int]]
    """As for Harvest."""
    hashes: Mapping[str, str]
    """Name -> sha256 that these outputs must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An untrusted program of the patched tree that a grader starts behind the wall."""

    command: tuple[str, ...]
    mounts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """Runs a trusted program in a folder of the frozen files alone; its report is an evaluation."""

    kind: ClassVar[str] = "grade"

    name: str
    command: tuple[str, ...]
    mounts: Mapping[str, str]
    wall_seconds: float
    idle_seconds: float | None = None
    """As for Run, of the grader and its server together."""
    server: Server | None = None
    """None where no untrusted code runs while it grades."""


Step = Run | Harvest | Take | Grade


def untimed(step: Step) -> Step:
    """The step without its time limits: equal ones do the same work.

    Outputs are taken by their hashes, so it does not matter which job kept them.
    """
    if isinstance(step, Run):
        return replace(step, wall_seconds=0.0, cpu_seconds=None, idle_seconds=None)
    if isinstance(step, Grade):
        return replace(step, wall_seconds=0.0, idle_seconds=None)
    return replace(step, run_id="") if isinstance(step, Take) else step
