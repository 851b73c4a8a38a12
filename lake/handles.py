"""Handles of the lake's tables: opened, kept fresh, created on first use, refused when too new.

Not here: what is appended (`lake.delta`) and read (`lake.reading`).
"""

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lake.columns import SCHEMA_VERSION, delta_schema
from lake.errors import LakeError, SchemaError, StorageError
from lake.properties import (
    FIRST_PROPERTY,
    first_properties,
    keep_log,
    lacking_properties,
    schema_version,
)
from lake.tables import Row

if TYPE_CHECKING:
    from deltalake import DeltaTable

PARTITIONS = ["campaign", "epoch"]
HANDLE_COMMITS = 20
"""Commits after which a table handle is reopened: an old one slows by 0.1 ms per commit."""


class Stored(NamedTuple):
    """Which of its row type's columns a table has."""

    names: set[str]
    """An older schema has fewer."""
    grown: bool
    """Whether some files may be of an older schema, with fewer columns than these."""


class Handles:
    """The open tables of one lake; whoever uses a table holds `lock`."""

    def __init__(self, uri: str) -> None:
        """Opens nothing yet."""
        self.uri = uri
        self.lock = threading.RLock()
        self._opened: dict[str, tuple[DeltaTable, int]] = {}
        self._pins: dict[str, _Pin] = {}
        self._seen: dict[str, tuple[int, tuple[int, int, int] | None]] = {}
        """By table: the newest version that was seen, and what tells its log entry from others."""

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.uri

    def table_uri(self, row_type: type[Row]) -> str:
        """Where the table of a row type is."""
        return f"{self.uri}/{row_type.table}"

    def in_place(self) -> bool:
        """Whether the tables that were opened are still those; for a local lake.

        A folder that was removed or replaced is another one, and so is a table whose log has no
        entry, or another one, for the version that was seen: an older copy was laid in its place.
        """
        with self.lock:
            return all(pin.holds() for pin in self._pins.values()) and all(
                self._is_same(name, table.version()) for name, (table, _) in self._opened.items()
            )

    def _is_same(self, name: str, version: int) -> bool:
        """Whether the newest version that was seen of a table is still what it was.

        A version that was committed from here since is noted as it is found.
        """
        found = _identity(log_entry(f"{self.uri}/{name}", version))
        seen, identity = self._seen.get(name, (version, found))
        if seen != version:  # committed from here
            identity = found
        self._seen[name] = (version, identity)
        return found is not None and found == identity

    def forget(self, row_type: type[Row]) -> None:
        """Has the table reopened next time."""
        self._opened.pop(row_type.table, None)

    def newest(self, row_type: type[Row]) -> "DeltaTable | None":
        """The table in its newest state; None while it does not exist."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        known = self._opened.get(row_type.table)
        if known is not None:
            table, opened = known
            is_same = not self.is_local or self._is_same(row_type.table, table.version())
            if self.is_local and is_same and self._is_newest(row_type, table.version()):
                return table
            if is_same:
                table.update_incremental()
                if table.version() - opened < HANDLE_COMMITS:
                    return table
        uri = self.table_uri(row_type)
        if self.is_local:
            try:
                self._pins[row_type.table] = _Pin(Path(uri, "_delta_log"))
            except FileNotFoundError:
                return None
        try:
            table = DeltaTable(uri)
        except TableNotFoundError:
            return None
        _refuse_newer(uri, table)
        self._seen.pop(row_type.table, None)
        self._opened[row_type.table] = (table, table.version())
        return table

    def _is_newest(self, row_type: type[Row], version: int) -> bool:
        """Whether nothing was committed after a version; versions have no gaps.

        A look at one file; deltalake lists the whole log, 1.6 CPU ms for 1,000 commits (measured).
        """
        return not log_entry(self.table_uri(row_type), version + 1).exists()

    def made(self, row_type: type[Row]) -> "DeltaTable":
        """The table in its newest state for an append: created, or given what it lacks.

        Raises:
            CommitFailedError: Another process was giving it the same.
        """
        table = self.newest(row_type)
        if table is None:
            self._create(row_type)
            table = self.newest(row_type)
        if table is None:
            raise StorageError(
                where=self.table_uri(row_type),
                found="no table, just after it was made",
                expected="a Delta table",
                todo="Check whether another program removes files of the lake",
            )
        lacking = lacking_properties(table)
        if lacking:
            table.alter.set_table_properties(
                lacking, raise_if_not_exists=False, post_commithook_properties=keep_log()
            )
        return table

    def _create(self, row_type: type[Row]) -> None:
        """Makes the table; losing the race against another process is as good as winning it.

        Never tried again: a creation that is retried is committed as version 1 of the table that
        won, and its metadata fail every append that goes on meanwhile.
        """
        from deltalake import CommitProperties, DeltaTable, Schema
        from deltalake.exceptions import DeltaError

        try:
            DeltaTable.create(
                self.table_uri(row_type),
                Schema.from_json(delta_schema(row_type)),
                mode="ignore",
                partition_by=PARTITIONS,
                configuration=first_properties(),
                raise_if_key_not_exists=False,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except DeltaError:
            if self.newest(row_type) is None:
                raise


class _Pin:
    """A folder, held open so that its number is not given to another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)

    def holds(self) -> bool:
        """Whether the folder is still in its place, and no other one."""
        try:
            return os.path.samestat(os.stat(self._folder), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


def log_entry(table: str, version: int) -> Path:
    """The file that a commit to a local table left in its log."""
    return Path(table, "_delta_log", f"{version:020d}.json")


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another one that was laid in its place; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def stored(table: "DeltaTable | None") -> Stored:
    """The columns of a table; none where there is no table."""
    if table is None:
        return Stored(set(), False)
    names = {field.name for field in table.schema().fields}
    return Stored(names, schema_version(table, FIRST_PROPERTY) < SCHEMA_VERSION)


def _refuse_newer(uri: str, table: "DeltaTable") -> None:
    """Refuses a table with columns or meanings that this version does not know."""
    found = schema_version(table)
    if found > SCHEMA_VERSION:
        raise SchemaError(
            where=f"table {uri}",
            found=f"schema version {found}",
            expected=f"at most {SCHEMA_VERSION}, the newest that this Varve knows",
            todo="Install the version of Varve that made this lake, or point VARVE_LAKE elsewhere",
        )


class reached:
    """Turns errors of deltalake, polars and the operating system into StorageError."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, LakeError):
            return
        from deltalake.exceptions import DeltaError
        from polars.exceptions import PolarsError

        if isinstance(error, DeltaError | OSError | PolarsError):
            raise StorageError(
                where=f"table {self._uri}",
                found=f"{type(error).__name__}: {error}",
                expected="a Delta table that can be read and appended to",
                todo="Check the path, its permissions, the free disk space and the credentials",
            ) from error
