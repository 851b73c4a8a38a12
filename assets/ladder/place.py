"""The one place in a file where a hunk fits, from the strictest sense of fitting to the loosest.

1. The lines as they are.
2. Ignoring spaces at their ends.
3. Ignoring their indentation, if one rule explains it (`assets.ladder.indent`).
4. As part of a line, or of several; for blocks only (`assets.ladder.fragment`).
5. Ignoring comments in a few lines of context, or lines left out near a hunk's ends.

The first sense in which it fits at all decides: if it fits twice there, it is refused, not guessed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice

from assets.ladder.fragment import fragment
from assets.ladder.hunk import Hunk, Line, Lines, Mark, Placed, Reading, after, before, splices
from assets.ladder.indent import reindented
from assets.ladder.reasons import ambiguous, misfit
from assets.ladder.source import Source

MOST_PLACES = 20
MOST_DRIFTED = 2
"""Lines of context that may differ in a comment, or be a little way off at a hunk's ends."""
MOST_SKIPPED = 6
"""How many lines from a hunk its outermost context may be, if not next to it."""
LEAST_FITTING = 2
"""Lines with a word in them that must fit where others have drifted."""
MOST_COMPARED = 4_000_000
"""Pairs of lines that a search for drifted context may compare."""
WORD = re.compile(r"\w")

Found = list[Placed]


def place(hunk: Hunk, path: str, source: Source) -> Placed:
    """Find the one place for a hunk.

    Raises:
        PatchError: it fits nowhere, or in several places equally well.
    """
    for sense in (_exact, _but_for_ends, _but_for_indentation, _within_lines, _drifted):
        for reading in hunk.readings:
            found = sense(hunk, reading, source)
            if len(found) > 1:
                raise ambiguous(hunk, path, source, [at.start for at in found])
            if found:
                return found[0]
    raise misfit(hunk, path, source)


def _exact(hunk: Hunk, reading: Reading, source: Source) -> Found:
    return _plain(hunk, reading, source, str, ())


def _but_for_ends(hunk: Hunk, reading: Reading, source: Source) -> Found:
    lines = tuple(Line(line.mark, line.text.rstrip()) for line in reading.lines)
    trimmed = Reading(lines=lines, repair=reading.repair)
    return _plain(hunk, trimmed, source, str.rstrip, ("blanks at the ends of lines ignored",))


def _plain(
    hunk: Hunk,
    reading: Reading,
    source: Source,
    view: Callable[[str], str],
    repairs: tuple[str, ...],
) -> Found:
    """Places where the lines equal the file's, as `view` gives them."""
    wanted = before(reading.lines)
    found = occurrences(wanted, [view(line) for line in source.lines], hint=hunk.start)
    stated = [at for at in found if at == hunk.start]
    if wanted and not any(WORD.search(text) for text in wanted):
        found = stated
    elif len(found) > 1:
        found = stated or found
    return [_placed(hunk, reading, reading.lines, at, repairs) for at in found]


def _but_for_indentation(hunk: Hunk, reading: Reading, source: Source) -> Found:
    wanted = before(reading.lines)
    if not any(WORD.search(text) for text in wanted):
        return []
    places = occurrences([t.strip() for t in wanted], [t.strip() for t in source.lines])
    if len(places) == MOST_PLACES:  # there may be more that were not compared
        return []
    found = []
    for at in places:
        lines = _indented(reading.lines, source.lines[at : at + len(wanted)])
        if lines is not None:
            words = ("indented as the file is",)
            found.append(_placed(hunk, reading, lines, at, words))
    return found


def _indented(lines: Lines, found: Sequence[str]) -> Lines | None:
    """The hunk with the file's own indentation; None if no single rule explains it."""
    added = [line.text for line in lines if line.mark is Mark.ADDED]
    texts = reindented(before(lines), found, added, after(lines))
    if texts is None:
        return None
    new, old = iter(texts), iter(found)
    return tuple(Line(x.mark, next(new if x.mark is Mark.ADDED else old)) for x in lines)


def _within_lines(hunk: Hunk, reading: Reading, source: Source) -> Found:
    if not hunk.within or reading is not hunk.readings[0]:
        return []
    found = fragment(before(reading.lines), after(reading.lines), source.lines)
    return [
        Placed(where=hunk.where, start=splice.start, end=splice.end, splices=(splice,))
        for splice in found
    ]


def _drifted(hunk: Hunk, reading: Reading, source: Source) -> Found:
    """Places where all removed lines fit, and all but a few kept ones.

    Places that give the same change count as one.
    """
    lines = reading.lines
    if len(lines) * len(source.lines) > MOST_COMPARED or reading is not hunk.readings[0]:
        return []
    loose = _loose(lines)
    found: dict[object, Placed] = {}
    for lead in range(MOST_DRIFTED + 1):
        for trail in range(MOST_DRIFTED + 1 - lead):
            inner = range(lead, len(lines) - trail)
            if not {*range(len(lines))} - {*inner} <= loose:
                continue
            for at in _fitting(lines, inner, loose, source, MOST_DRIFTED - lead - trail):
                if not _near(lines, inner, source, at):
                    continue
                cut = lines[inner.start : inner.stop]
                placed = _placed(hunk, reading, cut, at, ("context has drifted",), lead=lead)
                found.setdefault(placed.splices, placed)
    return list(found.values())


def _loose(lines: Lines) -> set[int]:
    """The lines that may have drifted: those that stay, except the neighbours of an insertion.

    A removed line marks the place of what replaces it; only its neighbours mark an insertion's.
    """
    kept = {index for index, line in enumerate(lines) if line.mark is Mark.KEPT}
    pins: set[int] = set()
    for mark, run in groupby(enumerate(lines), key=lambda x: x[1].mark is Mark.KEPT):
        inside = list(run)
        if not mark and all(line.mark is Mark.ADDED for _, line in inside):
            pins |= {inside[0][0] - 1, inside[-1][0] + 1}
    return kept - pins


def _fitting(
    lines: Lines, inner: range, loose: set[int], source: Source, left: int
) -> Iterator[int]:
    """The places where these lines of a hunk fit, if up to `left` loose ones may differ."""
    wanted = [
        (i in loose, lines[i].text.rstrip()) for i in inner if lines[i].mark is not Mark.ADDED
    ]
    if not wanted:
        return
    there = [line.rstrip() for line in source.lines]
    for at in range(len(there) - len(wanted) + 1):
        drifted, fitting = 0, 0
        for (may_drift, text), line in zip(wanted, islice(there, at, None), strict=False):
            if text == line:
                fitting += WORD.search(text) is not None
                continue
            drifted += 1
            if not may_drift or drifted > left or _code(text) != _code(line):
                break
        else:
            if fitting >= LEAST_FITTING:
                yield at


def _near(lines: Lines, inner: range, source: Source, at: int) -> bool:
    """Whether context cut off at a hunk's ends is near the rest: lines in between were left out.

    Context that is not near was made up, or belongs to another place.
    """
    end = at + len(before(lines[inner.start : inner.stop]))
    above = {line.rstrip() for line in source.lines[max(0, at - MOST_SKIPPED) : at]}
    below = {line.rstrip() for line in source.lines[end : end + MOST_SKIPPED]}
    return {line.text.rstrip() for line in lines[: inner.start]} <= above | {""} and {
        line.text.rstrip() for line in lines[inner.stop :]
    } <= below | {""}


def _code(line: str) -> str:
    """A line without its comment. Code may not drift: it may be a change that lacks its signs."""
    return line.partition("#")[0].strip()


def _placed(
    hunk: Hunk, reading: Reading, lines: Lines, at: int, repairs: tuple[str, ...], lead: int = 0
) -> Placed:
    words = [*([reading.repair] if reading.repair else []), *repairs]
    if hunk.start is not None and hunk.start + lead != at:
        moved = at - lead - hunk.start
        count = f"{abs(moved)} line{'s' * (abs(moved) != 1)}"
        words.append(f"applied {count} further {'down' if moved > 0 else 'up'}")
    return Placed(
        where=hunk.where,
        start=at,
        end=at + len(before(lines)),
        splices=tuple(splices(lines, at)),
        repairs=tuple(words),
    )


def occurrences(wanted: Sequence[str], lines: Sequence[str], hint: int | None = None) -> list[int]:
    """Where `wanted` occurs in `lines`: the first places, and `hint` if it is one."""
    if not wanted:
        return [0] if not lines else []
    text, needle = _joined(lines), _joined(wanted)
    found: list[int] = []
    at, counted, line = text.find(needle), 0, 0
    while at >= 0 and len(found) < MOST_PLACES:
        line += text.count("\n", counted, at)
        found.append(line)
        at, counted = text.find(needle, at + 1), at
    if hint is not None and hint not in found and [*lines[hint : hint + len(wanted)]] == [*wanted]:
        found.append(hint)
    return found


def _joined(lines: Sequence[str]) -> str:
    return "\n" + "".join(f"{line}\n" for line in lines)
