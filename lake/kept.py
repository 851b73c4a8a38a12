"""What a process has read of a lake and need not read again.

A data file never changes and its name never comes again, so what was read of it holds for as long
as the table lists it. Columns that are asked of whole tables (prices, keys) and the attempts of a
campaign are kept by the files that they came from: each call reads the new files alone, and forgets
those that compaction has replaced.

Not here: which files are live (`lake.reading`), and rows, which whoever reads them may keep.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lake.attempts import AttemptLog
from lake.tables import AttemptEvent

if TYPE_CHECKING:
    import polars as pl

MOST_BYTES = 64 << 20
"""Of one kept frame; a bigger one is read anew each time. A million run keys take 80 MB."""
FILE = "file"
"""Column that says where a line came from."""


class _Frame(NamedTuple):
    files: frozenset[str]
    lines: "pl.DataFrame"


class _Log(NamedTuple):
    files: frozenset[str]
    attempts: AttemptLog


class Kept:
    """What was read through one `Lake`. Safe for threads."""

    def __init__(self) -> None:
        """Holds nothing yet."""
        self._lock = threading.RLock()
        self._frames: dict[tuple[str, ...], _Frame] = {}
        self._logs: dict[str, _Log] = {}

    def columns(
        self,
        key: tuple[str, ...],
        files: list[str],
        read: Callable[[list[str]], "pl.DataFrame"],
    ) -> "pl.DataFrame":
        """The lines of these files.

        Args:
            key: names what is read of them.
            files: live files.
            read: gives the lines of some files, with the column FILE.
        """
        import polars as pl

        with self._lock:
            live = frozenset(files)
            known = self._frames.pop(key, _Frame(frozenset(), pl.DataFrame()))
            parts = []
            if known.files & live:
                gone = known.files - live
                whole = known.lines
                parts.append(whole.filter(~pl.col(FILE).is_in(sorted(gone))) if gone else whole)
            fresh = [file for file in files if file not in known.files]
            if fresh:
                parts.append(read(fresh))
            lines = pl.concat(parts)
            if lines.estimated_size() <= MOST_BYTES:
                self._frames[key] = _Frame(live, lines)
            return lines

    def attempts(
        self,
        campaign: str,
        files: list[str],
        read: Callable[[list[str]], list[AttemptEvent]],
    ) -> AttemptLog:
        """The attempts that the events in these files tell, as a log of the caller's own.

        Commits come in the order of the events of an attempt, so new files hold later events.
        """
        with self._lock:
            live = frozenset(files)
            known = self._logs.get(campaign)
            if known is None or not known.files <= live:
                known = _Log(frozenset(), AttemptLog(()))
            fresh = [file for file in files if file not in known.files]
            events = read(fresh) if fresh else []
            for event in sorted(events, key=lambda e: (e.epoch, e.stage, e.n, e.seq)):
                known.attempts.add(event)
            for epoch in {event.epoch for event in events}:
                known.attempts.current(epoch)  # so that no copy need resolve it
            self._logs[campaign] = _Log(live, known.attempts)
            return known.attempts.copy()
