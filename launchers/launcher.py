"""The seam between who wants jobs and where they run, and the errors of this room.

LauncherError
├── UnknownJobError     nothing was ever submitted under this run_id
└── JobRunningError     the job must have ended first
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from launchers.job import JobSpec, JobState


class LauncherError(Exception):
    """A launcher was asked for something that it cannot do."""


class UnknownJobError(LauncherError):
    """Nothing was ever submitted under this run_id."""


class JobRunningError(LauncherError):
    """The job must have ended first."""


class Launcher(Protocol):
    """Runs jobs somewhere. Every method may be called again with the same arguments."""

    def submit(self, spec: JobSpec, files: Mapping[str, bytes]) -> None:
        """Starts the job unless one of its `run_id` runs, or has ended behind no weaker a wall.

        Args:
            spec: the job.
            files: the whole patched tree, relative path -> content.
        """

    def find(self, spec: JobSpec) -> str | None:
        """Gives the run_id of a job that computes the very same: running, or done with a result.

        Same run_key, tree (scoring files included), data and cuts, and no weaker a sandbox level.
        """

    def poll(self, run_id: str) -> JobState:
        """Says where the job stands, with its result once it is done."""

    def fetch(self, run_id: str) -> Path:
        """Gives a local folder that holds the job's out/ and log.txt."""

    def cancel(self, run_id: str) -> None:
        """Has the whole process tree killed; result.json then says cancelled."""

    def reconcile(self) -> dict[str, JobState]:
        """Gives every job, live ones first, after killing what dead supervisors left behind."""

    def release(self, run_id: str, *, keep_outputs: bool) -> None:
        """Removes env/ (and out/) of a done job whose score has been committed."""
