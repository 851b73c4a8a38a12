"""The columns of every table, derived from the annotations of the row dataclasses.

`lake.tables` is the one place that says what a column means; this file says how it is typed in
polars, in Delta and in DuckDB. Tables of a stage have one more column than the row type: `seq`,
the sequence number of the attempt event that made the row visible.
"""

import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from lake.stages import STAGE_TABLES
from lake.tables import Row

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

SCHEMA_VERSION = 4
"""Raised by one when a row type gains a column or a meaning; stored in every table's properties."""
SEQ = "seq"
"""The stored column that says which attempt event made a row visible."""
RETIRED = {"runs": ("result",)}
"""Text columns that older schemas wrote and that are still read, see `lake.retired`."""


class Kind(StrEnum):
    """The column types that the lake knows."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIME = "time"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    nullable: bool
    item: Kind | None = None
    """Type of the elements of a list, or of the values of a map."""
    words: type[StrEnum] | None = None
    """The closed vocabulary of a text column."""


_SCALARS: dict[type, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    float: Kind.FLOAT,
    bool: Kind.BOOLEAN,
    datetime: Kind.TIME,
}
_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.FLOAT: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIME: "TIMESTAMP WITH TIME ZONE",
}

_DELTA_TYPES = {
    Kind.TEXT: "string",
    Kind.INTEGER: "long",
    Kind.FLOAT: "double",
    Kind.BOOLEAN: "boolean",
    Kind.TIME: "timestamp",
}


def per_row_type(function: Callable[[type[Row]], T]) -> Callable[[type[Row]], T]:
    """Remembers a function's answer for each row type."""
    known: dict[type[Row], T] = {}

    @wraps(function)
    def answer(row_type: type[Row]) -> T:
        if row_type not in known:
            known[row_type] = function(row_type)
        return known[row_type]

    return answer


@per_row_type
def row_columns(row_type: type[Row]) -> tuple[Column, ...]:
    """The columns of a row type, in the order of its fields."""
    hints = typing.get_type_hints(row_type)
    return tuple(_column(field.name, hints[field.name]) for field in fields(row_type))


@per_row_type
def stored_columns(row_type: type[Row]) -> tuple[Column, ...]:
    """The columns of the row type's table: `row_columns`, and `seq` where a stage writes it."""
    columns = row_columns(row_type)
    if row_type.table in STAGE_TABLES:
        columns += (Column(name=SEQ, kind=Kind.INTEGER, nullable=False),)
    return columns


def _column(name: str, annotation: object) -> Column:
    """Reads one annotation."""
    hint: Any = annotation
    nullable = isinstance(hint, types.UnionType)
    if nullable:
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return Column(name=name, kind=Kind.LIST, nullable=nullable, item=_SCALARS[inner[0]])
    if origin is dict:
        return Column(name=name, kind=Kind.MAP, nullable=nullable, item=_SCALARS[inner[1]])
    if issubclass(hint, StrEnum):
        return Column(name=name, kind=Kind.TEXT, nullable=nullable, words=hint)
    return Column(name=name, kind=_SCALARS[hint], nullable=nullable)


def sql_type(column: Column) -> str:
    """DuckDB's name for the type of a column."""
    if column.item is None:
        return _SQL_TYPES[column.kind]
    item = _SQL_TYPES[column.item]
    return f"{item}[]" if column.kind is Kind.LIST else f"MAP(VARCHAR, {item})"


def delta_schema(row_type: type[Row]) -> str:
    """The Delta schema of a table, in Delta's JSON; every column may be null there."""
    columns = stored_columns(row_type)
    parts = [
        {"name": c.name, "type": _delta_type(c), "nullable": True, "metadata": {}} for c in columns
    ]
    return json.dumps({"type": "struct", "fields": parts})


def _delta_type(column: Column) -> str | dict[str, object]:
    if column.item is None:
        return _DELTA_TYPES[column.kind]
    item = _DELTA_TYPES[column.item]
    if column.kind is Kind.LIST:
        return {"type": "array", "elementType": item, "containsNull": True}
    return {"type": "map", "keyType": "string", "valueType": item, "valueContainsNull": True}


@per_row_type
def read_schema(row_type: type[Row]) -> "pl.Schema":
    """The polars schema of all that is read from a table, retired columns included."""
    import polars as pl

    retired = {name: pl.String() for name in RETIRED.get(row_type.table, ())}
    return pl.Schema({**frame_schema(row_type), **retired})


@per_row_type
def frame_schema(row_type: type[Row]) -> "pl.Schema":
    """The polars schema of what is written to a table."""
    import polars as pl

    scalars: dict[Kind, pl.DataType] = {
        Kind.TEXT: pl.String(),
        Kind.INTEGER: pl.Int64(),
        Kind.FLOAT: pl.Float64(),
        Kind.BOOLEAN: pl.Boolean(),
        Kind.TIME: pl.Datetime("us", "UTC"),
    }

    def dtype(column: Column) -> "pl.DataType":
        if column.item is None:
            return scalars[column.kind]
        item = scalars[column.item]
        return pl.List(item) if column.kind is Kind.LIST else pl.Map(pl.String(), item)

    return pl.Schema({column.name: dtype(column) for column in stored_columns(row_type)})
