"""The signals of a supervisor, as something that can be waited for."""

import contextlib
import os
import select
import signal

from launchers.supervisor.failures import CancelledError


class Interrupts:
    """Turns the signals of the supervisor into something that can be waited for."""

    def __init__(self) -> None:
        """Takes over SIGTERM and SIGCHLD; Ctrl-C and a closed terminal mean nothing here."""
        self.cancelled = False
        """Whether SIGTERM came."""
        self.wakeup, write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._cancel)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def pause(self, seconds: float) -> None:
        """Waits for so long, or for a signal.

        Raises:
            CancelledError: the job was told to stop.
        """
        if not self.cancelled:
            select.select([self.wakeup], [], [], seconds)
        if self.cancelled:
            raise CancelledError
        self.forget()

    def forget(self) -> None:
        """Forgets the signals that came so far, except the one to stop."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup, 1 << 16)

    def _cancel(self, *_: object) -> None:
        self.cancelled = True
