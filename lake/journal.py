"""The journal: facts that are durable before they count.

One SQLite file per campaign (WAL, synchronous FULL). A fact is on disk when `append` returns; from
there it moves to Delta in batches, one commit per table. Each batch is an application transaction
`journal/<identity of the file>` whose version is the last row number in it, so a crash at any point
loses nothing and repeats nothing: what is already committed is dropped, not sent again. It is
dropped only where the lake really has it, since a copy of the file, in a copied home, counts on
from the same number. Events of attempts move last, so that an attempt is not visible before the
facts that it rests on.

Only the holder of the campaign's lock uses its journal; the holder's threads may share it. SQLite's
WAL needs a local disk. Not here: which facts are journaled (`lake.writer`).
"""

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lake.delta import App, Lake
from lake.errors import SchemaError, StorageError
from lake.schema import from_record, to_record
from lake.tables import TABLES, AttemptEvent, Row

BATCH = 5_000
"""Rows in one commit; bounds the memory of draining a long journal."""
MOVED_LAST = AttemptEvent.table
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, body TEXT NOT NULL
);
"""


class Journal:
    """Facts of one campaign on their way to the lake."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; use `Journal.open`."""
        self.path = path
        self._lock = threading.RLock()
        with self._reached():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=10
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('uuid', ?)", [uuid.uuid4().hex])
            found = self._db.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
            last = self._db.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()
        self.app_id = f"journal/{found[0]}"
        self._inherited: int = last[0]
        """Newest row that an earlier holder left here."""

    @classmethod
    def open(cls, path: str | Path) -> "Journal":
        """The journal in a file, which is created if it does not exist."""
        return cls(Path(path))

    def append(self, *rows: Row) -> None:
        """Stores rows, all or none; they are on disk when this returns.

        Raises:
            RowError: A row cannot be stored.
            StorageError: The file cannot be written, for example because the disk is full.
        """
        facts = [(row.table, _body(row)) for row in rows]
        insert = "INSERT INTO facts (tbl, body) VALUES (?, ?)"
        with self._lock, self._reached():
            if len(facts) == 1:
                self._db.execute(insert, facts[0])
            elif facts:
                with self._transaction():
                    self._db.executemany(insert, facts)

    def pending(self) -> int:
        """Number of rows that are not known to be in the lake."""
        with self._lock, self._reached():
            return int(self._db.execute("SELECT count(*) FROM facts").fetchone()[0])

    def drain(self, lake: Lake, *, code_version: str | None = None) -> int:
        """Moves everything that is here now to the lake.

        Args:
            lake: Where to.
            code_version: Of the Varve that moves it; the commits name it.

        Returns:
            Number of rows moved.

        Raises:
            StorageError: The lake or the file cannot be written; what was not moved stays here.
        """
        with self._lock:
            with self._reached():
                last = self._db.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()[0]
                found = self._db.execute("SELECT DISTINCT tbl FROM facts").fetchall()
            tables = sorted((table for (table,) in found), key=lambda t: (t == MOVED_LAST, t))
            return sum(self._drain_table(lake, table, last, code_version) for table in tables)

    def _drain_table(self, lake: Lake, table: str, last: int, code_version: str | None) -> int:
        """Moves the rows of one table up to row number `last`."""
        row_type = self._row_type(table)
        moved = 0
        while batch := self._batch(table, last):
            newest = batch[-1][0]
            rows = self._not_moved(lake, row_type, batch)
            if not lake.append(rows, app=App(self.app_id, newest), code_version=code_version):
                continue  # somebody else's commit under this identity: look again
            with self._reached():
                self._db.execute("DELETE FROM facts WHERE tbl = ? AND id <= ?", [table, newest])
            moved += len(rows)
        return moved

    def _not_moved(
        self, lake: Lake, row_type: type[Row], batch: Sequence[tuple[int, str]]
    ) -> list[Row]:
        """The rows of a batch that are not in the lake.

        What an earlier holder left, and what the lake counts as moved, is looked for there. Where a
        row that counts as moved is missing, a copy of this file has used its number: numbers of
        this identity say nothing any more, and this file takes another one.
        """
        known = lake.committed(row_type, self.app_id)
        rows = [(id_, from_record(row_type, json.loads(body))) for id_, body in batch]
        doubtful = [row for id_, row in rows if id_ <= max(known, self._inherited)]
        if not doubtful:
            return [row for _, row in rows]
        moved = _moved(lake, row_type, doubtful)
        missing = [(id_, row) for id_, row in rows if _mark(row) not in moved]
        if any(id_ <= known for id_, _ in missing):
            self._take_identity(uuid.uuid4().hex)
        return [row for _, row in missing]

    def _take_identity(self, found: str) -> None:
        with self._reached():
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", [found])
        self.app_id = f"journal/{found}"

    def _batch(self, table: str, last: int) -> list[tuple[int, str]]:
        select = "SELECT id, body FROM facts WHERE tbl = ? AND id <= ? ORDER BY id LIMIT ?"
        with self._reached():
            return self._db.execute(select, [table, last, BATCH]).fetchall()

    def _row_type(self, table: str) -> type[Row]:
        if table not in TABLES:
            raise SchemaError(
                where=f"journal {self.path}",
                found=f"rows of table {table!r}",
                expected=f"one of {', '.join(TABLES)}",
                todo="Use the version of Varve that wrote this journal, or a newer one",
            )
        return TABLES[table]

    def close(self) -> None:
        """Closes the file; rows that are still here are kept for the next opening."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns SQLite's and the operating system's errors into StorageError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                where=f"journal {self.path}",
                found=f"{type(error).__name__}: {error}",
                expected="a SQLite file on a local disk that can be written",
                todo="Check free disk space and permissions; nothing that was appended is lost",
            ) from error


def _moved(lake: Lake, row_type: type[Row], rows: Sequence[Row]) -> set[str]:
    """Marks of what the lake has at the places of these rows."""
    epochs = {row.epoch for row in rows}
    return {_mark(row) for row in lake.read(row_type, campaign=rows[0].campaign, epoch=epochs)}


def _mark(row: Row) -> str:
    """What tells a row from others: all of it; of an event its place, since the first one holds."""
    return row.attempt_id if isinstance(row, AttemptEvent) else _body(row)


def _body(row: Row) -> str:
    """The row as JSON; times are ISO text."""
    return json.dumps(to_record(row), default=datetime.isoformat, allow_nan=False)
