"""The forgiving reading of unified diffs as models write them.

A hunk ends where its content says, not its counts; headers may be short or missing, and paths may
have any of the usual prefixes. All but changes of text are refused, as in `assets.diffs.validator`:
no rename, copy, mode, link, deletion or binary patch is read as something else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from assets.diffs.validator import NO_NEWLINE
from assets.errors import PatchError
from assets.ladder.headers import NOWHERE, extended, git_path, one_path, side_path
from assets.ladder.hunk import Hunk, Line, Lines, Mark, Reading, after, before
from assets.ladder.numbered import without_numbers

HUNK = re.compile(
    r"@@(?: *-(?P<start>\d{1,7})(?:,(?P<old>\d{1,7}))? +\+\d{1,7}(?:,(?P<new>\d{1,7}))? *@@)?.*"
)
SIGNATURE = re.compile(r"\d+\.\d+[\w.]*")
MOST_HUNKS = 256
MOST_LINES = 20_000
"""Of one hunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What a diff does to one file."""

    path: str
    is_new: bool
    """It says that the file did not exist before."""
    hunks: tuple[Hunk, ...]
    repairs: tuple[str, ...] = ()


def is_diff(lines: Sequence[str], *, said: bool = False) -> bool:
    """Whether a stretch of an answer holds a diff.

    Args:
        lines: the stretch.
        said: its fence says so, so less evidence will do.
    """
    return any(
        begins_diff(lines, at) or (said and line.startswith("@@")) for at, line in enumerate(lines)
    )


def read_sections(
    lines: Sequence[str], *, path: str | None, known: Sequence[str]
) -> Iterator[FileChange]:
    """The sections of a diff.

    Args:
        lines: a stretch of an answer.
        path: the file that is meant if no header names one.
        known: the paths of the environment, which tell a prefix from a folder.

    Raises:
        PatchError: naming the line, what was found there and what was expected.
    """
    starts = [at for at in range(len(lines)) if begins_diff(lines, at)]
    hunk = next((at for at, line in enumerate(lines) if line.startswith("@@")), len(lines))
    if path is not None and hunk < (starts[0] if starts else len(lines)):
        yield _section(lines[hunk : starts[0] if starts else len(lines)], hunk, path, False, ())
    for start, end in pairwise([*starts, len(lines)]):
        yield _read(lines, start, end, known)


def begins_diff(lines: Sequence[str], at: int) -> bool:
    """Whether a section begins at a line: git's header, or two sides without one."""
    line = lines[at]
    if line.startswith("diff --"):
        return True
    if not _sides(lines, at):
        return False
    back = at - 1
    while back >= 0 and _is_extended(lines[back]):
        back -= 1
    return not (back >= 0 and lines[back].startswith("diff --"))


def _sides(lines: Sequence[str], at: int) -> bool:
    return (
        lines[at].startswith("--- ")
        and at + 1 < len(lines)
        and (lines[at + 1].startswith("+++ ") or lines[at + 1] == "+++")
    )


def _is_extended(line: str) -> bool:
    return line[:1] not in {"@", "+", "-", " "} and not line.startswith("diff --")


def _read(lines: Sequence[str], start: int, end: int, known: Sequence[str]) -> FileChange:
    at, repairs = start, list[str]()
    header, is_new = None, False
    if lines[at].startswith("diff --"):
        header = git_path(lines[at], at, known)
        at += 1
        while at < end and _is_extended(lines[at]) and not _sides(lines, at):
            is_new |= extended(lines[at], at)
            at += 1
    else:
        repairs.append("header of git added")
    path = header
    if at < end and _sides(lines, at):
        old, new = (side_path(lines[n], n, known) for n in (at, at + 1))
        is_new |= old == NOWHERE
        path = one_path(header, old, new, at)
        at += 2
    if path is None or not (is_new or any(x[:1] in {"@", "+", "-"} for x in lines[at:end])):
        raise _refusal(lines, at, f"`--- a/{path or 'PATH'}`, `+++ b/{path or 'PATH'}` and a hunk")
    return _section(lines[at:end], at, path, is_new, tuple(repairs))


def _refusal(lines: Sequence[str], at: int, expected: str) -> PatchError:
    found = repr(lines[at][:120]) if at < len(lines) else "the end of the diff"
    return PatchError(f"diff, line {at + 1}: found {found}, expected {expected}")


def _section(
    lines: Sequence[str], at: int, path: str, is_new: bool, repairs: tuple[str, ...]
) -> FileChange:
    """The hunks of a section.

    Args:
        lines: what follows the headers.
        at: how many lines of the stretch come before.
        path: the file.
        is_new: the headers say that it is new.
        repairs: what was repaired in the headers.
    """
    starts = [n for n, line in enumerate(lines) if line.startswith("@@")]
    if not starts and any(line[:1] in {"+", "-"} for line in lines):
        lines, starts, at = ["@@", *lines], [0], at - 1
    for n, line in enumerate(lines[: starts[0]] if starts else lines):
        if line.strip() and (starts or line[0] in "+- "):
            raise PatchError(f"diff, line {at + n + 1}: found {line[:120]!r}, expected a hunk `@@`")
    if len(starts) > MOST_HUNKS:
        raise PatchError(f"{path}: {len(starts)} hunks, expected at most {MOST_HUNKS}")
    hunks, wrong = [], 0
    for number, (n, end) in enumerate(pairwise([*starts, len(lines)]), start=1):
        hunk, right = _hunk(lines[n:end], f"hunk {number}", at + n)
        hunks.append(hunk)
        wrong += not right
    words = (f"{wrong} hunk header{'s' * (wrong > 1)} recounted",) if wrong else ()
    return FileChange(path=path, is_new=is_new, hunks=tuple(hunks), repairs=repairs + words)


def _hunk(lines: Sequence[str], where: str, at: int) -> tuple[Hunk, bool]:
    """A hunk, and whether its counts are right."""
    match = HUNK.fullmatch(lines[0])
    if match is None or lines[0].startswith("@@@"):
        raise PatchError(
            f"diff, line {at + 1}: found {lines[0][:120]!r}, expected "
            "`@@ -START,COUNT +START,COUNT @@`"
        )
    body = _body(lines[1:])
    if len(body) > MOST_LINES:
        raise PatchError(f"{where}: has {len(body)} lines, expected at most {MOST_LINES}")
    read, closed = _lines(body)
    readings = tuple(_readings(body, read))
    right = _counts_fit(match, read)
    start = int(match["start"]) - 1 if right and before(read) else None
    name = f"{where} (line {at + 1} of the diff)"
    return Hunk(where=name, readings=readings, start=start, closed=closed), right


def _body(lines: Sequence[str]) -> list[str]:
    """The lines of a hunk without the blank lines and prose that follow it."""
    filled = len(lines)
    while filled and not lines[filled - 1]:
        filled -= 1
    if filled > 1 and lines[filled - 2] == "-- " and SIGNATURE.fullmatch(lines[filled - 1]):
        lines = lines[: filled - 2]
    last = max((n for n, line in enumerate(lines) if line[:1] in {"+", "-"}), default=-1)
    end = last + 1
    while end < len(lines) and (lines[end][:1] in {" ", "\\"} or not lines[end]):
        end += 1
    while end > last + 1 and not lines[end - 1]:
        end -= 1
    return list(lines[:end])


def _lines(body: Sequence[str]) -> tuple[Lines, bool | None]:
    """The plain reading, and whether the file is to end with a line feed, if it says so."""
    lines: list[Line] = []
    ended: dict[Mark, bool] = {}
    for text in body:
        if text.startswith("\\") and text[:4] == NO_NEWLINE[:4]:
            if lines:
                ended[lines[-1].mark] = True
        elif text[:1] in {" ", "+", "-"}:
            lines.append(Line(Mark(text[0]), text[1:]))
        else:
            lines.append(Line(Mark.KEPT, text))
    if Mark.ADDED in ended:
        return tuple(lines), False
    return tuple(lines), True if Mark.REMOVED in ended and Mark.KEPT not in ended else None


def _counts_fit(match: re.Match[str], lines: Lines) -> bool:
    """Whether a header's counts fit its hunk; blank lines at its end may be left out."""
    if match["start"] is None:
        return False
    short = int(match["old"] or 1) - len(before(lines))
    return short == int(match["new"] or 1) - len(after(lines)) and 0 <= short <= 3


def _readings(body: Sequence[str], lines: Lines) -> Iterator[Reading]:
    """The ways to read a hunk, the plain one first."""
    yield Reading(lines=lines)
    raw = [text for text in body if not text.startswith("\\")]
    bare = tuple(
        replace(line, text=text) if line.mark is Mark.KEPT else line
        for line, text in zip(lines, raw, strict=False)
    )
    if bare != lines and len(raw) == len(lines):
        yield Reading(lines=bare, repair="context lines had lost their leading blank")
    apart = _closed_up(lines)
    if apart is not None:
        yield Reading(lines=apart, repair="a blank behind + and - taken away")
    plain = without_numbers(lines)
    if plain is not None:
        yield Reading(lines=plain, repair="line numbers taken away")


def _closed_up(lines: Lines) -> Lines | None:
    """The hunk without the space after every sign; None if a sign has none."""
    signed = [line.text for line in lines if line.mark is not Mark.KEPT and line.text.strip()]
    if not signed or not all(text.startswith(" ") for text in signed):
        return None
    return tuple(
        line if line.mark is Mark.KEPT else Line(line.mark, line.text.removeprefix(" "))
        for line in lines
    )
