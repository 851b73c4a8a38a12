"""One change as an answer describes it, and the splices that it makes in a file.

A SEARCH/REPLACE block and a hunk of a diff are the same thing here: lines kept, removed and added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum

MOST_ALIGNED = 1000
"""Most lines of a block that are compared to find those that stay."""


class Mark(StrEnum):
    """What becomes of a line."""

    KEPT = " "
    """It is there before and after."""
    REMOVED = "-"
    """It is there before."""
    ADDED = "+"
    """It is there after."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a hunk."""

    mark: Mark
    text: str


Lines = tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a hunk's lines."""

    lines: Lines
    repair: str | None = None
    """What had to be repaired to read it this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """A change in one place."""

    where: str
    """Its name in words, such as `hunk 2`."""
    readings: tuple[Reading, ...]
    """The plain one first."""
    start: int | None = None
    """The line at which it says it begins, from 0; None if that is not believed."""
    closed: bool | None = None
    """Whether the file is to end with a line feed; None leaves it as it is."""
    within: bool = False
    """It may begin or end within a line."""

    @property
    def lines(self) -> Lines:
        """The plain reading."""
        return self.readings[0].lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """Put `new` in place of the lines from `start` up to `end`."""

    start: int
    end: int
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A hunk that has found its place in a file."""

    where: str
    start: int
    end: int
    splices: tuple[Splice, ...]
    repairs: tuple[str, ...] = field(default=())


def before(lines: Sequence[Line]) -> list[str]:
    """What a hunk expects to find."""
    return [line.text for line in lines if line.mark is not Mark.ADDED]


def after(lines: Sequence[Line]) -> list[str]:
    """What a hunk leaves behind."""
    return [line.text for line in lines if line.mark is not Mark.REMOVED]


def splices(lines: Sequence[Line], start: int) -> Iterator[Splice]:
    """The changes that a hunk makes when its first expected line is line `start` of the file."""
    at, first, new = start, start, list[str]()
    for line in lines:
        if line.mark is Mark.KEPT:
            if new or at > first:
                yield Splice(start=first, end=at, new=tuple(new))
            at += 1
            first, new = at, []
        elif line.mark is Mark.REMOVED:
            at += 1
        else:
            new.append(line.text)
    if new or at > first:
        yield Splice(start=first, end=at, new=tuple(new))


def aligned(search: Sequence[str], replace: Sequence[str]) -> Lines:
    """A block as lines that are kept, removed and added."""
    if len(search) + len(replace) > MOST_ALIGNED:
        return (*_marked(Mark.REMOVED, search), *_marked(Mark.ADDED, replace))
    lines: list[Line] = []
    for tag, i, j, k, m in SequenceMatcher(None, search, replace, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += _marked(Mark.KEPT, search[i:j])
        else:
            lines += _marked(Mark.REMOVED, search[i:j]) + _marked(Mark.ADDED, replace[k:m])
    return tuple(lines)


def _marked(mark: Mark, texts: Sequence[str]) -> list[Line]:
    return [Line(mark, text) for text in texts]
