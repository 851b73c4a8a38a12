"""A block that quotes less than whole lines: `RATE = 1` where the file has `RATE = 1  # slow`.

It may not cut a word or a number in two, and may stop within a statement only where it is plainly
unfinished: `RATE = 1` is not found in `RATE = 1 + x`, and `layer(` is found in `layer(x)`.
"""

import re
from collections.abc import Sequence

from assets.ladder.hunk import Splice

REST = re.compile(r"\s*(?:#.*)?")
OPEN_END = re.compile(r".*[(\[{,=+*/%&|<>^@-]\s*", re.DOTALL)
TOKEN = re.compile(r"[\w.]")


def fragment(search: Sequence[str], replace: Sequence[str], lines: Sequence[str]) -> list[Splice]:
    """The changes of whole lines that replacing a part of them makes.

    Returns:
        None at all if it is not there or would cut something in two; several if it is ambiguous.
    """
    text, old, new = "\n".join(lines), "\n".join(search), "\n".join(replace)
    if not old.strip():
        return []
    first = text.find(old)
    if first < 0:
        return []
    second = text.find(old, first + 1)
    return [
        _splice(text, at, at + len(old), new, lines)
        for at in (first, second)
        if at >= 0 and (second >= 0 or _may_replace(text, at, at + len(old), new))
    ]


def _splice(text: str, at: int, end: int, new: str, lines: Sequence[str]) -> Splice:
    start, last = text.count("\n", 0, at), text.count("\n", 0, end)
    before, after = _around(text, at, end)
    return Splice(start=start, end=last + 1, new=tuple(f"{before}{new}{after}".split("\n")))


def _around(text: str, at: int, end: int) -> tuple[str, str]:
    """What comes before it on its first line, and after it on its last."""
    stop = text.find("\n", end)
    return text[text.rfind("\n", 0, at) + 1 : at], text[end : stop if stop >= 0 else len(text)]


def _may_replace(text: str, at: int, end: int, new: str) -> bool:
    before, after = _around(text, at, end)
    if _cuts(before[-1:], text[at]) or _cuts(text[end - 1], after[:1]) or "#" in before:
        return False
    if before and ("\n" in text[at:end] or "\n" in new):
        return False
    if _last_line(text[at:end]) == _last_line(new) and "\n" in text[at:end]:
        return True  # the part of a line is only there to say where
    is_expression = bool(before.strip())
    return is_expression or bool(REST.fullmatch(after) or OPEN_END.fullmatch(text[at:end]))


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2]


def _cuts(left: str, right: str) -> bool:
    """Whether two neighbours belong to one word or number."""
    return bool(TOKEN.fullmatch(left) and TOKEN.fullmatch(right))
