"""How a query's result is shown: a table for people, CSV and JSON for programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from lake.sql import Result

if TYPE_CHECKING:
    from rich.table import Table

Cell: TypeAlias = object
WIDER_THAN_ANY = 1_000_000
"""Width of a terminal, in columns, that fits every table."""


def as_table(result: Result) -> str:
    """A box with one line per row; long text is folded to the width of the terminal.

    If the columns do not fit side by side, each row gets a box with one line per column.
    """
    from rich.console import Console
    from rich.measure import Measurement

    text = io.StringIO()
    console = Console(file=text, width=None if result.columns else 80)
    table = _side_by_side(result)
    anywhere = console.options.update_width(WIDER_THAN_ANY)
    if Measurement.get(console, anywhere, table).minimum <= console.width:
        console.print(table)
    else:
        console.print(_below_each_other(result))
    return text.getvalue()


def _side_by_side(result: Result) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=_count(result), caption_justify="left")
    for name, kind in zip(result.columns, result.types, strict=True):
        table.add_column(Text(name), justify="right" if _is_number(kind) else "left")
    for row in result.rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    return table


def _below_each_other(result: Result) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=_count(result), caption_justify="left", show_header=False)
    for row in result.rows:
        for name, cell in zip(result.columns, row, strict=True):
            table.add_row(Text(name), Text(_shown(cell)))
        table.add_section()
    return table


def _count(result: Result) -> str:
    return f"{len(result.rows)} row" + "s" * (len(result.rows) != 1)


def as_csv(result: Result) -> str:
    """A header and one record per row; null is empty, lists and maps are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_field(cell) for cell in row] for row in result.rows)
    return text.getvalue()


def as_json(result: Result) -> str:
    """A list of objects; times are ISO text, maps are objects, null is null.

    A column whose name stands before it already has a number: `value`, `value_1`.
    """
    names = _told_apart(result.columns)
    records = [
        {name: _plain(cell) for name, cell in zip(names, row, strict=True)} for row in result.rows
    ]
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _told_apart(columns: Sequence[str]) -> list[str]:
    """The names, the second of the same name with `_1`, and so on."""
    names: list[str] = []
    for column in columns:
        others = (f"{column}_{number}" for number in count(1))
        taken = {*names, *columns}
        names.append(column if column not in names else next(n for n in others if n not in taken))
    return names


FORMATS: dict[str, Callable[[Result], str]] = {"table": as_table, "csv": as_csv, "json": as_json}


def _is_number(kind: str) -> bool:
    return kind.endswith("INT") or kind.startswith(("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGINT"))


def _shown(cell: Cell) -> str:
    """A cell for people: six significant digits, nulls empty."""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ", timespec="seconds")
    return str(_field(cell))


def _field(cell: Cell) -> Cell:
    """A cell of a CSV record."""
    plain = _plain(cell)
    if plain is None:
        return ""
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else plain


def _plain(cell: Cell) -> Cell:
    """A cell as JSON writes it; numbers that JSON cannot write become text."""
    if isinstance(cell, dict):
        return {str(key): _plain(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_plain(item) for item in cell]
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, float) and cell - cell != 0:
        return str(cell)
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, timedelta | UUID):
        return str(cell)
    return cell.hex() if isinstance(cell, bytes | bytearray) else cell
