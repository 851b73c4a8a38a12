"""How a job runs somewhere: launchers, and the supervisor that travels with every job.

Standard library only and Python 3.10 or newer: this folder is copied to the machine that runs
the job and started there with `python -I -S launchers RUN`. Names are resolved on first use,
because a supervisor starts once per job and must not pay for what only the launching side needs.
Leaves out how many jobs run at once: whoever submits counts.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launchers.job import JobPhase, JobSpec, JobState, is_inconclusive
    from launchers.launcher import JobRunningError, Launcher, LauncherError, UnknownJobError
    from launchers.local import LocalLauncher
    from launchers.tree import TreeError, tree_hash

__all__ = [
    "JobPhase",
    "JobRunningError",
    "JobSpec",
    "JobState",
    "Launcher",
    "LauncherError",
    "LocalLauncher",
    "TreeError",
    "UnknownJobError",
    "is_inconclusive",
    "tree_hash",
]

_HOMES = {
    "JobPhase": "job",
    "JobRunningError": "launcher",
    "JobSpec": "job",
    "JobState": "job",
    "Launcher": "launcher",
    "LauncherError": "launcher",
    "LocalLauncher": "local",
    "TreeError": "tree",
    "UnknownJobError": "launcher",
    "is_inconclusive": "job",
    "tree_hash": "tree",
}


def __getattr__(name: str) -> object:
    """The exported name, imported from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'launchers' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"launchers.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
