"""A log with a ceiling: head and tail are kept, the middle of a flood is dropped.

The file never grows over the cap. Text of a job is only ever shown to people and models as data;
no number is read from it.
"""

import os
from collections.abc import Callable

from launchers.result import LOG_TAIL_BYTES

MARKER = b"\n... %d bytes dropped here ...\n"
MARKER_ROOM = 64
"""Bytes set aside for the marker."""


class BoundedLog:
    """Takes any amount of output and keeps at most `cap` bytes of it on disk."""

    def __init__(self, path: str, cap: int, forgive: Callable[[OSError], None]) -> None:
        """Starts an empty log.

        Args:
            path: the file.
            cap: its largest size in bytes.
            forgive: called with an error of writing; raises it again or swallows it.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._forgive = forgive
        self._cap = max(cap, 4 * MARKER_ROOM)
        self._head_room = self._cap // 2
        self._tail_room = self._cap - self._head_room - MARKER_ROOM
        self._tail = bytearray()
        self._unwritten = False
        self.total = 0
        """Bytes fed so far, dropped ones included."""

    def feed(self, chunk: bytes) -> None:
        """Takes output. Costs a write until the head is full, then only memory."""
        head = chunk[: max(self._head_room - self.total, 0)]
        if head:
            self._write(head, self.total)
        self.total += len(chunk)
        rest = chunk[len(head) :]
        if rest:
            self._tail += rest[-self._tail_room :]
            self._unwritten = True
            if len(self._tail) > 2 * self._tail_room:
                del self._tail[: -self._tail_room]

    def flush(self) -> None:
        """Brings the tail to disk."""
        if not self._unwritten:
            return
        self._unwritten = False
        tail = bytes(self._tail[-self._tail_room :])
        dropped = self.total - self._head_room - len(tail)
        middle = MARKER % dropped if dropped else b""
        self._write(middle + tail, self._head_room)

    def tail(self, size: int = LOG_TAIL_BYTES) -> str:
        """The last bytes as text, at most `size` of them once encoded again."""
        kept = bytes(self._tail[-size:])
        if len(kept) < size:
            end = min(self.total, self._head_room)
            kept = (
                os.pread(
                    self._descriptor, min(size - len(kept), end), max(0, end - size + len(kept))
                )
                + kept
            )
        text = kept.decode("utf-8", errors="replace")
        return text.encode()[-size:].decode("utf-8", errors="ignore")

    def close(self) -> None:
        """Flushes and closes the file."""
        self.flush()
        os.close(self._descriptor)

    def _write(self, content: bytes, offset: int) -> None:
        try:
            os.pwrite(self._descriptor, content, offset)
            os.ftruncate(self._descriptor, offset + len(content))
        except OSError as error:
            self._forgive(error)
