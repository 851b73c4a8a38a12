"""The signals of a supervisor, as something that can be waited for."""

import os
import signal


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

    def _cancel(self, *_: object) -> None:
        self.cancelled = True
