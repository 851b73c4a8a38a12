"""The lines above the hunks of a diff: which file they name, and what else they ask for."""

import re
from collections.abc import Sequence

from assets.diffs.validator import refused_header
from assets.errors import PatchError

SIDE = re.compile(r"(?:---|\+\+\+) +(?P<path>[^\t]*?)(?P<rest>\t.*| +\d{4}-\d\d-\d\d\b.*)?[ \t]*")
TIME = re.compile(
    r"\s*(?:\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[+-]\d{4}| ?Z)?)?)?\s*"
)
MOST_CHARACTERS = 500
"""Of a line with a path."""
NOWHERE = "/dev/null"
PREFIXES = {"a", "b", "old", "new", "orig", "original", "modified"}


def git_path(line: str, at: int, known: Sequence[str]) -> str:
    """The path that git's own header names on both sides.

    Raises:
        PatchError: it names two, or one that is not plain.
    """
    words = line.split()
    if words[:2] != ["diff", "--git"]:
        raise PatchError(
            f"diff, line {at + 1}: found {line[:120]!r}, expected `diff --git a/PATH b/PATH`"
        )
    if '"' in line:
        raise PatchError(f"diff, line {at + 1}: expected a path without quotes, in plain ASCII")
    if len(words) != 4 or line != line.rstrip():
        raise PatchError(
            f"diff, line {at + 1}: found {line[:120]!r}, expected exactly two paths, and "
            "no blank in them"
        )
    old, new = (_without_prefix(word, known) for word in words[2:])
    if old != new:
        raise PatchError(
            f"diff, line {at + 1}: found {line[:120]!r}, expected the same path on both sides: "
            "no rename, no copy"
        )
    return new


def extended(line: str, at: int) -> bool:
    """Read a line between git's header and the sides; return whether it makes a new file.

    Raises:
        PatchError: it asks for more than a change of text.
    """
    words = refused_header(line)
    if words is not None:
        raise PatchError(
            f"diff, line {at + 1}: found {words}, expected a change of the file's text only"
        )
    if line.strip() and not line.startswith(("index ", "new file mode ")):
        raise PatchError(f"diff, line {at + 1}: found {line[:120]!r}, expected `--- a/PATH`")
    return line.startswith("new file mode ")


def side_path(line: str, at: int, known: Sequence[str]) -> str:
    """The path of a line `---` or `+++`, or NOWHERE.

    Raises:
        PatchError: something other than a time follows the path, or the file is deleted.
    """
    match = SIDE.fullmatch(line) if len(line) <= MOST_CHARACTERS else None
    if match is None or not TIME.fullmatch(match["rest"] or ""):
        raise PatchError(
            f"diff, line {at + 1}: found {line[:120]!r}, expected a path with nothing "
            "behind it but a time"
        )
    if match["path"] == NOWHERE:
        if line.startswith("+"):
            raise PatchError(
                f"diff, line {at + 1}: found {refused_header('deleted file mode ')}, expected "
                "a change of the file's text only"
            )
        return NOWHERE
    return _without_prefix(match["path"], known)


def _without_prefix(path: str, known: Sequence[str]) -> str:
    first, _, rest = path.partition("/")
    if path in known or not rest:
        return path
    return rest if first in PREFIXES else path


def one_path(header: str | None, old: str, new: str, at: int) -> str:
    """The one path that all headers of a section name.

    Raises:
        PatchError: they name several.
    """
    named = {path for path in (header, old, new) if path not in (None, NOWHERE)}
    if {path.removesuffix(".orig") for path in named} != {new}:
        raise PatchError(
            f"diff, line {at + 1}: found the paths {', '.join(sorted(named))} for one file, "
            "expected the same path in all its headers: no rename, no copy"
        )
    return new
