"""Whole-file answers."""

from collections import Counter
from collections.abc import Sequence

from assets.errors import PatchError
from assets.ladder.elision import check_elision
from assets.ladder.fences import Stretch
from assets.ladder.source import Source

LEAST_KEPT = 0.5
"""Share of a file's lines that an answer with the whole file must still have."""


def whole_file(stretch: Stretch, path: str, source: Source | None) -> Source:
    """The file that a fence holds.

    Raises:
        PatchError: the fence is empty, elides lines, or is an excerpt.
    """
    if not any(line.strip() for line in stretch.lines):
        raise PatchError(f"{path}: the fence under its path is empty, expected the whole file")
    known = source.lines if source else ()
    check_elision(f"{path}, whole file", stretch.lines, known)
    kept = _kept(known, stretch.lines)
    if kept < LEAST_KEPT * len([line for line in known if line.strip()]):
        raise PatchError(
            f"{path}: the fence under its path has {kept} of the file's {len(known)} lines, which "
            "looks like an excerpt; expected the whole file. Write it out, or change only the "
            "lines that differ by SEARCH/REPLACE blocks"
        )
    if source is None:
        return Source(lines=stretch.lines)
    return Source(lines=stretch.lines, crlf=source.crlf, closed=source.closed)


def _kept(known: Sequence[str], lines: Sequence[str]) -> int:
    """How many lines of a file are still there; blank ones do not count."""
    old, new = (Counter(line.strip() for line in side if line.strip()) for side in (known, lines))
    return (old & new).total()
