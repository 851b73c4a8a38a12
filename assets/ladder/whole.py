"""Whole-file answers, and the marks by which a model says that it left something out."""

import re
from collections import Counter
from collections.abc import Sequence

from assets.errors import PatchError
from assets.ladder.fences import Stretch
from assets.ladder.source import Source

LEAST_KEPT = 0.5
"""Share of a file's lines that an answer with the whole file must still have."""
ELIDED = re.compile(
    r"\s*(?:#|//|/\*|<!--|;|\"\"\")?\s*[\[(<{]?\s*(?:\.\.\.|\u2026)(?:[^\w].*|\s*)?"
    r"|\s*(?:#|//|/\*|<!--)\W*(?:(?:the )?(?:rest|remainder) of\b|"
    r"(?:the )?rest (?:is |remains |stays )?"
    r"(?:unchanged|the same|as)|(?:existing|previous|original|other|remaining|all other)\b.{0,40}"
    r"(?:code|lines|methods|functions|imports|unchanged|here|same|\.\.\.|\u2026)|"
    r"unchanged\b|same as "
    r"(?:before|above|the original)|(?:keep|leave)s? .{0,40}(?:unchanged|as (?:is|before))|"
    r"no changes?\b|.{0,60}(?:remains?|stays?|is|are) (?:unchanged|the same)\b|omitted\b|"
    r".{0,40}\bomitted for brevity|.{0,60}\b(?:code|file|lines?|as before) ?(?:\.\.\.|\u2026)).*"
    r"|\s*(?:#|//|/\*|<!--).{0,60}(?:\.\.\.|\u2026)[\s)\]]*(?:\*/|-->)?\s*",
    re.IGNORECASE,
)
MOST_CHARACTERS = 200


def elision(lines: Sequence[str], known: Sequence[str]) -> str | None:
    """The first line that stands in for others and is not in the file itself.

    Args:
        lines: what an answer puts into a file.
        known: the lines that the file has.
    """
    there = {line.strip() for line in known}
    return next((x for x in lines if x.strip() not in there and _elides(x)), None)


def _elides(line: str) -> bool:
    return len(line) <= MOST_CHARACTERS and ELIDED.fullmatch(line) is not None


def check_elision(where: str, lines: Sequence[str], known: Sequence[str]) -> None:
    """Refuse lines that leave code out.

    Raises:
        PatchError: quoting the first.
    """
    found = elision(lines, known)
    if found is not None:
        raise PatchError(
            f"{where}: found {found.strip()[:120]!r}, which stands for lines that are left out; "
            "expected every line that shall be there. Write them out, or change only the lines "
            "that differ by SEARCH/REPLACE blocks"
        )


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
