"""Line numbers that a model copied along with the code."""

import re
from collections.abc import Sequence
from itertools import pairwise

from assets.ladder.hunk import Line, Lines, Mark

NUMBERED = re.compile(r" *(?P<number>\d{1,6})(?:(?: ?[|:\u2502]|\t| {2}\|)(?: ?(?P<text>.*))?)?")
LEAST = 2
"""With fewer numbered lines than this, a number is taken for code."""


def without_numbers(lines: Lines) -> Lines | None:
    """The hunk without its line numbers; None unless they count up over all lines that it quotes.

    Of the added lines, all have numbers or none has, so that no number is taken for code and no
    code for a number.
    """
    read = [NUMBERED.fullmatch(line.text) for line in lines]
    there = [match for match, line in zip(read, lines, strict=True) if line.mark is not Mark.ADDED]
    new = [match for match, line in zip(read, lines, strict=True) if line.mark is Mark.ADDED]
    if not _count_up(there) or (None in new and any(new)):
        return None
    return tuple(
        Line(line.mark, match["text"] or "") if match else line
        for match, line in zip(read, lines, strict=True)
    )


def _count_up(matches: Sequence[re.Match[str] | None]) -> bool:
    numbers = [int(match["number"]) for match in matches if match]
    steps = {b - a for a, b in pairwise(numbers)}
    return LEAST <= len(numbers) == len(matches) and steps == {1}
