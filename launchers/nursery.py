"""A process that has imported the supervisor once and forks one for every job.

Starting an interpreter and its imports costs about 40 ms of processor time, a fork 2 ms; with jobs
of one second that is the difference between a busy machine and an idle one. No part of a job lives
here: a forked supervisor takes the lock of its run folder along, opens a session of its own and no
longer needs the nursery, which ends when its launcher does. If the nursery is killed, jobs being
started are lost in the usual sense (their lock is free) and start again when they are submitted
again.
"""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping

from launchers.folder import SUPERVISOR_LOG

READY = b"."
REFUSED = b"!"
MOST_BYTES = 1 << 16
PATIENCE_SECONDS = 5.0
"""How long a nursery may take to end; it has nothing to do."""


class Nursery:
    """The launcher's side: has supervisors forked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts nothing yet.

        Args:
            environment: process environment of every supervisor; holds no secret.
        """
        self._environment = dict(environment)
        self._turn = threading.Lock()
        self._socket: socket.socket | None = None
        self._owner = 0
        self._ending: weakref.finalize[..., Nursery] | None = None

    def start(self, run: str, lock: int) -> None:
        """Has a supervisor forked for a run folder.

        Args:
            run: the run folder.
            lock: descriptor that holds its lock; a copy goes to the supervisor.

        Raises:
            OSError: no process can be started.
        """
        with self._turn:
            try:
                connection = self._connection()
                socket.send_fds(connection, [run.encode()], [lock])
            except (BrokenPipeError, ConnectionResetError):
                self.close()
                connection = self._connection()
                socket.send_fds(connection, [run.encode()], [lock])
            try:
                answer = connection.recv(1)
            except ConnectionResetError:
                answer = b""  # it died before it started the job, which `states` then calls lost
        if answer == REFUSED:
            raise BlockingIOError(f"{run}: no process can be started; wait for others to end")

    def close(self) -> None:
        """Ends the nursery; supervisors live on."""
        if self._ending is not None:
            self._ending()
        self._socket = None

    def _connection(self) -> socket.socket:
        """The connection to a nursery of this very process, started on first use."""
        if self._socket is None or self._owner != os.getpid():
            self._socket, far = socket.socketpair()
            package = os.path.dirname(os.path.abspath(__file__))
            command = [sys.executable, "-I", "-S", package, "--nursery", str(far.fileno())]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=(far.fileno(),),
                start_new_session=True,
            )
            far.close()
            self._owner = os.getpid()
            self._ending = weakref.finalize(self, _end, self._socket, process)
        return self._socket


def _end(connection: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    """Hangs up, whereupon the nursery ends by itself."""
    connection.close()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(descriptor: int) -> int:
    """The nursery itself: forks a supervisor for each run folder that it is sent.

    Args:
        descriptor: its end of the connection to the launcher.

    Returns:
        The exit code, once the launcher has hung up.
    """
    from launchers.supervisor.supervise import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended supervisors need no wait
    connection = socket.socket(fileno=descriptor)
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, 1)
        if not message:
            return 0
        try:
            if os.fork() == 0:
                _become_supervisor(main, message.decode(), descriptors[0])
            answer = READY
        except BlockingIOError:
            answer = REFUSED
        os.close(descriptors[0])
        try:
            connection.sendall(answer)
        except BrokenPipeError:
            return 0


def _become_supervisor(main: Callable[[list[str]], int], run: str, lock: int) -> None:
    """In the child: cuts the ties to nursery and launcher, supervises, and never returns."""
    code = 1
    try:
        os.setsid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        output = os.open(os.path.join(run, SUPERVISOR_LOG), flags, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = main([run, str(lock)])
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)
