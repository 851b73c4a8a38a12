"""Rows to storage and back: every conversion between a row object and anything else is here.

A value that does not fit its annotation is refused here, naming the table, the row's key and the
column; so are NaN, infinities, text that UTF-8 cannot write, and dates without a time zone. None in
a row stays null in the table.

Not here: the types of the columns (`lake.columns`), reading (`lake.reading`) and writing of tables
(`lake.delta`), and the journal (`lake.journal`).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from lake.columns import (
    SCHEMA_VERSION,
    SEQ,
    Column,
    Kind,
    frame_schema,
    per_row_type,
    row_columns,
)
from lake.errors import RowError, SchemaError
from lake.retired import upgraded
from lake.stages import STAGE_TABLES
from lake.tables import Row

if TYPE_CHECKING:
    import polars as pl

R = TypeVar("R", bound=Row)

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
CAMPAIGN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def to_record(row: Row) -> dict[str, Any]:
    """A row as plain values: str, int, float, bool, datetime in UTC, list, dict, None.

    Raises:
        RowError: A value does not fit its column.
    """
    record: dict[str, Any] = {}
    for name, convert, nullable in _doors(type(row)):
        value = getattr(row, name)
        if value is None and nullable:
            record[name] = None
            continue
        try:
            record[name] = convert(value)
        except ValueError as error:
            raise _refusal(row, name, value, str(error)) from error
    if record["epoch"] < 0 or record["n"] < 0:
        raise _refusal(row, "epoch, n", (row.epoch, row.n), "numbers from 0")
    if not CAMPAIGN.fullmatch(row.campaign):
        raise _refusal(row, "campaign", row.campaign, "a name of letters, digits, '_', '.' and '-'")
    return record


def _refusal(row: Row, column: str, value: object, expected: str) -> RowError:
    """The error for a value that may not be stored."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return RowError(
        where=f"table {row.table}, row {getattr(row, row.key)!r}, column {column}",
        found=f"the value {shown}",
        expected=expected,
        todo="Store None with a reason where a value is missing; fix the code that made the row",
    )


@per_row_type
def _doors(row_type: type[Row]) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Name, conversion and nullability of each column."""
    return tuple((c.name, _door(c), c.nullable) for c in row_columns(row_type))


def _door(column: Column) -> Callable[[Any], Any]:
    """The function that turns a value of this column into a plain one, or raises ValueError."""
    if column.item is not None:
        item = _CONVERSIONS[column.item]
        return _list_door(item) if column.kind is Kind.LIST else _map_door(item)
    if column.words is not None:
        words = column.words

        def word(value: object) -> str:
            if not isinstance(value, words):
                raise ValueError(f"a member of {words.__name__}")
            return str(value.value)

        return word
    return _CONVERSIONS[column.kind]


def _list_door(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: object) -> list[Any]:
        if not isinstance(value, tuple):
            raise ValueError("a tuple")
        return [item(element) for element in value]

    return convert


def _map_door(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("a dict with text keys")
        return {_text(key): item(element) for key, element in value.items()}

    return convert


def _text(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, Enum):
        raise ValueError("text")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("text that UTF-8 can write (this has a lone surrogate)") from None
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not INT_MIN <= value <= INT_MAX:
        raise ValueError("a whole number of 64 bits")
    return int(value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return float(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _time(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("a datetime with a time zone")
    return value.astimezone(UTC)


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.TIME: _time,
}


def from_record(row_type: type[R], record: Mapping[str, Any]) -> R:
    """The row of plain values; a column that the record lacks gets the field's default.

    Args:
        row_type: A row type.
        record: As made by `to_record`, by a table or by JSON (times as ISO text).

    Returns:
        The row.

    Raises:
        SchemaError: A word outside its vocabulary, or a required column is missing.
    """
    values: dict[str, Any] = {}
    try:
        record = upgraded(row_type, record)
        for column in row_columns(row_type):
            value = record.get(column.name)
            if value is not None:
                values[column.name] = _restore(column, value)
            elif column.nullable:
                values[column.name] = None
            elif column.name not in _defaults(row_type):
                raise ValueError(f"no value in column {column.name}")
        return row_type(**values)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            where=f"table {row_type.table}, row {record.get(row_type.key)!r}",
            found=str(error),
            expected=f"a row of schema version {SCHEMA_VERSION}",
            todo="Use the version of Varve that wrote this lake, or a newer one",
        ) from error


def _restore(column: Column, value: object) -> object:
    """One stored value as the row type has it."""
    if column.words is not None:
        return column.words(str(value))
    if column.kind is Kind.TIME:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            raise ValueError(f"{value!r} in column {column.name}, which holds times")
        return moment.astimezone(UTC)
    if isinstance(value, list):
        return tuple(value)
    return value


@per_row_type
def _defaults(row_type: type[Row]) -> frozenset[str]:
    """The fields that a row can be made without."""
    given = (f for f in fields(row_type) if f.default is MISSING and f.default_factory is MISSING)
    return frozenset(f.name for f in fields(row_type)) - {f.name for f in given}


def to_frame(rows: Sequence[Row], *, seq: int = 0) -> "pl.DataFrame":
    """The frame that is written to the table of the rows.

    Args:
        rows: At least one; all of one type.
        seq: Attempt event that makes the rows visible; kept in tables that belong to a stage.

    Returns:
        One line per row, with the schema of `frame_schema`.

    Raises:
        RowError: A value does not fit its column, or the rows are of several types.
    """
    import polars as pl

    row_type = type(rows[0])
    for row in rows:
        if type(row) is not row_type:
            raise _refusal(row, "(row type)", type(row).__name__, f"rows of {row_type.__name__}")
    records = [to_record(row) for row in rows]
    if row_type.table in STAGE_TABLES:
        for record in records:
            record[SEQ] = seq
    return pl.DataFrame(records, schema=frame_schema(row_type), strict=True)


def from_frame(row_type: type[R], frame: "pl.DataFrame") -> list[R]:
    """The rows of a frame that `to_frame` made, in its order."""
    return [from_record(row_type, record) for record in frame.iter_rows(named=True)]


ORDER = ("campaign", "epoch", "stage", "n", "seq", "ordinal", "revision", "created_at")


def sort_rows(rows: Iterable[R]) -> list[R]:
    """Rows in the order of the work: epoch, attempt, then place, event or call; never by commit."""

    def place(row: R) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in _order(type(row)))

    return sorted(rows, key=place)


@per_row_type
def _order(row_type: type[Row]) -> tuple[str, ...]:
    """The columns that `sort_rows` sorts by."""
    names = {column.name for column in row_columns(row_type)}
    return (*(name for name in ORDER if name in names), row_type.key)
