"""An answer split at its ``` fences: what is in each, with its path, and what is between them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assets.ladder.labels import fence_label, label_of

FENCE = re.compile(r"(?P<blanks> {0,3})(?P<ticks>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
COMMENT = re.compile(r"(?:#|//|<!--|;)\s*(?P<words>\S.*?)(?:\s*-->)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Lines of an answer that belong together."""

    lines: tuple[str, ...]
    fenced: bool
    language: str = ""
    path: str | None = None
    """The path written on the fence, above it, or on its first line."""
    closed: bool = True
    """Whether the fence ends; if it does not, the answer is cut off."""


def stretches(lines: Sequence[str]) -> Iterator[Stretch]:
    """Split an answer at its fences."""
    begin = at = 0
    while at < len(lines):
        opening = FENCE.fullmatch(lines[at])
        if opening is None:
            at += 1
            continue
        yield Stretch(lines=tuple(lines[begin:at]), fenced=False)
        end = _closing(lines, at + 1, opening)
        yield _fenced(lines, at, end, opening["info"])
        begin = at = end + 1
    yield Stretch(lines=tuple(lines[begin:]), fenced=False)


def _closing(lines: Sequence[str], at: int, opening: re.Match[str]) -> int:
    """Index of the line that closes a fence; one past the last if none does."""
    closing = re.compile(rf"{opening['blanks']}{opening['ticks']}[`~]*[ \t]*")
    return next((i for i in range(at, len(lines)) if closing.fullmatch(lines[i])), len(lines))


def _fenced(lines: Sequence[str], at: int, end: int, info: str) -> Stretch:
    inside = tuple(lines[at + 1 : end])
    above = next((line for line in reversed(lines[max(0, at - 2) : at]) if line.strip()), "")
    path = fence_label(info) or label_of(above)
    if path is None and inside:
        path = _first_line_path(inside[0])
        inside = inside[1:] if path else inside
    elif inside and path is not None and _first_line_path(inside[0]) == path:
        inside = inside[1:]
    language = info.strip().split(" ")[0].split(":")[0].lower()
    return Stretch(lines=inside, fenced=True, language=language, path=path, closed=end < len(lines))


def _first_line_path(line: str) -> str | None:
    """The path, if the first line in a fence is one, bare or as a comment."""
    comment = COMMENT.fullmatch(line)
    words = comment["words"] if comment else line
    return label_of(words) if " " not in words.strip().removeprefix("File:").strip() else None
