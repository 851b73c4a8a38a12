"""Text from jobs, models and files where people see it.

Their words are data: a terminal must not obey them, and rich must not read them as markup. What is
stored stays as it was written, and what is piped to a program stays exact.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from rich.text import Text

from lake import FORMATS, Result
from launchers.visible import shortened, visible

TOLD_CHARACTERS = 4_000
"""What a page says of an error; of a longer one its head and its tail."""
FENCES = re.compile("`+")
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


def told(text: str) -> str:
    """What an error says, for a page of plain text: nothing in it hidden, and not too long."""
    return shortened(visible(text), TOLD_CHARACTERS)


def markdown_block(text: str) -> str:
    """The same where Markdown is rendered: a block of code that the text cannot close."""
    shown = told(text)
    fence = "`" * max(3, 1 + max(map(len, FENCES.findall(shown)), default=0))
    return f"{fence}\n{shown}\n{fence}"


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
