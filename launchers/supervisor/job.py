"""A job as its steps see it: folder, logs, clock and signals, and how it runs a program."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from launchers import folder as names
from launchers.folder import Disk, Events
from launchers.job import JobSpec
from launchers.place import Place
from launchers.process_table import Process, boot_id
from launchers.process_tree import ProcessTree
from launchers.sandbox.view import View, WallError
from launchers.sandbox.walls import WALLS, Wall
from launchers.supervisor.account import Account
from launchers.supervisor.failures import CancelledError, JobFailedError
from launchers.supervisor.interrupts import Interrupts
from launchers.supervisor.limits import Limits
from launchers.supervisor.log import BoundedLog
from launchers.supervisor.program import End, Ending, Program
from launchers.supervisor.spawn import StartError
from launchers.supervisor.turns import TurnError, turn
from launchers.supervisor.views import environment_of, most_out_bytes
from launchers.tree import lay_tree

SAID_BYTES = 500
"""What a reason quotes of the log where the wall itself failed."""
PRIVATE = {"HOME": "home", "TMPDIR": "tmp"}
"""Private folders of a program, by the variable that names them."""


class Job:
    """What the steps of a job share."""

    def __init__(self, run: str, interrupts: Interrupts) -> None:
        """Opens the files of the run folder.

        Args:
            run: the run folder.
            interrupts: the signals of this process.
        """
        self.run = run
        self.spec = JobSpec.from_json(_text(self.path(names.SPEC)))
        self.place = Place.from_json(_text(self.path(names.PLACE)))
        self.account = Account()
        self.disk = Disk(run)
        self.events = Events(run, self.disk)
        self.log = self._open_log(names.LOG)
        self.score_log = self._open_log(names.SCORE_LOG)
        self._interrupts = interrupts
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._processes = os.open(self.path(names.PROCESSES), flags, 0o644)
        os.write(self._processes, f"{boot_id()}\n".encode())

    @property
    def wall(self) -> Wall:
        """The wall of the job's level, once that is known to exist."""
        return WALLS[self.spec.sandbox]

    def path(self, name: str) -> str:
        """A file or folder of the run folder."""
        return os.path.join(self.run, name)

    def lay(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Lays down files in a folder of the run folder, and nothing else."""
        names.remove_tree(self.path(folder))
        lay_tree(self.path(folder), files)

    def fresh_work(self) -> None:
        """Gives the next program empty private folders, which no earlier one had a handle to."""
        work = self.path(names.WORK)
        names.remove_tree(work)
        os.mkdir(work)
        for inner in (*PRIVATE.values(), names.OUT):
            os.mkdir(os.path.join(work, inner), mode=0o700)

    def run_program(
        self,
        command: Sequence[str],
        *,
        folder: str,
        log: BoundedLog,
        wall_seconds: float,
        cpu_seconds: float | None = None,
        idle_seconds: float | None = None,
        starts: bool = False,
        begun: Callable[[int], None] | None = None,
    ) -> End:
        """Runs one program; when this returns, nothing that it started is alive.

        Args:
            command: absolute path of the program, and its arguments.
            folder: of the run folder; where it starts.
            log: takes what it prints.
            wall_seconds: when it is killed.
            cpu_seconds: CPU time of its tree at which it is killed; None for no limit.
            idle_seconds: idle time of its tree at which it is killed; None for no limit.
            starts: whether it is a starter, which prints READY.
            begun: called once with the process id, before anything is waited for.
        """
        program = Program(
            interrupts=self._interrupts,
            log=log,
            disk=self.disk,
            tree=ProcessTree(self._remember),
            heartbeat=lambda used: self.events.append("heartbeat", cpu_seconds=round(used, 2)),
            limits=self._limits(),
        )
        work = self.path(names.WORK)
        private = {name: os.path.join(work, inner) for name, inner in PRIVATE.items()}
        return program.run(
            command,
            folder=self.path(folder),
            environment=environment_of(self.spec, self.place, self.run) | private,
            wall_seconds=wall_seconds,
            cpu_seconds=cpu_seconds,
            idle_seconds=idle_seconds,
            starts=starts,
            begun=begun,
        )

    @contextlib.contextmanager
    def turn(self, step: str, *, alone: bool) -> Iterator[float]:
        """Holds the job's turn on the machine; gives the seconds that were waited for it.

        A job that takes no turns waits for nobody, and nobody for it.

        Args:
            step: its name, for the record.
            alone: whether no other untrusted program may run meanwhile.

        Raises:
            JobFailedError: the machine's locks cannot be opened.
            CancelledError: the job was told to stop while it waited.
        """
        if not self.spec.takes_turns:
            yield 0.0
            return
        told = False

        def pause(seconds: float) -> None:
            nonlocal told
            if not told:
                self.events.append("waiting", step=step)
            told = True
            self._interrupts.pause(seconds)

        try:
            with turn(self.place.turns, alone=alone, pause=pause) as waited:
                yield waited
        except TurnError as error:
            raise JobFailedError("infrastructure", str(error)) from error

    @contextlib.contextmanager
    def starting(self, log: BoundedLog) -> Iterator[None]:
        """Blames the machine for what keeps a program from starting.

        Raises:
            JobFailedError: the program is not there, or its wall could not be put up.
        """
        try:
            yield
        except StartError as error:
            raise JobFailedError("setup", str(error)) from error
        except WallError as error:
            raise self._wall_error(error, log) from error

    def check_end(self, end: End) -> None:
        """Refuses to go on after a program that was cancelled or that left something alive.

        Raises:
            JobFailedError: something could not be killed.
            CancelledError: the job was told to stop.
        """
        if end.survivors:
            raise JobFailedError("infrastructure", "a process of the job could not be killed")
        if end.ending is Ending.CANCELLED:
            raise CancelledError

    def check_wall(self, view: View, log: BoundedLog) -> None:
        """Refuses to go on if some program of a view could not begin, not the patch's fault.

        Raises:
            JobFailedError: the wall itself failed.
        """
        if self.wall.failed(view):
            raise self._wall_error("the wall could not be put up", log)

    def _wall_error(self, what: object, log: BoundedLog) -> JobFailedError:
        said = log.tail(SAID_BYTES).strip()
        return JobFailedError("infrastructure", f"sandbox {self.spec.sandbox}: {what}: {said}")

    def _limits(self) -> Limits:
        """What a program may not exceed; the disk is watched where the wall does not limit it."""
        return Limits(
            memory_bytes=self.spec.memory_bytes,
            processes=self.spec.processes,
            folder=self.path(names.WORK) if self.wall.watches_disk else None,
            folder_bytes=most_out_bytes(self.spec) + self.spec.scratch_bytes,
        )

    def _open_log(self, name: str) -> BoundedLog:
        return BoundedLog(self.path(name), self.spec.log_bytes, self.disk.forgive)

    def _remember(self, process: Process) -> None:
        """Notes a process of the job, to be found again if the supervisor is killed."""
        try:
            os.write(self._processes, f"{process.pid} {process.born}\n".encode())
        except OSError as error:
            self.disk.forgive(error)


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
