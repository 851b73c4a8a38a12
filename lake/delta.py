"""The lake: one append-only Delta table per row type, at a local path or an object store's URI.

A table is made by its first append, partitioned by campaign and epoch, with `delta.appendOnly`.
One append is one commit. Writers of different campaigns, in different processes, append side by
side: Delta retries the commit, and nothing here depends on a table version. An append that names an
application transaction is done once; deltalake does not refuse a repeat, so the lake checks.

Object stores are configured as deltalake documents it (for example AWS_* in the environment);
nothing here reads the environment. Not here: reading (`lake.reading`), the order of commits within
an attempt (`lake.writer`), durability of single facts (`lake.journal`), SQL (`lake.sql`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lake.columns import SCHEMA_VERSION
from lake.errors import StorageError
from lake.handles import (
    SCHEMA_PROPERTY,
    reached,
    schema_version,
)
from lake.reading import Reading
from lake.schema import to_frame
from lake.tables import ROW_TYPES, Row

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

SPARE_FILES = 64
"""Whoever reads a campaign for the first time opens every file: 0.25 CPU ms each (measured)."""


MIGRATIONS = 5
"""How often an append begins again because another process changed the table's schema."""


class App(NamedTuple):
    """An application transaction: an append that is done once."""

    app_id: str
    version: int


class Lake(Reading):
    """All tables of a lake. Safe for threads; any number of processes may append at once."""

    @classmethod
    def open(cls, uri: str | Path) -> "Lake":
        """The lake at a place; nothing is made before the first append.

        Args:
            uri: A folder, `file://`, or what deltalake can reach: `s3://`, `gs://`, `az://`.
        """
        text = str(uri).removeprefix("file://")
        if "://" not in text:
            text = str(Path(text).expanduser().absolute())
        if set(text) & set("=*?[|%\\") or not text.isprintable():
            raise StorageError(
                where=f"lake {text}",
                found="one of the characters = * ? [ | % \\ or an invisible one in its path",
                expected="a path without them, since readers take them for partitions or patterns",
                todo="Put the lake elsewhere (VARVE_LAKE, VARVE_HOME)",
            )
        return cls(text.rstrip("/"))

    def append(self, rows: Sequence[Row], *, app: App | None = None, seq: int = 0) -> bool:
        """Appends rows of one table in one commit.

        Args:
            rows: Rows of one type; without rows nothing is committed.
            app: Transaction under which the rows are appended at most once.
            seq: Attempt event that makes the rows visible (tables of a stage).

        Returns:
            False when this transaction, or a later one of its name, is already committed.

        Raises:
            RowError: A row cannot be stored.
            SchemaError: The table was made by a newer schema.
            StorageError: The commit failed.
        """
        if not rows:
            return True
        return self.append_frame(type(rows[0]), to_frame(rows, seq=seq), app=app)

    def append_frame(
        self, row_type: type[Row], frame: "pl.DataFrame", *, app: App | None = None
    ) -> bool:
        """Appends a frame of the table's schema in one commit; see `append`."""
        from deltalake.exceptions import CommitFailedError

        with self._lock, reached(self._handles.table_uri(row_type)):
            for last in (False,) * MIGRATIONS + (True,):
                if app is not None and self.committed(row_type, app.app_id) >= app.version:
                    return False
                try:
                    self._write(self._handles.made(row_type), frame, app)
                    return True
                except CommitFailedError as error:  # nothing was committed
                    if last or "changed since last commit" not in str(error):
                        raise
                    self._handles.forget(row_type)
        return True

    def committed(self, row_type: type[Row], app_id: str) -> int:
        """The newest version of an application transaction in a table; -1 when there is none."""
        with self._lock, reached(self._handles.table_uri(row_type)):
            table = self._handles.newest(row_type)
            version = table.transaction_version(app_id) if table is not None else None
        return -1 if version is None else int(version)

    def _write(self, table: "DeltaTable", frame: "pl.DataFrame", app: App | None) -> None:
        from deltalake import (
            CommitProperties,
            PostCommitHookProperties,
            Transaction,
            write_deltalake,
        )

        has_all = {field.name for field in table.schema().fields} == set(frame.columns)
        if schema_version(table) < SCHEMA_VERSION:
            newest = {SCHEMA_PROPERTY: str(SCHEMA_VERSION)}
            table.alter.set_table_properties(newest, raise_if_not_exists=False)
        write_deltalake(
            table,
            frame,
            mode="append",
            schema_mode=None if has_all else "merge",
            commit_properties=CommitProperties(
                max_commit_retries=100,
                app_transactions=[Transaction(*app)] if app is not None else None,
            ),
            # No version of a lake is forgotten; looking for old ones lists the log each time.
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )

    def maintain(self, *, small_files: int = 8) -> dict[str, int]:
        """Compacts tables that have many files per partition, and writes a checkpoint.

        Rows stay as they are, and appends may continue meanwhile. Replaced files stay on disk,
        since readers that listed them earlier may still be reading.

        Args:
            small_files: Average number of files per partition above which a table is compacted;
                SPARE_FILES beyond one per partition are too many in any case.

        Returns:
            Files removed from the listing, by table.
        """
        return {
            row_type.table: self._maintain(row_type, small_files)
            for row_type in ROW_TYPES
            if self.version(row_type) is not None
        }

    def _maintain(self, row_type: type[Row], small_files: int) -> int:
        """Compacts one table; a conflict with another compaction leaves it for next time."""
        from deltalake.exceptions import CommitFailedError

        with self._lock, reached(self._handles.table_uri(row_type)):
            table = self._handles.made(row_type)
            removed, partitions = 0, max(1, len(table.partitions()))
            if len(table.file_uris()) > min(small_files * partitions, partitions + SPARE_FILES):
                try:
                    removed = int(table.optimize.compact()["numFilesRemoved"])
                except CommitFailedError:
                    removed = 0
            table.create_checkpoint()
            self._handles.forget(row_type)
            return removed
