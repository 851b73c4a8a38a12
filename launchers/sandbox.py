"""The wall between a job and its machine: levels, their gaps, the wrapped command, the environment.

Only the level `none` exists so far; its gaps are named and travel with every result. What holds
at every level is the process environment: an allow-list, so that no key, token or proxy of whoever
started the search reaches the code of a patch. This is the one file of the room that is handed a
process environment; nothing reads it at import.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Level(NamedTuple):
    """How strong the wall is."""

    name: str
    """As asked for in the specification."""
    gaps: tuple[str, ...]
    """What it does not hold against, recorded with every run."""


LEVELS = {
    "none": Level(
        name="none",
        gaps=(
            "files: reads and writes whatever the user may",
            "hidden-data: can find and read the hidden shards",
            "processes: sees and signals the user's other processes and reads their environments",
            "network: not cut",
            "memory: no limit",
            "disk: no quota",
            "score: the server of the patched model could forge the evaluation",
        ),
    ),
}

PASSED_ON = ("PATH", "LANG", "CUDA_VISIBLE_DEVICES")
"""All that a job inherits."""
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
RUN_MARKER = "VARVE_RUN"
"""Names the run folder in the environment of each process of a job, to find what a crash left.
Not the run's id: two projects that run the same campaign have the same ids."""


class UnknownLevelError(ValueError):
    """A level was asked for that this version does not have."""


def sandbox_level(name: str) -> Level:
    """The level of that name.

    Raises:
        UnknownLevelError: there is none; it is never replaced by a weaker one.
    """
    if name not in LEVELS:
        raise UnknownLevelError(
            f"sandbox: found the level {name!r}, expected one of {sorted(LEVELS)}; "
            "set `sandbox:` in the campaign to one of these"
        )
    return LEVELS[name]


def wrap(
    command: Sequence[str], level: Level, *, readable: Sequence[str], writable: Sequence[str]
) -> list[str]:
    """The command that runs `command` inside the wall.

    Args:
        command: absolute path of a program, and its arguments.
        level: how strong the wall is.
        readable: folders that the command must read.
        writable: folders that the command must write.

    Returns:
        At level none the command itself: the folders are not enforced.
    """
    del level, readable, writable
    return list(command)


def passed_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """What may be handed down of a process environment: never a key, token, proxy or LD_ name."""
    kept = {name: outer[name] for name in PASSED_ON if outer.get(name)}
    return {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8"} | kept


def job_environment(
    outer: Mapping[str, str], *, run: str, home: str, temporary: str, threads: int
) -> dict[str, str]:
    """The whole process environment of training and scoring.

    Args:
        outer: the supervisor's own environment.
        run: the run folder; marks the processes of the job.
        home: private folder.
        temporary: private folder.
        threads: how many a numerical library may start; 0 leaves it the choice.
    """
    counts = {name: str(threads) for name in THREAD_COUNTS} if threads else {}
    return {
        **passed_environment(outer),
        **counts,
        RUN_MARKER: run,
        "HOME": home,
        "TMPDIR": temporary,
        "USER": "varve",
        "LOGNAME": "varve",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
    }
