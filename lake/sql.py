"""SQL over the lake: DuckDB in memory, read-only, with the views of `lake.views`.

DuckDB's `delta` extension has to be downloaded; here the lake says which Parquet files are live and
DuckDB reads those. Only one statement at a time, and only one that reads. A statement is refused by
its kind, and DuckDB itself is shut off from every file outside the lake, so that no function can
reach one.

For object stores DuckDB would need a downloaded extension as well, so polars reads the whole tables
that a query mentions.
"""

import difflib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lake.delta import Lake
from lake.errors import QueryError, ReadOnlyError
from lake.stages import STAGE_TABLE
from lake.tables import TABLES
from lake.views import (
    COMPLETE_SQL,
    LEADERBOARD,
    LEADERBOARD_SQL,
    VIEWS,
    current_attempts,
    current_view,
    files_view,
    needed_views,
    quoted,
    relation_view,
    stored_table,
)

if TYPE_CHECKING:
    import duckdb

STAGE_OF = {table: stage for stage, table in STAGE_TABLE.items()}
EXPLAIN = re.compile(r"\s*explain\b\s*(analyze\b|\([^()']*\))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a query returned."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """DuckDB's names, for example `VARCHAR` or `MAP(VARCHAR, DOUBLE)`."""
    rows: list[tuple[Any, ...]]


def query(lake: Lake | str | Path, sql: str) -> Result:
    """Answers one read-only statement from what was committed when it was asked.

    Args:
        lake: The lake or its URI.
        sql: One SELECT, WITH, FROM, VALUES, EXPLAIN, DESCRIBE, SHOW or SUMMARIZE.

    Returns:
        Columns and rows; times are datetimes in UTC, maps are dicts, lists are lists.

    Raises:
        ReadOnlyError: The statement would change something, or reads outside the lake.
        QueryError: The statement fails.
        SchemaError: The lake was made by a newer schema.
    """
    import duckdb

    if not _is_text(sql):
        raise QueryError(
            where="SQL",
            found="bytes that are not UTF-8",
            expected="a statement in UTF-8",
            todo="Write it anew, or pass it through iconv",
        )
    source = lake if isinstance(lake, Lake) else Lake.open(lake)
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
    try:
        _refuse_writing(connection, sql)
        _prepare(connection, source, sql)
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(_answer, connection, sql)
            try:
                return answer.result()
            except KeyboardInterrupt:
                connection.interrupt()
                raise
    except duckdb.Error as error:
        raise _readable(error, sql) from error
    finally:
        connection.close()


def _is_text(sql: str) -> bool:
    """Whether a statement can be written in UTF-8: bytes of a command line may be anything."""
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True


def _answer(connection: "duckdb.DuckDBPyConnection", sql: str) -> Result:
    """What a statement gives; in a thread of its own, so that Ctrl-C finds one that listens."""
    connection.execute(sql)
    described = connection.description or []
    return Result(
        columns=tuple(column[0] for column in described),
        types=tuple(str(column[1]) for column in described),
        rows=connection.fetchall(),
    )


def connect(
    lake: Lake | str | Path, *, views: set[str] | None = None
) -> "duckdb.DuckDBPyConnection":
    """A connection that has the views and cannot reach outside the lake; for many queries.

    Args:
        lake: The lake or its URI.
        views: Names of the views to make; None for all.

    Returns:
        An open connection; it sees what was committed when it was made.
    """
    import duckdb

    source = lake if isinstance(lake, Lake) else Lake.open(lake)
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
    _prepare(connection, source, " ".join(views or ()))
    return connection


def _prepare(connection: "duckdb.DuckDBPyConnection", lake: Lake, sql: str) -> None:
    """Makes the views that the text mentions, then shuts off everything outside the lake."""
    mentioned = set(re.findall(r"\w+", sql.lower())) & set(VIEWS)
    needed = needed_views(mentioned)
    for name in needed:
        if name == LEADERBOARD:
            connection.execute(LEADERBOARD_SQL)
        elif name in STAGE_OF:
            connection.execute(current_view(STAGE_OF[name]))
        else:
            _history(connection, lake, name)
        if name == "attempts":
            connection.execute(COMPLETE_SQL)
            if any(each in STAGE_OF for each in needed):
                connection.execute(current_attempts())
    connection.execute("SET TimeZone = 'UTC'")
    for setting in (
        f"allowed_directories = [{quoted(lake.uri + '/')}]" if lake.is_local else "",
        "parquet_metadata_cache = true",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        if setting:
            connection.execute(f"SET {setting}")


def _history(connection: "duckdb.DuckDBPyConnection", lake: Lake, view: str) -> None:
    """Makes one view that reads a table as it is stored."""
    row_type = TABLES[stored_table(view)]
    files = lake.files(row_type)
    if lake.is_local or not files:
        names, grown = lake.stored(row_type)
        statement = files_view(view, row_type, files, stored=names, grown=grown)
    else:
        from arro3.core import Table

        frame = lake.scan(row_type, files).collect()
        connection.register(f"{view}_frame", Table.from_arrow(frame))
        statement = relation_view(view, row_type, f"{view}_frame")
    connection.execute(statement)


def _refuse_writing(connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
    """Allows one statement that reads; what EXPLAIN explains must read too, since ANALYZE runs it.

    What is checked is exactly the text that runs: comments stay in, since DuckDB's can nest.
    """
    from duckdb import ParserException, StatementType

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(
            where="SQL",
            found=f"{len(statements)} statements",
            expected="one",
            todo="Ask one question at a time",
        )
    kind = statements[0].type
    explained = EXPLAIN.match(sql) if kind == StatementType.EXPLAIN else None
    if explained is not None:
        try:
            _refuse_writing(connection, sql[explained.end() :])
        except ParserException as error:
            raise ReadOnlyError(
                where="SQL",
                found="an EXPLAIN that may do more than read",
                expected="EXPLAIN or EXPLAIN ANALYZE right before a SELECT",
                todo="Put comments after the SELECT",
            ) from error
    elif kind != StatementType.SELECT:
        raise ReadOnlyError(
            where="SQL",
            found=f"a {kind.name} statement",
            expected="SELECT, WITH, EXPLAIN, DESCRIBE, SHOW or SUMMARIZE, as the lake is read-only",
            todo="To keep a result, print it: varve sql --format csv '...' > result.csv",
        )


def _readable(error: "duckdb.Error", sql: str) -> QueryError:
    """DuckDB's error with what the lake can add to it."""
    import duckdb

    text = str(error).strip()
    missing = re.search(r"Table with name \"?(.+?)\"? does not exist", text)
    if isinstance(error, duckdb.PermissionException):
        return ReadOnlyError(
            where="SQL",
            found=text,
            expected="a statement that reads the lake and nothing else",
            todo=f"Use the tables {', '.join(VIEWS)}",
        )
    if missing:
        close = difflib.get_close_matches(missing[1].lower(), VIEWS, n=3, cutoff=0.5)
        return QueryError(
            where="SQL",
            found=f"the unknown table {missing[1]!r}",
            expected=f"one of {', '.join(VIEWS)}",
            todo=f"Did you mean {' or '.join(close)}?" if close else "SHOW TABLES lists them",
        )
    return QueryError(
        where="SQL",
        found=text,
        expected="a statement that DuckDB understands",
        todo="DESCRIBE <table> shows the columns of a table",
    )
