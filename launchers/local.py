"""The launcher of this machine: one run folder and one supervisor process per job.

All state is in the run folders and in the locks of live supervisors, so any process may poll,
adopt or cancel what another one submitted, and nothing needs to be told when a search dies.
"""

import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from launchers import folder as names
from launchers.job import JobPhase, JobSpec, JobState, is_inconclusive
from launchers.keys import job_of_key, note_key
from launchers.launcher import JobRunningError, LauncherError, UnknownJobError
from launchers.leftovers import kill_leftovers
from launchers.nursery import Nursery
from launchers.process_table import read_process
from launchers.sandbox.environment import passed_environment
from launchers.sandbox.levels import at_least, sandbox_level
from launchers.supervisor.record import cancellation, new_record, record_bytes
from launchers.tree import lay_tree

RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
UNFINISHED = ".new-"
"""Starts the name of a run folder that is still being laid down."""
UNFINISHED_SECONDS = 60.0
"""An unfinished folder that is older and locked by nobody is rubbish."""
LOCK_PATIENCE_SECONDS = 0.2
"""A poll holds the lock for microseconds; a supervisor for longer than this."""
START_PATIENCE_SECONDS = 10.0
"""How long a supervisor may take from its start until it takes signals."""


class LocalLauncher:
    """Runs jobs as processes of this machine; the caller counts how many."""

    def __init__(self, runs: Path) -> None:
        """Uses a folder of run folders.

        Args:
            runs: made if missing; all run folders of a project lie side by side in it.
        """
        self.runs = Path(os.path.abspath(runs))
        self.runs.mkdir(parents=True, exist_ok=True)
        self._nursery = Nursery(passed_environment(os.environ))

    def submit(self, spec: JobSpec, files: Mapping[str, bytes]) -> None:
        """Starts the job, or adopts the live or done one of the same `run_id`.

        A job that is lost, whose result says nothing of the work (cancelled, infrastructure), or
        that ran at a weaker sandbox level is started anew: what a dead supervisor left alive is killed first, the earlier events are
        kept as events.lost-N.jsonl.

        Args:
            spec: the job.
            files: the whole patched tree, relative path -> content.

        Raises:
            LauncherError: the run_id cannot name a folder.
            TreeError: the tree holds a path that leaves it.
            OSError: the run folder cannot be written.
        """
        run = self._run(spec.run_id)
        if not run.exists():
            lock = self._create(run, spec, files)
            if lock is not None:
                self._start(run, lock)
                note_key(self.runs, spec)
                return
        self._restart_if_unsettled(run, spec, files)
        note_key(self.runs, spec)

    def find(self, spec: JobSpec) -> str | None:
        """Gives the run_id of the newest job that computes the very same; a few system calls."""
        run_id = job_of_key(self.runs, spec)
        if run_id is None:
            return None
        state = self.poll(run_id)
        if state.phase is JobPhase.RUNNING:
            return run_id
        return run_id if state.result is not None and not is_inconclusive(state.result) else None

    def poll(self, run_id: str) -> JobState:
        """Says where the job stands; a few system calls."""
        return self._state(self._run(run_id))

    def fetch(self, run_id: str) -> Path:
        """Gives the run folder, which is here already.

        Raises:
            UnknownJobError: there is none.
        """
        run = self._run(run_id)
        if not run.exists():
            raise UnknownJobError(
                f"{run}: found no such folder, expected a job that was submitted; submit it first"
            )
        return run

    def cancel(self, run_id: str) -> None:
        """Tells the supervisor to kill the job; the result follows within a second or so.

        A job that is done stays as it is, and an unknown one too. For a lost job the result is
        written here.

        Raises:
            LauncherError: a live supervisor does not say which process it is.
        """
        run = self._run(run_id)
        give_up = time.monotonic() + START_PATIENCE_SECONDS
        while (phase := self._state(run).phase) is JobPhase.RUNNING:
            if _terminate_supervisor(run):
                return
            if time.monotonic() > give_up:
                raise LauncherError(
                    f"{run / names.LOCK}: found no live process in it, expected the supervisor's; "
                    "see which process holds the lock and end it by hand"
                )
            time.sleep(0.01)
        if phase is JobPhase.LOST:
            self._cancel_lost(run)

    def reconcile(self) -> dict[str, JobState]:
        """Gives every job by run_id, live ones first, and cleans up after dead supervisors."""
        states: dict[str, JobState] = {}
        for run in sorted(self.runs.iterdir()):
            if run.name.startswith(UNFINISHED):
                _remove_unfinished(run)
            elif RUN_ID.fullmatch(run.name) and run.is_dir():
                states[run.name] = self._state(run)
        for run_id, state in states.items():
            if state.phase is JobPhase.LOST:
                self._clean_lost(self.runs / run_id)
        live = {key: one for key, one in states.items() if one.phase is JobPhase.RUNNING}
        return live | states

    def release(self, run_id: str, *, keep_outputs: bool) -> None:
        """Removes env/ (and out/) of a done job; what says what happened stays.

        Where they are gone already this costs two system calls.

        Raises:
            JobRunningError: the job is not done, and there is something to remove.
        """
        run = self._run(run_id)
        if not (run / names.ENV).exists() and (keep_outputs or not (run / names.OUT).exists()):
            return
        if self._state(run).phase is not JobPhase.DONE:
            raise JobRunningError(
                f"{run}: found a job that is not done, expected a result.json; "
                "wait for it or cancel it first"
            )
        names.remove_tree(str(run / names.ENV))
        if not keep_outputs:
            names.remove_tree(str(run / names.OUT))

    def _run(self, run_id: str) -> Path:
        """The run folder of an id.

        Raises:
            LauncherError: the id cannot name a folder.
        """
        if not RUN_ID.fullmatch(run_id):
            raise LauncherError(
                f"run_id: found {run_id!r}, expected up to 128 letters, digits, '.', '_' and '-'; "
                "use the id of the run row"
            )
        return self.runs / run_id

    def _create(self, run: Path, spec: JobSpec, files: Mapping[str, bytes]) -> int | None:
        """Lays the run folder down beside its place and moves it there in one step.

        Returns:
            A descriptor that holds its lock, or None if another process was first.
        """
        building = self.runs / f"{UNFINISHED}{os.getpid()}-{time.monotonic_ns()}-{run.name}"
        building.mkdir()
        lock = names.take_lock(str(building), create=True)
        try:
            _lay_job(building, spec, files)
            building.rename(run)
        except OSError:
            names.remove_tree(str(building))
            if lock is not None:
                os.close(lock)
            if run.exists():
                return None
            raise
        return lock

    def _restart_if_unsettled(self, run: Path, spec: JobSpec, files: Mapping[str, bytes]) -> None:
        """Starts a job anew that is lost or whose result says nothing; leaves any other alone."""
        if _is_settled(run, spec):
            return
        lock = names.take_lock(str(run), create=True, wait_seconds=LOCK_PATIENCE_SECONDS)
        if lock is None:
            return
        if _is_settled(run, spec):
            os.close(lock)
            return
        kill_leftovers(str(run))
        _set_aside(run)
        _lay_job(run, spec, files)
        self._start(run, lock)

    def _start(self, run: Path, lock: int) -> None:
        """Starts the supervisor, to which the lock goes over; it is closed here."""
        try:
            self._nursery.start(str(run), lock)
        finally:
            os.close(lock)

    def _state(self, run: Path) -> JobState:
        """Where a job stands, by its folder alone."""
        result = names.read_result(str(run))
        if result is not None:
            return JobState(phase=JobPhase.DONE, result=result)
        try:
            live = _is_locked(run)
        except FileNotFoundError:
            return JobState(phase=JobPhase.UNKNOWN)
        if live:
            return JobState(phase=JobPhase.RUNNING)
        result = names.read_result(str(run))
        return JobState(phase=JobPhase.DONE if result else JobPhase.LOST, result=result)

    def _clean_lost(self, run: Path) -> None:
        """Kills what a dead supervisor left alive, unless someone is restarting the job."""
        lock = names.take_lock(str(run))
        if lock is not None:
            kill_leftovers(str(run))
            os.close(lock)

    def _cancel_lost(self, run: Path) -> None:
        """Writes the result that the dead supervisor no longer can."""
        lock = names.take_lock(str(run), wait_seconds=LOCK_PATIENCE_SECONDS)
        if lock is None:
            return
        kill_leftovers(str(run))
        spec = JobSpec.from_json((run / names.SPEC).read_text(encoding="utf-8"))
        record = new_record(spec, sandbox_level("none"))
        record |= cancellation("cancelled after its supervisor had died")
        names.remove_tree(str(run / names.WORK))
        names.write_whole(str(run / names.RESULT), record_bytes(record), synced=True)
        os.close(lock)


def _lay_job(run: Path, spec: JobSpec, files: Mapping[str, bytes]) -> None:
    """Writes what a supervisor needs into a folder that has none of it."""
    names.write_whole(str(run / names.SPEC), spec.to_json().encode(), synced=False)
    (run / names.OUT).mkdir()
    lay_tree(str(run / names.ENV), files)


def _is_settled(run: Path, spec: JobSpec) -> bool:
    """Whether the job has a result that says something of the work, behind no weaker a wall."""
    result = names.read_result(str(run))
    if result is None or is_inconclusive(result):
        return False
    return at_least(result.get("sandbox_level", ""), spec.sandbox)


def _set_aside(run: Path) -> None:
    """Keeps the events of an unsettled job under another name and removes all else but the lock."""
    number = len(list(run.glob("events.lost-*.jsonl"))) + 1
    if (run / names.EVENTS).exists():
        (run / names.EVENTS).rename(run / f"events.lost-{number}.jsonl")
    for name in (names.ENV, names.JUDGE, names.OUT, names.WORK):
        names.remove_tree(str(run / name))
    partial = f"{names.RESULT}.partial"
    for name in (names.RESULT, names.LOG, names.SCORE_LOG, names.PROCESSES, names.RESERVE, partial):
        names.remove_file(str(run / name))


def _is_locked(run: Path) -> bool:
    """Whether a supervisor is alive.

    Raises:
        FileNotFoundError: there is no such job.
    """
    with open(run / names.LOCK, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _terminate_supervisor(run: Path) -> bool:
    """Sends SIGTERM to the process that the lock file names, if it is the one that wrote it."""
    try:
        pid, born = map(int, (run / names.LOCK).read_text(encoding="ascii").split())
    except ValueError:
        return False
    found = read_process(pid)
    if found is None or found.born != born:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return True


def _remove_unfinished(building: Path) -> None:
    """Removes a folder whose maker died before it was complete."""
    try:
        old = time.time() - building.stat().st_mtime > UNFINISHED_SECONDS
        lock = names.take_lock(str(building), create=True) if old else None
    except FileNotFoundError:
        return
    if lock is not None:
        names.remove_tree(str(building))
        os.close(lock)
