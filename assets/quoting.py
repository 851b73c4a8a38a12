"""Text from jobs and models where people see it.

Their words are data: a terminal must not obey them, and rich must not read them as markup. What is
stored stays as it was written, and what is piped to a program stays exact.
"""

from collections.abc import Iterator
from dataclasses import replace

from rich.text import Text

from lake import FORMATS, Result
from launchers.visible import visible

TITLE_CHARACTERS = 200
"""A longer title is cut where it shares a line with figures."""
MARK = "| "
"""Begins each line of a quotation, so that none can pass for a line of ours."""


def one_line(text: str, *, limit: int = TITLE_CHARACTERS) -> str:
    """A title as one line: hidden characters shown, runs of spaces made one."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def title_cell(text: str) -> Text:
    """A title for a table of rich: `[red]` and `[link=...]` are letters in it."""
    return Text(one_line(text))


def quotation(text: str) -> Iterator[str]:
    """The lines of a text, each with the mark of a quotation before it."""
    return (MARK + line for line in visible(text).split("\n"))


def answer_text(result: Result, form: str, *, terminal: bool) -> str:
    """What a query gave, as `varve sql` prints it.

    Args:
        result: rows whose cells may hold anything that a job or a model wrote.
        form: a key of `lake.FORMATS`.
        terminal: whether it is printed on one; a table is for people in any case.
    """
    if terminal or form == "table":
        result = replace(
            result,
            columns=tuple(visible(name) for name in result.columns),
            rows=[tuple(_visible_cell(cell) for cell in row) for row in result.rows],
        )
    return FORMATS[form](result)


def _visible_cell(cell: object) -> object:
    """A cell with every text in it made visible, at any depth."""
    if isinstance(cell, str):
        return visible(cell)
    if isinstance(cell, dict):
        return {_visible_cell(key): _visible_cell(value) for key, value in cell.items()}
    if isinstance(cell, list):
        return [_visible_cell(item) for item in cell]
    if isinstance(cell, tuple):
        return tuple(_visible_cell(item) for item in cell)
    return cell
