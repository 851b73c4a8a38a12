"""The message about a change that does not fit, so that its author can repair it.

It says which hunk or block, what was expected, what the file has instead and where, and what to do.
Quoted lines are data, cut to a bounded size.
"""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from assets.errors import PatchError
from assets.ladder.hunk import Hunk, before
from assets.ladder.source import Source

MOST_LINES = 12
MOST_CHARACTERS = 160
MOST_COMPARED = 5000
WORD = re.compile(r"\w")


def misfit(hunk: Hunk, path: str, source: Source) -> PatchError:
    """A hunk that fits nowhere."""
    wanted = before(hunk.lines)
    head = f"{path}: {hunk.where}: "
    if not wanted:
        return PatchError(
            f"{head}it quotes no line of the file, which is not empty. Quote the lines that the "
            "insertion follows"
        )
    if not any(WORD.search(line) for line in wanted):
        return PatchError(
            f"{head}it quotes only blank lines and signs, which stand anywhere. Quote lines with "
            "words around the change"
        )
    return PatchError(
        f"{head}its text stands 0 times in the file, expected once. It expects\n"
        f"{quoted(wanted)}\n{_closest(wanted, source)}\n"
        "Copy the lines that stay or go from the file as they are, with their indentation"
    )


def ambiguous(hunk: Hunk, path: str, source: Source, starts: Sequence[int]) -> PatchError:
    """A hunk that fits in several places."""
    places = ", ".join(str(start + 1) for start in starts[:MOST_LINES])
    return PatchError(
        f"{path}: {hunk.where}: its text stands {len(starts)} times in the file, expected once: at "
        f"lines {places}. It expects\n{quoted(before(hunk.lines))}\n"
        "Quote more lines around the change, so that they stand in one place only"
    )


def quoted(lines: Sequence[str], numbers: Sequence[int] | None = None) -> str:
    """Lines as data, each after its number in the file and a bar; cut to a bounded size."""
    shown = list(lines[:MOST_LINES])
    margins = [f"{n:5d} | " for n in numbers] if numbers else ["      | "] * len(shown)
    rows = [
        margin + (line if len(line) <= MOST_CHARACTERS else line[:MOST_CHARACTERS] + " ...")
        for margin, line in zip(margins, shown, strict=False)
    ]
    more = len(lines) - len(shown)
    return "\n".join(rows + [f"      | ... {more} more lines"] * (more > 0))


def _closest(wanted: Sequence[str], source: Source) -> str:
    """The lines of the file that come closest, with their numbers."""
    lines = [line.rstrip() for line in source.lines]
    start = _best_start([line.rstrip() for line in wanted], lines)
    if start is not None:
        window = range(max(0, start), min(len(lines), start + len(wanted)))
        other = [i for i in window if lines[i].strip() != wanted[i - start].strip()] or [*window]
        return (
            f"At line {max(0, start) + 1} the file comes closest; where it differs it has\n"
            + quoted([lines[i] for i in other], [i + 1 for i in other])
        )
    near = _close_lines(next(line for line in wanted if WORD.search(line)), lines)
    if not near:
        return "Nothing in the file is like it"
    return "The closest lines of the file are\n" + quoted(
        [lines[i] for i in near], [i + 1 for i in near]
    )


def _best_start(wanted: Sequence[str], lines: Sequence[str]) -> int | None:
    """Where the text would have to begin for most of its lines to match the file's."""
    places: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        if WORD.search(line):
            places.setdefault(line.strip(), []).append(number)
    votes = Counter(
        at - index
        for index, line in enumerate(wanted[:MOST_COMPARED])
        for at in places.get(line.strip(), [])[:MOST_LINES]
    )
    return votes.most_common(1)[0][0] if votes else None


def _close_lines(wanted: str, lines: Sequence[str]) -> list[int]:
    known = {_code(line): number for number, line in enumerate(lines[:MOST_COMPARED])}
    return sorted(known[near] for near in get_close_matches(_code(wanted), known, n=3, cutoff=0.6))


def _code(line: str) -> str:
    """The part of a line that is compared: without its comment, unless it is one."""
    return (line.partition("#")[0].strip() or line.strip())[:MOST_CHARACTERS]
