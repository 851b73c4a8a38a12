"""The seam between whoever wants jobs and where they run, and the errors of this room.

LauncherError
├── UnknownJobError     nothing was ever submitted under this run_id
├── JobRunningError     the job must have ended first
└── NoProcessError      the machine starts no more processes
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from launchers.job import Charge, JobSpec, JobState, Ticket
from launchers.result import JobResult
from launchers.site import Needs, Site
from launchers.visible import ToldError


class LauncherError(ToldError):
    """A launcher was asked for something that it cannot do."""


class UnknownJobError(LauncherError):
    """Nothing was ever submitted under this run_id."""


class JobRunningError(LauncherError):
    """The job must have ended first."""


class NoProcessError(LauncherError):
    """The machine starts no more processes."""


class Launcher(Protocol):
    """Runs jobs somewhere.

    Every method may be called again with the same arguments, and from any thread.
    """

    @property
    def kind(self) -> str:
        """As campaigns name it: `local`."""

    @property
    def slots(self) -> int:
        """Jobs at once."""

    @property
    def poll_seconds(self) -> float:
        """Pause between two polls; each is one query for all jobs."""

    @property
    def submits_at_once(self) -> int:
        """Calls of `submit` that may run at once; more than 1 where one takes long."""

    def site(self, needs: Needs) -> Site:
        """Says where the jobs of a profile will run.

        Raises:
            LauncherError: no machine of this launcher has what is needed.
        """

    def submit(self, spec: JobSpec, files: Mapping[str, bytes]) -> Ticket:
        """Starts the job unless one of its `run_id` runs, or ended at no weaker a level.

        May take long where the machine has to be found first.

        Args:
            spec: the job.
            files: the whole patched tree, relative path -> content.
        """

    def find(self, spec: JobSpec) -> str | None:
        """Gives the run_id of a job that computes exactly the same: running, or done with a result.

        Same run_key, tree (scoring files included), data and steps, and the same or a stronger
        sandbox level.
        """

    def states(self, run_ids: Collection[str]) -> dict[str, JobState]:
        """Says where these jobs stand, each with its result once it is done; one query for all."""

    def fetch(self, run_id: str, *, outputs: bool = False) -> Path:
        """Gives a local folder with the job's log.txt and result.json, and out/ if asked for."""

    def keeps_outputs(self, run_id: str) -> bool:
        """Whether the outputs of a done job are still there, for a job that takes them."""

    def cancel(self, run_ids: Collection[str]) -> None:
        """Has the jobs' whole process trees killed; the results then say cancelled."""

    def reconcile(self) -> dict[str, JobState]:
        """Gives every job, live ones first, after killing what dead supervisors left behind.

        A job that cannot be reached is unknown, not lost.
        """

    def release(self, run_id: str, *, keep_outputs: bool) -> None:
        """Removes the tree (and out/) of a done job whose score has been committed."""

    def reserve(self, spec: JobSpec) -> Charge:
        """The most that the job may cost; set aside before it is submitted."""

    def settle(self, spec: JobSpec, result: JobResult) -> Charge:
        """What a job that ended has cost."""
