"""The launcher of this machine: one run folder and one supervisor process per job.

All state is in the run folders and in the locks of live supervisors, so any process may poll,
adopt or cancel what another one submitted, and nothing needs to be told when a search dies.
"""

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from launchers import folder as names
from launchers.charges import charge_of, most_charge
from launchers.here import place_here, site_here
from launchers.job import Charge, JobPhase, JobSpec, JobState, Ticket
from launchers.keys import job_of_key, note_key
from launchers.launcher import JobRunningError, LauncherError, UnknownJobError
from launchers.laying import UNFINISHED, create_run, lay_job, remove_unfinished, set_aside
from launchers.leftovers import kill_leftovers
from launchers.nursery import Nursery
from launchers.place import Place
from launchers.plain import strict_json
from launchers.result import JobResult
from launchers.sandbox.environment import passed_environment
from launchers.sandbox.levels import sandbox_level
from launchers.site import Needs, Site
from launchers.standing import is_settled, state_of, terminate_supervisor

LOCK_PATIENCE_SECONDS = 0.2
"""A poll holds the lock for microseconds; a supervisor for longer than this."""
START_PATIENCE_SECONDS = 10.0
"""How long a supervisor may take from its start until it handles signals."""


class LocalLauncher:
    """Runs jobs as processes of this machine; the caller counts how many."""

    kind = "local"
    poll_seconds = 0.02
    submits_at_once = 1

    def __init__(self, runs: Path, *, data: Path, slots: int = 2) -> None:
        """Uses a folder of run folders.

        Args:
            runs: made if missing; all run folders of a project lie side by side in it.
            data: prepared data, each as a link `by-hash/<hash>`.
            slots: jobs at once.
        """
        self.runs = Path(os.path.abspath(runs))
        self.data = Path(os.path.abspath(data))
        self.slots = slots
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # where no folder can be made, as in /proc
            raise LauncherError(
                f"{self.runs}: found that it cannot be made, expected a folder for job folders; "
                "put the home elsewhere (VARVE_HOME)"
            ) from error
        self._nursery = Nursery(passed_environment(os.environ))

    def site(self, needs: Needs) -> Site:
        """This machine.

        Raises:
            LauncherError: it does not have what is needed.
        """
        return site_here(needs)

    def submit(self, spec: JobSpec, files: Mapping[str, bytes]) -> Ticket:
        """Starts the job, or adopts the live or done one of the same `run_id`.

        A job that is lost, whose result says nothing about the work (cancelled, infrastructure), or
        that ran at a weaker sandbox level is started again: what a dead supervisor left alive is
        killed first, and the earlier events are kept as events.lost-N.jsonl.

        Args:
            spec: the job.
            files: the whole patched tree, relative path -> content.

        Raises:
            LauncherError: the run_id cannot name a folder, or the machine lacks what is needed.
            NoProcessError: no process can be started for it.
            TreeError: the tree holds a path that leaves it.
            OSError: the run folder cannot be written.
        """
        run, place = self._run(spec.run_id), self.place(spec)
        lock = None if run.exists() else create_run(run, spec, place, files)
        if lock is not None:
            self._start(run, lock)
        else:
            self._restart_if_unsettled(run, spec, place, files)
        note_key(self.runs, spec)
        return Ticket(run_id=spec.run_id)

    def place(self, spec: JobSpec) -> Place:
        """What a job is told about this machine.

        Raises:
            LauncherError: it does not have what the job needs.
        """
        return place_here(spec, data=self.data, runs=self.runs)

    def find(self, spec: JobSpec) -> str | None:
        """Gives the run_id of the newest job that computes exactly the same; a few system calls."""
        run_id = job_of_key(self.runs, spec)
        if run_id is None:
            return None
        state = state_of(self._run(run_id))
        if state.phase is JobPhase.RUNNING:
            return run_id
        return run_id if state.result and not state.result.is_inconclusive else None

    def states(self, run_ids: Collection[str]) -> dict[str, JobState]:
        """Says where jobs stand; a few system calls for each.

        Raises:
            LauncherError: an id cannot name a folder.
        """
        return {run_id: state_of(self._run(run_id)) for run_id in run_ids}

    def fetch(self, run_id: str, *, outputs: bool = False) -> Path:
        """Gives the run folder, which is here already with all that the job left.

        Raises:
            UnknownJobError: there is none.
        """
        del outputs
        run = self._run(run_id)
        if not run.exists():
            raise UnknownJobError(
                f"{run}: found no such folder, expected a job that was submitted; submit it first"
            )
        return run

    def keeps_outputs(self, run_id: str) -> bool:
        """Whether the outputs of a done job are still there."""
        run = self._run(run_id)
        return (run / names.OUT).is_dir() and state_of(run).phase is JobPhase.DONE

    def cancel(self, run_ids: Collection[str]) -> None:
        """Tells supervisors to kill their jobs; the results follow within a second or so.

        A job that is done or unknown stays as it is. For a lost job the result is written here.

        Raises:
            LauncherError: a live supervisor does not say which process it is.
        """
        for run_id in run_ids:
            self._cancel(self._run(run_id))

    def reconcile(self) -> dict[str, JobState]:
        """Gives every job by run_id, live ones first, and cleans up after dead supervisors."""
        states: dict[str, JobState] = {}
        for run in sorted(self.runs.iterdir()):
            if run.name.startswith(UNFINISHED):
                remove_unfinished(run)
            elif names.RUN_ID.fullmatch(run.name) and run.is_dir():
                states[run.name] = state_of(run)
        for run_id, state in states.items():
            if state.phase is JobPhase.LOST:
                self._clean_lost(self.runs / run_id)
        live = {key: one for key, one in states.items() if one.phase is JobPhase.RUNNING}
        return live | states

    def release(self, run_id: str, *, keep_outputs: bool) -> None:
        """Removes the tree (and out/) of a done job; the records of what happened stay.

        Raises:
            JobRunningError: the job is not done.
        """
        run = self._run(run_id)
        if not run.exists():
            return
        if state_of(run).phase is not JobPhase.DONE:
            raise JobRunningError(
                f"{run}: found a job that is not done, expected a result.json; "
                "wait for it or cancel it first"
            )
        names.remove_file(str(run / names.TREE))
        names.remove_tree(str(run / names.ENV))
        if not keep_outputs:
            names.remove_tree(str(run / names.OUT))

    def reserve(self, spec: JobSpec) -> Charge:
        """The most that a job may cost: no money, and its GPUs times its time limits."""
        return most_charge(spec)

    def settle(self, spec: JobSpec, result: JobResult) -> Charge:
        """What a job that ended has cost."""
        return charge_of(spec, result)

    def _run(self, run_id: str) -> Path:
        """The run folder of an id.

        Raises:
            LauncherError: the id cannot name a folder.
        """
        if not names.RUN_ID.fullmatch(run_id):
            raise LauncherError(
                f"run_id: found {run_id!r}, expected up to 128 letters, digits, '.', '_' and '-'; "
                "use the id of the run row"
            )
        return self.runs / run_id

    def _restart_if_unsettled(
        self, run: Path, spec: JobSpec, place: Place, files: Mapping[str, bytes]
    ) -> None:
        """Starts a job again if it is lost or its result says nothing; leaves any other alone."""
        if is_settled(run, spec):
            return
        lock = names.take_lock(str(run), create=True, wait_seconds=LOCK_PATIENCE_SECONDS)
        if lock is None:
            return
        try:
            if not is_settled(run, spec):
                kill_leftovers(str(run))
                set_aside(run)
                lay_job(run, spec, place, files)
                self._nursery.start(str(run), lock)
        finally:
            os.close(lock)

    def _start(self, run: Path, lock: int) -> None:
        """Starts the supervisor, which takes over the lock; it is closed here."""
        try:
            self._nursery.start(str(run), lock)
        finally:
            os.close(lock)

    def _cancel(self, run: Path) -> None:
        """Tells one supervisor, or writes the result that a dead one no longer can."""
        give_up = time.monotonic() + START_PATIENCE_SECONDS
        while (phase := state_of(run).phase) is JobPhase.RUNNING:
            if terminate_supervisor(run):
                return
            if time.monotonic() > give_up:
                raise LauncherError(
                    f"{run / names.LOCK}: found no live process in it, expected the supervisor's; "
                    "see which process holds the lock and end it by hand"
                )
            time.sleep(0.01)
        if phase is JobPhase.LOST:
            self._cancel_lost(run)

    def _clean_lost(self, run: Path) -> None:
        """Kills what a dead supervisor left alive, unless someone is restarting the job."""
        lock = names.take_lock(str(run))
        if lock is None:
            return
        try:
            kill_leftovers(str(run))
        finally:
            os.close(lock)

    def _cancel_lost(self, run: Path) -> None:
        """Writes the result that the dead supervisor no longer can."""
        lock = names.take_lock(str(run), wait_seconds=LOCK_PATIENCE_SECONDS)
        if lock is None:
            return
        try:
            kill_leftovers(str(run))
            self._write_cancelled(run)
        finally:
            os.close(lock)

    def _write_cancelled(self, run: Path) -> None:
        spec = strict_json((run / names.SPEC).read_bytes())  # an older version may have written it
        level = sandbox_level("none")
        result = JobResult(
            run_id=spec["run_id"],
            run_key=spec["run_key"],
            status="cancelled",
            reason="cancelled after its supervisor had died",
            sandbox_level=level.name,
            sandbox_gaps=level.gaps,
        )
        names.remove_tree(str(run / names.WORK))
        names.write_whole(str(run / names.RESULT), result.to_json().encode(), synced=True)
