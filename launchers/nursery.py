"""A process that has imported the supervisor once and forks one for every job.

Starting an interpreter and its imports costs about 40 ms of processor time, a fork 2 ms; with jobs
of one second that is the difference between a busy machine and an idle one. No part of a job lives
here: a forked supervisor takes the lock of its run folder along, opens a session of its own and no
longer needs the nursery, which ends when its launcher does. If the nursery is killed, jobs being
started are lost in the usual sense (their lock is free) and start again when they are submitted
again.
"""

import errno
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
NO_PROCESS = (errno.EAGAIN, errno.ENOMEM)
"""What the system says where it starts no more processes."""
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
            NoProcessError: no process can be started.
        """
        with self._turn:
            try:
                answer = self._asked(run, lock)
            except (BrokenPipeError, ConnectionResetError):
                self.close()
                answer = self._asked(run, lock)
        if answer == REFUSED:
            raise _no_process(run, "the nursery cannot fork")

    def _asked(self, run: str, lock: int) -> bytes:
        """What the nursery answers; nothing where it died before it had started the job.

        Raises:
            BrokenPipeError: it died before it was asked; ConnectionResetError too.
        """
        connection = self._connection(run)
        socket.send_fds(connection, [run.encode()], [lock])
        try:
            return connection.recv(1)
        except ConnectionResetError:
            return b""  # `states` then calls the job lost

    def close(self) -> None:
        """Ends the nursery; supervisors live on."""
        if self._ending is not None:
            self._ending()
        self._socket = None

    def _connection(self, run: str) -> socket.socket:
        """The connection to a nursery of this very process, started on first use.

        Raises:
            NoProcessError: it cannot be started.
        """
        if self._socket is None or self._owner != os.getpid():
            near, far = socket.socketpair()
            with far:
                try:
                    process = self._process(far.fileno())
                except OSError as error:
                    near.close()
                    if error.errno in NO_PROCESS:
                        raise _no_process(run, str(error)) from error
                    raise
            self._socket, self._owner = near, os.getpid()
            self._ending = weakref.finalize(self, _end, near, process)
        return self._socket

    def _process(self, far: int) -> "subprocess.Popen[bytes]":
        """A nursery at its end of a connection."""
        package = os.path.dirname(os.path.abspath(__file__))
        return subprocess.Popen(
            [sys.executable, "-I", "-S", package, "--nursery", str(far)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            pass_fds=(far,),
            start_new_session=True,
        )


def _no_process(run: str, found: str) -> Exception:
    from launchers.launcher import NoProcessError  # no nursery needs it

    return NoProcessError(
        f"{run}: found that no process can be started ({found}), expected one more for this job; "
        "end other processes, or raise the limits on processes and memory (`ulimit -u`, the "
        "container's), then run the same command again"
    )


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
                connection.close()  # else it would outlive the nursery, and asking would wait
                _become_supervisor(main, message.decode(), descriptors[0])
            answer = READY
        except OSError:
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
