"""The supervisor of one job: check, train, harvest, score, and result.json last.

It is a process of its own, holds the lock of the run folder for life and outlives whoever started
it. Training and scoring are its children and neither is trusted: what it concludes comes from exit
codes, clocks, declared files and the report of evaluate.py. SIGTERM cancels.
Started by `python -I -S launchers RUN [LOCK_FD]`; LOCK_FD is a descriptor that holds the lock
already, handed down so that there is no moment at which nobody holds it.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from launchers import folder as names
from launchers.folder import Disk, Events
from launchers.process_table import Process, become_subreaper, boot_id, read_process
from launchers.process_tree import ProcessTree
from launchers.sandbox.levels import UnknownLevelError, sandbox_level
from launchers.sandbox.view import View, WallError
from launchers.supervisor.evaluation import EvaluationError, read_evaluation
from launchers.supervisor.harvest import Harvest, harvest
from launchers.supervisor.limits import Limits
from launchers.supervisor.log import BoundedLog
from launchers.supervisor.machine import hardware, python_version
from launchers.supervisor.programs import (
    environment_of,
    missing_parts,
    out_bytes,
    report_path,
    score_command,
    serving_view,
    train_command,
    training_view,
    wall_of,
)
from launchers.supervisor.record import (
    CancelledError,
    JobFailedError,
    cancellation,
    failure,
    new_record,
    record_bytes,
)
from launchers.supervisor.spec import read_spec
from launchers.supervisor.step import Ending, Interrupts, StartError, Step, StepEnd
from launchers.tree import TreeError, lay_tree, read_tree, tree_hash

if TYPE_CHECKING:
    from launchers.job import JobSpec


SAID_BYTES = 500
"""What a reason quotes of the log where the wall itself failed."""
PRIVATE = {"HOME": "home", "TMPDIR": "tmp"}
"""Private folders of a step, by the variable that names them."""


class Supervisor:
    """One job from its specification to its result."""

    def __init__(self, run: str, interrupts: Interrupts) -> None:
        """Opens the files of the run folder.

        Args:
            run: the run folder.
            interrupts: the signals of this process.
        """
        self.run = run
        self.spec = read_spec(run)
        self.work = self._path(names.WORK)
        self.interrupts = interrupts
        self.disk = Disk(run)
        self.events = Events(run, self.disk)
        self.log = BoundedLog(self._path(names.LOG), self.spec.log_bytes, self.disk.forgive)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.score_log = BoundedLog(
            self._path(names.SCORE_LOG), self.spec.log_bytes, self.disk.forgive
        )
        self.processes = os.open(self._path(names.PROCESSES), flags, 0o644)
        os.write(self.processes, f"{boot_id()}\n".encode())
        self.level = sandbox_level("none")
        self.out = -1
        """Descriptor of the folder that training leaves its outputs in, once it has begun."""
        self.record = new_record(self.spec, self.level)

    def supervise(self) -> None:
        """Does the whole job. Whatever happens, a result is written."""
        self.events.append("started", pid=os.getpid())
        try:
            names.reserve_room(self.run)
            self._do()
        except JobFailedError as error:
            self.record |= failure(error.blame, error.reason)
        except CancelledError:
            self.record |= cancellation("the launcher was asked to cancel the job")
        except Exception as error:  # noqa: BLE001  # the last boundary: a bug is no idea's fault
            import traceback

            full = self.disk.was_full or names.says_disk_full(error)
            what = "the disk is full" if full else "the supervisor failed"
            self.record |= failure("infrastructure", f"{what}: {traceback.format_exc(limit=-3)}")
        self._finish()

    def _do(self) -> None:
        """The steps in order; a failure of one is raised."""
        files = self._checked_tree()
        self._lay(files)
        if self.spec.checkpoint is None:
            self._judge_training(*self._train())
        else:
            self._take_checkpoint(self.spec.checkpoint)
        self._lay(files)
        self._score()

    def _lay(self, files: dict[str, bytes]) -> None:
        """Lays down the tree anew, and apart from it the files that no patch may change."""
        frozen = {path: files[path] for path in self.spec.frozen}
        for folder, tree in ((names.ENV, files), (names.JUDGE, frozen)):
            names.remove_tree(self._path(folder))
            lay_tree(self._path(folder), tree)

    def _checked_tree(self) -> dict[str, bytes]:
        """The tree in env/, once all that the job needs is known to be there.

        Raises:
            JobFailedError: blamed on setup.
        """
        try:
            self.level = sandbox_level(self.spec.sandbox)
            files = read_tree(self._path(names.ENV))
            found = tree_hash(files)
        except (UnknownLevelError, TreeError, FileNotFoundError) as error:
            raise JobFailedError("setup", str(error)) from error
        if found != self.spec.tree:
            raise JobFailedError(
                "setup", f"env/: found the tree {found}, expected {self.spec.tree}; submit again"
            )
        lacking = missing_parts(self.spec, files)
        lacking += [path for path in self.spec.frozen if path not in files]
        if lacking:
            raise JobFailedError(
                "setup",
                f"job {self.spec.run_id}: {', '.join(lacking)} not found in the tree or in "
                f"{self.spec.data}; prepare the environment's data again",
            )
        return files

    def _train(self) -> tuple[StepEnd, View]:
        """Trains, and notes what it took; gives the end with what the program saw."""
        view = training_view(self.spec, self.run)
        end = self._step(
            view,
            train_command,
            folder=names.ENV,
            wall_seconds=self.spec.budget_seconds,
            cpu_seconds=self.spec.cpu_limit_seconds,
            begun=lambda pid: self._keep_out(wall_of(self.spec).open_out(view, pid)),
        )
        self.record["wall_seconds"] = round(end.wall_seconds, 4)
        self.record["cpu_seconds"] = round(end.cpu_seconds, 4)
        self.record["exit_code"] = end.exit_code
        self.events.append("trained", ending=end.ending.value, exit_code=end.exit_code)
        return end, view

    def _keep_out(self, descriptor: int) -> None:
        self.out = descriptor

    def _judge_training(self, end: StepEnd, view: View) -> None:
        """Harvests what training left and decides whether that can be scored.

        Raises:
            JobFailedError: it cannot.
            CancelledError: the job was to stop.
        """
        self._check_end(end)
        self._check_wall(view)
        if end.ending is Ending.CPU_LIMIT:
            raise JobFailedError(
                "timeout",
                f"train.py: used {end.cpu_seconds:.1f} s of CPU time in its process tree, "
                f"killed at {self.spec.cpu_limit_seconds:g} s; make the idea cheaper",
            )
        if end.ending is Ending.LIMIT:
            raise JobFailedError("train", f"train.py: {end.excess}; it was killed")
        found = self._harvest(self.out)
        if found.complete:
            if end.ending is Ending.DEADLINE:
                self.events.append("deadline", budget_seconds=self.spec.budget_seconds)
            return
        why = "; ".join(found.missing)
        if self.disk.was_full and end.exit_code != 0:
            raise JobFailedError("infrastructure", f"the disk ran full during training; {why}")
        if end.ending is Ending.DEADLINE:
            raise JobFailedError(
                "timeout",
                f"train.py: killed at its budget of {self.spec.budget_seconds:g} s with nothing "
                f"complete in out/ ({why}); make the idea cheaper",
            )
        raise JobFailedError("train", f"train.py: {exit_words(end.exit_code)}; {why}")

    def _harvest(self, source: int) -> Harvest:
        """Copies the declared outputs out of a folder and notes them; closes its descriptor."""
        names.remove_tree(self._path(names.OUT))
        os.mkdir(self._path(names.OUT))
        try:
            found = harvest(source, self._path(names.OUT), self.spec.outputs)
        finally:
            os.close(source)
        self.record["outputs"] = found.outputs
        self.record["refused_outputs"] = found.refused
        self.events.append("harvested", outputs=sorted(found.outputs), missing=found.missing)
        return found

    def _take_checkpoint(self, folder: str) -> None:
        """Takes the outputs of an earlier job, which must be those that it was scored for.

        Raises:
            JobFailedError: they are gone or others.
        """
        try:
            found = self._harvest(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        except FileNotFoundError as error:
            raise JobFailedError("infrastructure", f"{folder}: the outputs are gone") from error
        hashes = {name: output["sha256"] for name, output in found.outputs.items()}
        if hashes != self.spec.checkpoint_hashes:
            raise JobFailedError(
                "infrastructure",
                f"{folder}: found outputs {hashes}, expected {self.spec.checkpoint_hashes}",
            )

    def _score(self) -> None:
        """Has evaluate.py score the harvested outputs.

        Raises:
            JobFailedError: there is no value.
            CancelledError: the job was to stop.
        """
        view = serving_view(self.spec, self.run)
        end = self._step(
            view,
            lambda spec, view: score_command(spec, self.run, view),
            folder=names.JUDGE,
            wall_seconds=self.spec.score_seconds,
            log=self.score_log,
        )
        self.record["score_wall_seconds"] = round(end.wall_seconds, 4)
        self.record["score_cpu_seconds"] = round(end.cpu_seconds, 4)
        self._check_end(end)
        if end.ending is Ending.DEADLINE:
            raise JobFailedError(
                "timeout", f"evaluate.py: killed after {self.spec.score_seconds:g} s of scoring"
            )
        if end.ending is Ending.LIMIT:
            raise JobFailedError("evaluate", f"serve.py: {end.excess}; it was killed")
        if end.exit_code != 0:
            raise JobFailedError("infrastructure", f"evaluate.py: {exit_words(end.exit_code)}")
        self._keep_evaluation(view)

    def _keep_evaluation(self, view: View) -> None:
        """Puts the report of evaluate.py into the record.

        Raises:
            JobFailedError: the report is broken, or says that there is no value.
        """
        try:
            evaluation = read_evaluation(report_path(self.run))
        except EvaluationError as error:
            raise JobFailedError("infrastructure", str(error)) from error
        self.record["evaluation"] = evaluation
        self.events.append("scored", value=evaluation["value"], blame=evaluation["blame"])
        if evaluation["blame"] == "evaluate":
            self._check_wall(view)
        if evaluation["value"] is None:
            raise JobFailedError(evaluation["blame"], evaluation["reason"])

    def _step(
        self,
        view: View,
        build: Callable[["JobSpec", View], list[str]],
        *,
        folder: str,
        wall_seconds: float,
        cpu_seconds: float | None = None,
        begun: Callable[[int], None] | None = None,
        log: BoundedLog | None = None,
    ) -> StepEnd:
        """Runs one program of the environment, in fresh private folders."""
        self._fresh_work()
        step = Step(
            interrupts=self.interrupts,
            log=log or self.log,
            disk=self.disk,
            tree=ProcessTree(self._remember),
            heartbeat=lambda used: self.events.append("heartbeat", cpu_seconds=round(used, 2)),
            limits=self._limits(),
        )
        private = {name: os.path.join(self.work, inner) for name, inner in PRIVATE.items()}
        try:
            wall_of(self.spec).prepare(view)
            return step.run(
                build(self.spec, view),
                folder=self._path(folder),
                environment=environment_of(self.spec, self.run) | private,
                wall_seconds=wall_seconds,
                cpu_seconds=cpu_seconds,
                begun=begun,
            )
        except StartError as error:
            raise JobFailedError("setup", str(error)) from error
        except WallError as error:
            said = self.log.tail(SAID_BYTES).strip()
            raise JobFailedError(
                "infrastructure", f"sandbox {self.level.name}: {error}: {said}"
            ) from error

    def _check_wall(self, view: View) -> None:
        """Raises if some program of a view could not begin: that is no fault of the patch."""
        if wall_of(self.spec).failed(view):
            log = self.score_log if self.score_log.total else self.log
            said = log.tail(SAID_BYTES).strip()
            what = f"sandbox {self.level.name}: the wall could not be put up: {said}"
            raise JobFailedError("infrastructure", what)

    def _limits(self) -> Limits:
        """What a step may not exceed; the disk is watched where the wall does not limit it."""
        watched = wall_of(self.spec).watches_disk
        return Limits(
            memory_bytes=self.spec.memory_bytes,
            processes=self.spec.processes,
            folder=self.work if watched else None,
            folder_bytes=out_bytes(self.spec) + self.spec.scratch_bytes,
        )

    def _check_end(self, end: StepEnd) -> None:
        """Raises if the step was cancelled or left something alive."""
        if end.survivors:
            raise JobFailedError("infrastructure", "a process of the job could not be killed")
        if end.ending is Ending.CANCELLED:
            raise CancelledError

    def _fresh_work(self) -> None:
        """Gives the next step empty private folders, which no earlier one had a handle to."""
        names.remove_tree(self.work)
        for inner in (*PRIVATE.values(), names.OUT):
            os.makedirs(os.path.join(self.work, inner), mode=0o700)

    def _remember(self, process: Process) -> None:
        """Notes a process of the job, to be found again if this one is killed."""
        try:
            os.write(self.processes, f"{process.pid} {process.born}\n".encode())
        except OSError as error:
            self.disk.forgive(error)

    def _finish(self) -> None:
        """Writes the result, after giving back all that the job no longer needs."""
        self.record["sandbox_level"] = self.level.name
        self.record["sandbox_gaps"] = list(self.level.gaps)
        self.record["hardware"] = hardware()
        self.record["versions"] = {"python": python_version(self.spec.python)}
        self.record["log_tail"] = self.log.tail()
        self.record["log_bytes"] = self.log.total
        with contextlib.suppress(OSError):  # rubbish that stays must not cost the result
            names.remove_tree(self.work)
            names.remove_tree(self._path(names.JUDGE))
        names.remove_file(self._path(names.RESERVE))
        names.remove_empty(self._path(names.SUPERVISOR_LOG))
        self.log.close()
        self.score_log.close()
        own = resource.getrusage(resource.RUSAGE_SELF)
        self.events.append(
            "finished",
            status=self.record["status"],
            blame=self.record["blame"],
            supervisor_cpu_seconds=round(own.ru_utime + own.ru_stime, 4),
        )
        names.write_result(self.run, record_bytes(self.record), self.disk)

    def _path(self, name: str) -> str:
        return os.path.join(self.run, name)


def exit_words(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "was killed"
    if code < 0:
        return f"was ended by signal {-code}, which the supervisor did not send"
    return f"exited with code {code}"


def main(arguments: list[str]) -> int:
    """Supervises the job of a run folder; gives the exit code."""
    run = os.path.abspath(arguments[0])
    lock = int(arguments[1]) if len(arguments) > 1 else names.take_lock(run, create=True)
    if lock is None:
        sys.stderr.write(f"{run}: another supervisor holds the lock; nothing was started\n")
        return 2
    os.set_inheritable(lock, False)
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    os.umask(0o022)  # behind some walls the job is another user, who must read its tree
    interrupts = Interrupts()
    become_subreaper()
    myself: Any = read_process(os.getpid())
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{myself.pid} {myself.born}\n".encode(), 0)
    Supervisor(run, interrupts).supervise()
    return 0
