"""The lake: one append-only Delta table per row type, at a local path or an object store's URI.

A table is made by its first append, partitioned by campaign and epoch, with `delta.appendOnly`.
One append is one commit. Writers of different campaigns, in different processes, append side by
side: Delta retries the commit, and nothing here depends on a table version. An append that names an
application transaction is done once; deltalake does not refuse a repeat, so the lake checks.

Object stores are configured as deltalake documents it (for example AWS_* in the environment);
nothing here reads the environment. Not here: reading (`lake.reading`), the order of commits within
an attempt (`lake.writer`), durability of single facts (`lake.journal`), SQL (`lake.sql`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lake.commits import commit_metadata
from lake.errors import StorageError
from lake.handles import reached
from lake.properties import keep_log
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

    def append(
        self,
        rows: Sequence[Row],
        *,
        app: App | None = None,
        seq: int = 0,
        code_version: str | None = None,
    ) -> bool:
        """Appends rows of one table in one commit.

        Args:
            rows: Rows of one type; without rows nothing is committed.
            app: Transaction under which the rows are appended at most once.
            seq: Attempt event that makes the rows visible (tables of a stage).
            code_version: Of the Varve that appends; kept in the commit with what the rows say of
                themselves (`lake.commits`).

        Returns:
            False when this transaction, or a later one of its name, is already committed.

        Raises:
            RowError: A row cannot be stored.
            SchemaError: The table was made by a newer schema.
            StorageError: The commit failed.
        """
        if not rows:
            return True
        said = commit_metadata(rows, code_version)
        return self.append_frame(type(rows[0]), to_frame(rows, seq=seq), app=app, said=said)

    def append_frame(
        self,
        row_type: type[Row],
        frame: "pl.DataFrame",
        *,
        app: App | None = None,
        said: Mapping[str, str] | None = None,
    ) -> bool:
        """Appends a frame of the table's schema in one commit that says this of itself."""
        from deltalake.exceptions import CommitFailedError

        with self._lock, reached(self._handles.table_uri(row_type)):
            again = MIGRATIONS
            while app is None or self.committed(row_type, app.app_id) < app.version:
                try:
                    self._write(self._handles.made(row_type), frame, app, said)
                    return True
                except CommitFailedError as error:  # nothing was committed
                    if not again or "changed since last commit" not in str(error):
                        raise
                    again -= 1
                    self._handles.forget(row_type)
        return False

    def committed(self, row_type: type[Row], app_id: str) -> int:
        """The newest version of an application transaction in a table; -1 when there is none."""
        with self._lock, reached(self._handles.table_uri(row_type)):
            table = self._handles.newest(row_type)
            version = table.transaction_version(app_id) if table is not None else None
        return -1 if version is None else int(version)

    def _write(
        self,
        table: "DeltaTable",
        frame: "pl.DataFrame",
        app: App | None,
        said: Mapping[str, str] | None,
    ) -> None:
        from deltalake import CommitProperties, Transaction, write_deltalake

        has_all = {field.name for field in table.schema().fields} == set(frame.columns)
        write_deltalake(
            table,
            frame,
            mode="append",
            schema_mode=None if has_all else "merge",
            commit_properties=CommitProperties(
                custom_metadata=dict(said or {}),
                max_commit_retries=100,
                app_transactions=[Transaction(*app)] if app is not None else None,
            ),
            post_commithook_properties=keep_log(),
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
        """Compacts one table; a conflict with another process leaves it for next time."""
        from deltalake.exceptions import CommitFailedError

        with self._lock, reached(self._handles.table_uri(row_type)):
            try:
                table = self._handles.made(row_type)
                removed = _compact(table, small_files)
                table.create_checkpoint()
            except CommitFailedError:
                removed = 0
            self._handles.forget(row_type)
            return removed


def _compact(table: "DeltaTable", small_files: int) -> int:
    """Compacts a table that has too many files; gives how many were replaced."""
    partitions = max(1, len(table.partitions()))
    if len(table.file_uris()) <= min(small_files * partitions, partitions + SPARE_FILES):
        return 0
    metrics = table.optimize.compact(post_commithook_properties=keep_log())
    return int(metrics["numFilesRemoved"])
