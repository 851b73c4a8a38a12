"""The strict reading of a unified diff that a model wrote, before git sees it.

`git apply` accepts renames, links, submodules, modes and files that no diff of ours has, so every
line is matched here against what is allowed at that place, and anything else is refused with its
line number. Lines of hunks are counted, so that content is not mistaken for a header, nor a header
for content. Nothing is repaired: that is for a later rung.

    diff --git a/train.py b/train.py          diff --git a/model/net.py b/model/net.py
    index 7898192..0a207c0 100644             new file mode 100644
    --- a/train.py                            --- /dev/null
    +++ b/train.py                            +++ b/model/net.py
    @@ -1,2 +1,2 @@ heading                   @@ -0,0 +1 @@
"""

import re
from dataclasses import dataclass

from assets.config.environment import Environment
from assets.diffs.paths import check_path, check_shape
from assets.errors import PatchError

MOST_BYTES = 1 << 20
"""Of a diff, or of any answer."""
MOST_FILES = 64
"""Files that one patch may touch."""
INDEX = re.compile(r"index [0-9a-f]{4,64}\.\.[0-9a-f]{4,64}(?P<mode> [0-9]{6})?")
HUNK = re.compile(r"@@ -\d{1,7}(?:,(\d{1,7}))? \+\d{1,7}(?:,(\d{1,7}))? @@(?: [^\r]*)?")
NO_NEWLINE = r"\ No newline at end of file"
PLAIN_MODE = "100644"
MODES = {
    "100755": "an executable file",
    "120000": "a symbolic link",
    "160000": "a submodule",
    "040000": "a folder",
}
REFUSED = {
    "rename ": "a rename",
    "copy ": "a copy",
    "similarity index ": "a rename or a copy",
    "dissimilarity index ": "a rewrite by similarity",
    "old mode ": "a change of mode",
    "new mode ": "a change of mode",
    "deleted file mode ": "a file that is deleted (a file may be emptied, not removed)",
    "GIT binary patch": "a binary patch",
    "Binary files ": "a binary file",
    "Subproject commit ": "a submodule",
}
"""Beginnings of header lines that git knows and that no patch needs."""
SIDES = {" ": ("old", "new"), "-": ("old",), "+": ("new",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSection:
    """The part of a diff that is about one file."""

    path: str
    line: int
    """Where it begins, from 1."""
    is_new: bool


def check_diff(diff: str, environment: Environment) -> list[str]:
    """Read a diff strictly and check each path that it touches.

    Args:
        diff: of any origin; what is stored as canonical passes too.
        environment: says which files there are and which may be changed.

    Returns:
        The touched paths, in the order of the diff.

    Raises:
        PatchError: naming the line, what was found there and what was expected.
    """
    seen: dict[str, int] = {}
    for section in read_diff(diff):
        where = f"diff, line {section.line}"
        try:
            check_path(section.path, environment)
        except PatchError as error:
            raise PatchError(f"{where}: {error}") from error
        if section.path in seen:
            raise PatchError(
                f"{where}: found {section.path} again, after line {seen[section.path]}; "
                "expected all hunks of a file under one header"
            )
        if section.is_new == (section.path in environment.files):
            raise PatchError(
                f"{where}: {section.path} {'exists already' if section.is_new else 'is no file'}; "
                "expected `new file mode 100644` and `--- /dev/null` for new files only"
            )
        seen[section.path] = section.line
    return list(seen)


def check_size(answer: str) -> None:
    """Refuse what is too large to be read, or is not text.

    Raises:
        PatchError: saying which.
    """
    try:
        size = len(answer.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise PatchError(f"the answer is not text: {error.reason}; expected UTF-8") from error
    if size > MOST_BYTES:
        raise PatchError(f"the answer has {size} bytes, expected at most {MOST_BYTES}")
    if "\0" in answer:
        raise PatchError("the answer holds a NUL, expected text")


def read_diff(diff: str) -> list[DiffSection]:
    """The sections of a diff, every line accounted for.

    Raises:
        PatchError: naming the line, what was found there and what was expected.
    """
    check_size(diff)
    lines = _Lines(diff)
    sections: list[DiffSection] = []
    while lines.skip_blank():
        sections.append(_section(lines))
        if len(sections) > MOST_FILES:
            raise PatchError(f"the diff has more than {MOST_FILES} files, expected at most that")
    if not sections:
        raise PatchError("the diff is empty, expected a line `diff --git a/PATH b/PATH`")
    return sections


class _Lines:
    """The lines of a diff and how far they are read; only a line feed ends a line."""

    def __init__(self, diff: str) -> None:
        self._lines = diff.removesuffix("\n").split("\n") if diff else []
        self.at = 0

    @property
    def next(self) -> str | None:
        """The line that is read next; None at the end."""
        return self._lines[self.at] if self.at < len(self._lines) else None

    def take(self) -> str | None:
        """Read one line."""
        line = self.next
        self.at += 1
        return line

    def skip_blank(self) -> bool:
        """Skip blank lines between sections; False at the end of the diff."""
        while self.next == "":
            self.at += 1
        return self.next is not None

    @property
    def last(self) -> str | None:
        """The line that was read last; None past the end."""
        return self._lines[self.at - 1] if self.at <= len(self._lines) else None

    def refusal(self, expected: str, *, found: str | None = None) -> PatchError:
        """What to raise about the line that was read last."""
        said = found or ("the end of the diff" if self.last is None else repr(self.last[:120]))
        return PatchError(f"diff, line {self.at}: found {said}, expected {expected}")


def _section(lines: _Lines) -> DiffSection:
    old, path = _git_header(lines)
    line = lines.at
    is_new = _extended_header(lines)
    if old == "b" and not is_new:
        raise lines.refusal("`a/` and `b/`, or a new file", found="`b/` on both sides")
    if lines.next is not None and lines.next.startswith("--- "):
        _side(lines, f"--- {'/dev/null' if is_new else f'a/{path}'}")
        _side(lines, f"+++ b/{path}")
        _hunks(lines)
    elif not is_new:
        lines.take()
        raise _refused_header(lines) or lines.refusal(f"`--- a/{path}`")
    return DiffSection(path=path, line=line, is_new=is_new)


def _git_header(lines: _Lines) -> tuple[str, str]:
    """The old side's letter and the path. Git writes `b` on both sides of a file that is new."""
    words = (lines.take() or "").split(" ")
    if words[:2] != ["diff", "--git"]:
        raise _refused_header(lines) or lines.refusal(
            "`diff --git a/PATH b/PATH`, and nothing else between files"
        )
    for word in words[2:]:
        if word.startswith('"'):
            raise lines.refusal("a path without quotes, in plain ASCII")
        if word.startswith("/") or re.match("[A-Za-z]:", word):
            raise lines.refusal("paths from the environment's folder", found=f"the path {word!r}")
    if len(words) != 4:
        raise lines.refusal("exactly two paths, and no blank in them")
    (old, _, path), (new, _, other) = words[2].partition("/"), words[3].partition("/")
    if old not in ("a", "b") or new != "b":
        raise lines.refusal("the two paths to begin with `a/` and `b/`")
    if path != other:
        raise lines.refusal("the same path on both sides: no rename, no copy")
    try:
        check_shape(path)
    except PatchError as error:
        raise PatchError(f"diff, line {lines.at}: {error}") from error
    return old, path


def _extended_header(lines: _Lines) -> bool:
    """Read `new file mode` and `index`, each at most once; return whether the file is new."""
    is_new = False
    if (lines.next or "").startswith("new file mode "):
        mode = (lines.take() or "").removeprefix("new file mode ")
        if mode != PLAIN_MODE:
            raise lines.refusal(f"`new file mode {PLAIN_MODE}`", found=_mode_words(mode))
        is_new = True
    if (lines.next or "").startswith("index "):
        match = INDEX.fullmatch(lines.take() or "")
        if match is None:
            raise lines.refusal("`index HASH..HASH 100644`")
        mode = (match["mode"] or PLAIN_MODE).strip()
        if mode != PLAIN_MODE:
            raise lines.refusal(f"the mode {PLAIN_MODE}", found=_mode_words(mode))
    return is_new


def _mode_words(mode: str) -> str:
    return f"{MODES.get(mode, 'the mode')} ({mode[:20]!r})"


def refused_header(line: str) -> str | None:
    """What a header line asks for that git knows and no patch needs; None for all other lines."""
    for start, what in REFUSED.items():
        if line.startswith(start):
            return what
    for start in ("new file mode ", "index "):
        mode = line.rpartition(" ")[2] if line.startswith(start) else PLAIN_MODE
        if mode != PLAIN_MODE and (start != "index " or line.count(" ") > 1):
            return _mode_words(mode)
    return None


def _refused_header(lines: _Lines) -> PatchError | None:
    """What to raise about a header line that git knows, if it was one."""
    what = refused_header(lines.last or "")
    return lines.refusal("a change of the file's text only", found=what) if what else None


def _side(lines: _Lines, expected: str) -> None:
    line = lines.take()
    if line == expected:
        return
    if line == "+++ /dev/null":
        raise lines.refusal(f"`{expected}`", found=REFUSED["deleted file mode "])
    raise lines.refusal(f"`{expected}`, with nothing behind it")


def _hunks(lines: _Lines) -> None:
    """Read hunks until something else begins; at least one."""
    ended: set[str] = set()
    _hunk(lines, ended)
    while (lines.next or "").startswith("@@"):
        _hunk(lines, ended)


def _hunk(lines: _Lines, ended: set[str]) -> None:
    """Read one hunk by its counts.

    Args:
        lines: read up to the line `@@`.
        ended: sides whose last line was read, one without a line feed; grows.
    """
    match = HUNK.fullmatch(lines.take() or "")
    if match is None:
        raise lines.refusal("`@@ -START,COUNT +START,COUNT @@`")
    left = {side: int(match[n] or 1) for n, side in enumerate(("old", "new"), start=1)}
    if not any(left.values()):
        raise lines.refusal("a hunk with at least one line")
    sides: tuple[str, ...] = ()
    while any(left.values()) or (lines.next or "").startswith("\\"):
        line = lines.take()
        if line is not None and line.startswith("\\"):
            if line != NO_NEWLINE or not sides:
                raise lines.refusal(f"`{NO_NEWLINE}`, right after the line that it is about")
            ended.update(sides)
            sides = ()
            continue
        sides = _content_line(lines, line, left, ended)


def _content_line(
    lines: _Lines, line: str | None, left: dict[str, int], ended: set[str]
) -> tuple[str, ...]:
    """Count one line of a hunk; return the sides that it belongs to."""
    # Mailers and models drop the space of an empty context line; git accepts that too.
    sides = SIDES.get((line or " ")[0]) if line is not None else None
    if sides is None:
        rest = " and ".join(f"{count} {side}" for side, count in left.items() if count)
        raise lines.refusal(f"{rest} line(s) more in this hunk, by its counts")
    for side in sides:
        if not left[side]:
            raise lines.refusal(f"no more {side} line in this hunk, by its counts")
        if side in ended:
            raise lines.refusal("nothing behind the end of the file")
        left[side] -= 1
    return sides
