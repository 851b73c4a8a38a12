"""Runs one program of a job to its end or to a limit, and leaves no process of it behind.

The clock is the supervisor's monotonic one. Nothing here sleeps for a fixed time: the loop waits
for output, for a dead child, for a signal, or for the next moment at which something is due.
"""

import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from launchers.folder import Disk
from launchers.process_table import LINUX
from launchers.process_tree import ProcessTree
from launchers.steps import READY
from launchers.supervisor.interrupts import Interrupts
from launchers.supervisor.limits import Limits
from launchers.supervisor.log import BoundedLog
from launchers.supervisor.spawn import spawn

FIRST_LOOK_SECONDS = 0.01 if LINUX else 0.2
LOOK_SECONDS = 0.1 if LINUX else 1.0
"""Pause between two looks at the process tree, shorter at the start. Outside Linux a look starts
`ps`."""
HEARTBEAT_SECONDS = 5.0
PIPE_BYTES = 1 << 18
DRAIN_ROUNDS = 64
DEAD_PER_TURN = 256
"""Reads and dead children per wake-up, so that a flood of either cannot hide the clock."""


class Ending(Enum):
    """Why a program ended."""

    EXIT = "exit"
    """The program ended by itself."""
    DEADLINE = "deadline"
    """Its wall clock ran out."""
    IDLE = "idle"
    """It did nothing for too long."""
    CPU_LIMIT = "cpu_limit"
    """Its process tree used up the CPU time."""
    LIMIT = "limit"
    """It exceeded another limit."""
    CANCELLED = "cancelled"
    """The supervisor was told to stop."""


class End(NamedTuple):
    """How a program went."""

    ending: Ending
    exit_code: int | None
    """Of the program itself, negative for a signal; None if it was killed by the supervisor."""
    wall_seconds: float
    cpu_seconds: float
    """Of its whole process tree."""
    idle_seconds: float
    """Wall clock in which no process of it had anything to do."""
    start_cpu_seconds: float
    """CPU time until a starter was ready; 0 without one."""
    survivors: bool
    """Whether something could not be killed."""
    excess: str | None
    """What it exceeded, if that ended it."""

    @property
    def exit_words(self) -> str:
        """Its exit code in words."""
        if self.exit_code is None:
            return "was killed"
        if self.exit_code < 0:
            return f"was ended by signal {-self.exit_code}, which the supervisor did not send"
        return f"exited with code {self.exit_code}"

    @property
    def idle_words(self) -> str:
        """How long it did nothing, in words."""
        return (
            f"did nothing for {self.idle_seconds:.1f} s of {self.wall_seconds:.1f} s, and was not "
            "waiting for a processor; it was killed"
        )


class Program:
    """One program under supervision."""

    def __init__(
        self,
        *,
        interrupts: Interrupts,
        log: BoundedLog,
        disk: Disk,
        tree: ProcessTree,
        heartbeat: Callable[[float], None],
        limits: Limits,
    ) -> None:
        """Prepares to run it.

        Args:
            interrupts: the supervisor's signals.
            log: takes what the program prints.
            disk: is asked about free space at every look.
            tree: its processes.
            heartbeat: called every few seconds with the CPU seconds so far.
            limits: what it may not exceed.
        """
        self._interrupts = interrupts
        self._log = log
        self._disk = disk
        self._tree = tree
        self._heartbeat = heartbeat
        self._limits = limits
        self._excess: str | None = None
        self._exit_code: int | None = None
        self._output = -1
        self._pid = -1
        self._awaits_ready = False
        self._start_cpu = 0.0

    def run(
        self,
        command: Sequence[str],
        *,
        folder: str,
        environment: Mapping[str, str],
        wall_seconds: float,
        cpu_seconds: float | None = None,
        idle_seconds: float | None = None,
        starts: bool = False,
        begun: Callable[[int], None] | None = None,
    ) -> End:
        """Runs the program; when this returns, nothing that it started is alive.

        Args:
            command: absolute path of the program, and its arguments.
            folder: where it starts.
            environment: all of its process environment.
            wall_seconds: when it is killed.
            cpu_seconds: CPU time of its tree at which it is killed; None for no limit.
            idle_seconds: idle time of its tree at which it is killed; None for no limit.
            starts: whether it is a starter, which prints READY.
            begun: called once with the process id, before anything is waited for.

        Raises:
            StartError: the program or the folder is not there.
            Exception: whatever `begun` raises; the program is killed first.
        """
        started, self._awaits_ready = time.monotonic(), starts
        self._start(command, folder, environment)
        try:
            if begun:
                begun(self._pid)
            ending = self._watch(started, wall_seconds, cpu_seconds, idle_seconds)
        finally:
            gone = self._tree.kill()
            self._drain()
            os.close(self._output)
        wall = time.monotonic() - started
        self._disk.look()
        used = self._tree.cpu_seconds()
        if cpu_seconds is not None and used >= cpu_seconds and ending is not Ending.CANCELLED:
            ending = Ending.CPU_LIMIT  # also when it was over between two looks
        code = self._exit_code if ending is Ending.EXIT else None
        idle = self._tree.idle_seconds()
        return End(ending, code, wall, used, idle, self._start_cpu, not gone, self._excess)

    def _start(self, command: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
        """Starts the program with its output in a pipe."""
        self._output, write = os.pipe()
        os.set_blocking(self._output, False)
        try:
            self._pid = spawn(command, folder=folder, environment=environment, output=write)
        finally:
            os.close(write)

    def _watch(
        self,
        started: float,
        wall_seconds: float,
        cpu_seconds: float | None,
        idle_seconds: float | None,
    ) -> Ending:
        """Waits until the program ends or a limit is reached."""
        poller = select.poll()
        poller.register(self._interrupts.wakeup, select.POLLIN)
        poller.register(self._output, select.POLLIN)
        pause = FIRST_LOOK_SECONDS
        look_at, beat_at = started + pause, started + HEARTBEAT_SECONDS
        while True:
            wait = min(look_at, started + wall_seconds) - time.monotonic()
            for descriptor, happened in poller.poll(max(0.0, wait) * 1000):
                if descriptor == self._output and not self._drain() and happened & select.POLLHUP:
                    poller.unregister(self._output)
            if self._ended():
                return Ending.EXIT
            now = time.monotonic()
            if self._interrupts.cancelled:
                return Ending.CANCELLED
            if now >= started + wall_seconds:
                return Ending.DEADLINE
            if now >= look_at:
                if (ending := self._look(cpu_seconds, idle_seconds)) is not None:
                    return ending
                pause = min(pause * 1.5, LOOK_SECONDS)
                look_at = time.monotonic() + pause
            if now >= beat_at:
                self._heartbeat(self._tree.cpu_seconds())
                self._log.flush()
                beat_at = now + HEARTBEAT_SECONDS

    def _look(self, cpu_seconds: float | None, idle_seconds: float | None) -> Ending | None:
        """Looks once at all that the program uses; gives the limit that it has reached."""
        self._tree.look()
        self._disk.look()
        if cpu_seconds is not None and self._tree.cpu_seconds() >= cpu_seconds:
            return Ending.CPU_LIMIT
        if idle_seconds is not None and self._tree.idle_seconds() >= idle_seconds:
            return Ending.IDLE
        self._excess = self._limits.excess(self._tree, self._log)
        return Ending.LIMIT if self._excess else None

    def _ended(self) -> bool:
        """Waits for whatever has died; says whether the program itself is among it."""
        self._interrupts.forget()
        for _ in range(DEAD_PER_TURN):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == self._pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
        return self._exit_code is not None

    def _without_ready(self, chunk: bytes) -> bytes:
        """Output without what a starter says once, which is when its start is over.

        Libraries may warn before. Patched code, which may print the same, begins after it.
        """
        if READY not in chunk:
            return chunk
        self._awaits_ready = False
        self._tree.look()
        self._start_cpu = self._tree.cpu_seconds()
        return chunk.replace(READY, b"", 1)

    def _drain(self) -> bool:
        """Moves waiting output to the log; says whether there was any."""
        for done in range(DRAIN_ROUNDS):
            try:
                chunk = os.read(self._output, PIPE_BYTES)
            except BlockingIOError:
                return done > 0
            if not chunk:
                return done > 0
            if self._awaits_ready:
                chunk = self._without_ready(chunk)
            self._log.feed(chunk)
        return True
