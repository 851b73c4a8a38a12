"""How strong the wall between a job and its machine is, and what each does not protect against."""

from typing import NamedTuple


class Level(NamedTuple):
    """How strong the wall is."""

    name: str
    """As asked for in a specification."""
    gaps: tuple[str, ...]
    """What it does not protect against, recorded with every run."""


LEVELS = {
    "none": Level(
        name="none",
        gaps=(
            "files: reads and writes whatever the user may",
            "hidden-data: can find and read the hidden shards",
            "processes: sees and signals the user's other processes and reads their environments",
            "network: not cut",
            "compute: the time of children that live less than a tenth of a second and that nobody "
            "waits for is not counted",
            "disk: no quota",
            "score: the server of the patched model could forge the evaluation",
        ),
    ),
    "landlock": Level(
        name="landlock",
        gaps=(
            "processes: sees that others exist; for root a fork bomb is stopped by a watch, "
            "threads by nothing; after a killed supervisor its grandchildren live until the next "
            "search",
            "files: learns names, sizes and times of files that it cannot open, masked ones too",
            "files: modes and times cannot be changed, though the calls say so",
            "memory: the limit is a watch that looks every tenth of a second; what the kernel "
            "keeps for maps of memory, for epoll and for pipes on their way is not counted",
            "counters: how fast each processor runs and how large every file is can be seen, "
            "though never while a server is scored",
            "turns: jobs in containers that share no /run/lock or /tmp do not wait for each other",
            "libraries: a program that asks how much memory or disk is free gets no answer, or one "
            "that means nothing",
            "disk: the quota is a watch that looks every tenth of a second",
            "semaphores: none, so that torch's data-loader workers and multiprocessing's queues "
            "and pools fail; use num_workers=0",
            "sockets: none but connected pairs",
            "signals: SIGCHLD keeps its default action, though the calls say otherwise; what is "
            "only woken by it, such as `wait` in dash, waits for ever",
            "proc: child processes cannot read their own /proc/self",
            "compile: torch.compile reads every file of torch and fails where some are masked, "
            "unless TORCHINDUCTOR_FORCE_DISABLE_CACHES=1",
            "notes: as at level bwrap",
            "kernel: shared with the machine; a hole in it is a hole in the wall",
        ),
    ),
    "bwrap": Level(
        name="bwrap",
        gaps=(
            "memory: the limit is a watch that looks every tenth of a second; what the kernel "
            "keeps for maps of memory, for epoll and for pipes on their way is not counted",
            "counters: /proc/self says which pages of libraries others have mapped, and how much "
            "traffic there is, though never while a server is scored",
            "turns: as at level landlock",
            "libraries: as at level landlock",
            "signals: SIGCHLD keeps its default action, though the calls say otherwise; what is "
            "only woken by it, such as `wait` in dash, waits for ever",
            "notes: locks on shared files are seen, and a file is found faster if anyone asked for "
            "it before: a server can so look ahead unseen, unless its environment seals it",
            "kernel: shared with the machine; a hole in it is a hole in the wall",
        ),
    ),
}
"""By name, weakest first."""


class UnknownLevelError(ValueError):
    """A level was asked for that this version does not have."""


def sandbox_level(name: str) -> Level:
    """The level of that name.

    Raises:
        UnknownLevelError: there is none; it is never replaced by a weaker one.
    """
    if name not in LEVELS:
        raise UnknownLevelError(
            f"sandbox: found the level {name!r}, expected one of {list(LEVELS)}; "
            "set `sandbox:` in the campaign to one of these"
        )
    return LEVELS[name]


def at_least(found: str, wanted: str) -> bool:
    """Whether a level is the wanted one or a stronger one; an unknown one never is."""
    names = list(LEVELS)
    return found in names and names.index(found) >= names.index(wanted)
