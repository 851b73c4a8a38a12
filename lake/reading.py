"""Reading a lake: rows, whole layers, columns and attempts, from the live files of its tables.

What was read once and cannot change is kept (`lake.kept`). Not here: appending (`lake.delta`), and
SQL (`lake.sql`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lake.attempts import Attempt, AttemptLog, Read
from lake.columns import SEQ, read_schema
from lake.handles import PARTITIONS, Handles, Stored, reached, stored
from lake.kept import FILE, Kept
from lake.properties import schema_version
from lake.schema import from_frame, sort_rows
from lake.stages import STAGE_TABLES, stage_of
from lake.tables import AttemptEvent, Row

if TYPE_CHECKING:
    import polars as pl

R = TypeVar("R", bound=Row)


class Reading:
    """The reading half of a `Lake`."""

    def __init__(self, uri: str) -> None:
        """Opens nothing yet."""
        self.uri = uri
        self._handles = Handles(uri)
        self._lock = self._handles.lock
        self._kept = Kept()

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return self._handles.is_local

    def is_in_place(self) -> bool:
        """Whether the folders of the tables that were opened are still there, and no others."""
        return self._handles.in_place()

    def read(
        self,
        row_type: type[R],
        *,
        campaign: str | None = None,
        epoch: int | Collection[int] | None = None,
        n: int | None = None,
        seq: int | None = None,
        where: Mapping[str, Collection[str]] | None = None,
    ) -> list[R]:
        """Everything ever appended that matches, rows of attempts that never closed included.

        Args:
            row_type: Which table.
            campaign: Only this one.
            epoch: Only this one, or these.
            n: Only rows of this attempt of their stage.
            seq: Only rows up to this event of their attempt (tables of a stage).
            where: Text column -> the values that it may have.

        Returns:
            Rows in the order of the work, see `sort_rows`.
        """
        files = self.files(row_type, campaign=campaign, epoch=epoch)
        if epoch is None:
            for column, values in (where or {}).items():
                files = self._holding(row_type, files, (column, campaign or ""), values)
        if not files:
            return []
        import polars as pl

        with reached(self._handles.table_uri(row_type)):
            frame = self.scan(row_type, files)
            if n is not None:
                frame = frame.filter(pl.col("n") == n)
            if seq is not None and row_type.table in STAGE_TABLES:
                frame = frame.filter(pl.col(SEQ) <= seq)
            for column, values in (where or {}).items():
                frame = frame.filter(pl.col(column).is_in(sorted(values)))
            return sort_rows(from_frame(row_type, frame.collect()))

    def _holding(
        self,
        row_type: type[Row],
        files: list[str],
        place: tuple[str, str],
        values: Collection[str],
    ) -> list[str]:
        """Those of the files of (text column, campaign) that have one of these values."""
        if not files or not values:
            return []
        import polars as pl

        column, campaign = place
        lines = self._columns(row_type, [column], files, campaign)
        found = set(lines.filter(pl.col(column).is_in(sorted(values)))[FILE].unique())
        return [file for file in files if file in found]

    def columns(
        self, row_type: type[Row], names: Sequence[str], *, campaign: str
    ) -> "pl.DataFrame | None":
        """Some columns of everything that a campaign ever appended to a table.

        What was read once is kept, up to `lake.kept.MOST_BYTES`.

        Returns:
            Lines in no order; None where there are none.
        """
        files = self.files(row_type, campaign=campaign)
        return self._columns(row_type, names, files, campaign).drop(FILE) if files else None

    def _columns(
        self, row_type: type[Row], names: Sequence[str], files: list[str], campaign: str
    ) -> "pl.DataFrame":
        """Columns of the files of a campaign (of all, where it is empty), and FILE."""
        import polars as pl

        file = pl.col(FILE).cast(pl.Categorical)
        with reached(self._handles.table_uri(row_type)):
            return self._kept.columns(
                (row_type.table, campaign, *names),
                files,
                lambda new: self.scan(row_type, new, path=FILE).select(file, *names).collect(),
            )

    def layer(self, row_type: type[R], campaign: str, read: Read) -> list[R]:
        """The rows of a stage's table exactly as a reader of (attempt, sequence) saw them."""
        return self.read(row_type, campaign=campaign, epoch=read.epoch, n=read.n, seq=read.seq)

    def layers(
        self, row_type: type[R], campaign: str, reads: Collection[Read]
    ) -> dict[Read, list[R]]:
        """`layer` of many reads at once; one pass, where no two are of the same epoch."""
        layers: dict[Read, list[R]] = {read: [] for read in reads}
        pending = set(reads)
        while pending:
            by_epoch = {read.epoch: read for read in pending}
            pending.difference_update(by_epoch.values())
            frame = self._visible(row_type, campaign, by_epoch.values())
            for row in sort_rows(from_frame(row_type, frame)) if frame is not None else []:
                layers[by_epoch[row.epoch]].append(row)
        return layers

    def attempts(self, campaign: str) -> AttemptLog:
        """The attempts of a campaign, as committed."""
        files = self.files(AttemptEvent, campaign=campaign)
        with reached(self._handles.table_uri(AttemptEvent)):
            return self._kept.attempts(
                campaign,
                files,
                lambda fresh: from_frame(AttemptEvent, self.scan(AttemptEvent, fresh).collect()),
            )

    def current(
        self, row_type: type[R], campaign: str, *, epoch: int | Collection[int] | None = None
    ) -> list[R]:
        """The rows of a stage's table that belong to the current attempt of their epoch."""
        log, stage = self.attempts(campaign), stage_of(row_type)
        chosen: dict[int, Attempt] = {}
        for each in log.epochs():
            attempt = log.current(each).get(stage)
            if attempt is not None:
                chosen[each] = attempt
        wanted = chosen if epoch is None else _epochs(epoch)
        frame = self._visible(row_type, campaign, [chosen[e].read for e in wanted if e in chosen])
        return sort_rows(from_frame(row_type, frame)) if frame is not None else []

    def _visible(
        self, row_type: type[Row], campaign: str, reads: Collection[Read]
    ) -> "pl.DataFrame | None":
        """The stored lines that these reads see, one read for each epoch at most."""
        files = self.files(row_type, campaign=campaign, epoch={read.epoch for read in reads})
        if not files:
            return None
        import polars as pl

        wanted = pl.LazyFrame(
            [(read.epoch, read.n, read.seq) for read in reads],
            schema={"epoch": pl.Int64, "n": pl.Int64, "upto": pl.Int64},
            orient="row",
        )
        with reached(self._handles.table_uri(row_type)):
            lines = self.scan(row_type, files).join(wanted, on=["epoch", "n"], how="inner")
            return lines.filter(pl.col(SEQ) <= pl.col("upto")).drop("upto").collect()

    def files(
        self,
        row_type: type[Row],
        *,
        campaign: str | None = None,
        epoch: int | Collection[int] | None = None,
    ) -> list[str]:
        """URIs of the live Parquet files of a table, pruned by partition."""
        filters: list[tuple[str, str, Any]] = []
        if campaign is not None:
            filters.append(("campaign", "=", campaign))
        if epoch is not None:
            filters.append(("epoch", "in", [str(e) for e in sorted(_epochs(epoch))]))
            if not filters[-1][2]:
                return []
        with self._lock, reached(self._handles.table_uri(row_type)):
            table = self._handles.newest(row_type)
            if table is None:
                return []
            uris = table.file_uris(file_pruning_predicate=filters or None)
        return [self._plain_path(row_type, uri) for uri in uris] if self.is_local else uris

    def _plain_path(self, row_type: type[Row], uri: str) -> str:
        """A local file's path; deltalake percent-encodes spaces and non-ASCII letters in it."""
        first = f"/{PARTITIONS[0]}="
        return f"{self._handles.table_uri(row_type)}{first}{uri.rpartition(first)[2]}"

    def scan(
        self, row_type: type[Row], files: list[str], *, path: str | None = None
    ) -> "pl.LazyFrame":
        """A lazy frame over files of a table, with the columns that this version reads.

        Args:
            row_type: Which table.
            files: Of this table.
            path: Name of a further column that says from which file a line is.
        """
        import polars as pl

        schema = read_schema(row_type)
        hive = {name: schema[name] for name in PARTITIONS}
        return pl.scan_parquet(
            files,
            glob=False,
            schema={k: v for k, v in schema.items() if k not in hive},
            hive_partitioning=True,
            hive_schema=hive,
            missing_columns="insert",
            extra_columns="ignore",
            include_file_paths=path,
        )

    def version(self, row_type: type[Row]) -> int | None:
        """Schema version of a table; None while the table does not exist."""
        with self._lock, reached(self._handles.table_uri(row_type)):
            table = self._handles.newest(row_type)
            return None if table is None else schema_version(table)

    def stored(self, row_type: type[Row]) -> Stored:
        """The columns that a table has, and whether all of its files have them."""
        with self._lock, reached(self._handles.table_uri(row_type)):
            return stored(self._handles.newest(row_type))


def _epochs(epoch: int | Collection[int]) -> set[int]:
    return {epoch} if isinstance(epoch, int) else set(epoch)
