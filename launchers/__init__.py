"""How a job runs somewhere: launchers, and the supervisor that travels with every job.

A job is a list of steps (`steps`) in a specification that names no path of any machine (`job`); a
launcher finds a machine (`site`), tells the job about it (`place`), and hands over its result
(`result`). What an environment's job consists of is up to the caller: nothing here knows an
environment.

Standard library only and Python 3.10 or newer: this folder is copied to the machine that runs the
job and started there with `python -I -S launchers RUN`. Names are resolved on first use, so that
`import launchers` costs nothing and a supervisor loads only its own side.
How many jobs run at once is up to the caller.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launchers.job import Charge, JobPhase, JobSpec, JobState, Ticket
    from launchers.launcher import (
        JobRunningError,
        Launcher,
        LauncherError,
        NoProcessError,
        UnknownJobError,
    )
    from launchers.local import LocalLauncher
    from launchers.place import Place
    from launchers.result import Evaluation, JobResult, Output, ResultError, StepResult
    from launchers.sandbox.finding import Finding
    from launchers.site import Needs, Site
    from launchers.steps import Grade, Harvest, Run, Server, Take
    from launchers.tree import TreeError, tree_hash

__all__ = [
    "Charge",
    "Evaluation",
    "Finding",
    "Grade",
    "Harvest",
    "JobPhase",
    "JobResult",
    "JobRunningError",
    "JobSpec",
    "JobState",
    "Launcher",
    "LauncherError",
    "LocalLauncher",
    "Needs",
    "NoProcessError",
    "Output",
    "Place",
    "ResultError",
    "Run",
    "Server",
    "Site",
    "StepResult",
    "Take",
    "Ticket",
    "TreeError",
    "UnknownJobError",
    "tree_hash",
]

_HOMES = {
    "Charge": "job",
    "Evaluation": "result",
    "Finding": "sandbox.finding",
    "Grade": "steps",
    "Harvest": "steps",
    "JobPhase": "job",
    "JobResult": "result",
    "JobRunningError": "launcher",
    "JobSpec": "job",
    "JobState": "job",
    "Launcher": "launcher",
    "LauncherError": "launcher",
    "LocalLauncher": "local",
    "Needs": "site",
    "NoProcessError": "launcher",
    "Output": "result",
    "Place": "place",
    "ResultError": "result",
    "Run": "steps",
    "Server": "steps",
    "Site": "site",
    "StepResult": "result",
    "Take": "steps",
    "Ticket": "job",
    "TreeError": "tree",
    "UnknownJobError": "launcher",
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
