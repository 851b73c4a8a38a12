"""The machine that the local launcher runs jobs on, which is this one."""

import functools
import os
import platform
import stat
import sys
from importlib import metadata
from pathlib import Path

from launchers.job import JobSpec
from launchers.launcher import LauncherError
from launchers.place import Place
from launchers.sandbox.finding import Finding
from launchers.site import Needs, Site

TURNS = ("/run/lock", "/tmp")
"""Where the locks of the machine may lie: the first of these that every user may write to. They are
the machine's, since a counter does not stop at a home, a campaign or a user. Containers that see
neither folder of each other have a lock each."""
BY_HASH = "by-hash"
"""Folder of links named by the hash of the data that each leads to."""


def site_here(needs: Needs) -> Site:
    """This machine, if it has all that a profile needs.

    Raises:
        LauncherError: it does not.
    """
    _check(needs.python, needs.accelerators)
    return Site(
        python=sys.executable,
        torch=torch_version(),
        device_class=device_class(),
        try_levels=try_levels,
    )


def place_here(spec: JobSpec, *, data: Path, runs: Path) -> Place:
    """What a job is told about this machine.

    Args:
        spec: the job.
        data: folder with `by-hash/`. Where the job's data are not in it, the job will say so.
        runs: folder of run folders.

    Raises:
        LauncherError: the job needs more than this machine has.
    """
    _check(spec.python, spec.accelerators)
    found = (data / BY_HASH / spec.data).resolve()
    return Place(python=sys.executable, data=str(found), runs=str(runs), turns=folder_of_turns())


def folder_of_turns() -> str:
    """The folder of the machine's locks."""
    shared = stat.S_ISVTX | stat.S_IWOTH
    found = (path for path in TURNS if os.path.isdir(path))
    return next((path for path in found if os.stat(path).st_mode & shared == shared), TURNS[-1])


def torch_version() -> str:
    """The installed torch, found without importing it; `none` where there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "none"


def device_class() -> str:
    """What kind of device a job computes on: results are bit-equal within one class at most."""
    return f"cpu-{platform.machine()}"


@functools.cache
def try_levels() -> tuple[Finding, ...]:
    """Tries every sandbox level, weakest first; once per process, since it starts programs."""
    from launchers.sandbox.preflight import examine

    return tuple(examine())


def _check(python: str, accelerators: str | None) -> None:
    if python != "this" or accelerators is not None:
        raise LauncherError(
            "local launcher: found a venv or accelerators, which are not available yet; "
            'expected a profile with python = "this" and no accelerators'
        )
