"""The last check of a patched tree, whatever answer made it.

Even if a diff was read strictly and applied by git, the tree decides: what a patch may not change
must be the same bytes, and what it changed must be text that a reader can see.
"""

import io
import re
import tokenize
from collections import Counter
from collections.abc import Mapping

from assets.config.environment import MAX_FILE_BYTES, Environment
from assets.diffs.paths import check_neighbours, check_path
from assets.diffs.validator import MOST_FILES
from assets.errors import PatchError
from launchers.tree import tree_hash
from launchers.visible import is_hidden

PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2194-\u21aa\u231a-\u23ff\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001f0ff\U0001f170-\U0001f3fa\U0001f400-\U0001faff]"
)
"""The blocks of what Unicode calls pictographic, but for its one letter: no part of any name."""
PART = f"{PICTURE}(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?"
"""What a joiner may join: a picture, in colour or with a tone of skin (UTS 51, ED-15)."""
EMOJI = re.compile(
    rf"{PART}(?:\u200d{PART})+|[0-9#*]\ufe0f\u20e3|(?P<sign>[^\x00-\x7f])[\ufe0e\ufe0f]"
)
"""Joined pictures, a keycap, or a sign with the mark that says whether it is drawn in colour:
models write these. After a letter such a mark is invisible, and makes a different name."""
INVISIBLE = dict.fromkeys(map(ord, "\u200d\ufe0f\u20e3"))
PAGE = re.compile("^\f", re.MULTILINE)
"""A new page, as some sources begin theirs. Further on in a line it hides how that is indented, and
what follows it."""


def touched_paths(base: Mapping[str, bytes], patched: Mapping[str, bytes]) -> list[str]:
    """Paths of files that are new or changed, sorted."""
    return [path for path in sorted(patched) if patched[path] != base.get(path)]


def check_tree(environment: Environment, patched: Mapping[str, bytes]) -> None:
    """Let a patched tree be run, or say why not.

    Raises:
        PatchError: a file is gone, frozen, too large, badly named, or not plain text.
    """
    base = environment.files
    gone = sorted(base.keys() - patched.keys())
    if gone:
        raise PatchError(f"{gone[0]}: is gone; a file may be emptied, not removed")
    touched = touched_paths(base, patched)
    if len(touched) > MOST_FILES:
        raise PatchError(f"{len(touched)} files are touched, expected at most {MOST_FILES}")
    for path in touched:
        check_path(path, environment)
        if path not in base:
            check_neighbours(path, patched.keys() - {path})
        check_content(path, base.get(path, b""), patched[path])
    frozen = tree_hash({p: c for p, c in patched.items() if not environment.may_edit(p)})
    if frozen != environment.frozen_tree:
        raise PatchError(
            f"the files that no patch may change give the hash {frozen[:16]}, "
            f"expected {environment.frozen_tree[:16]}"
        )


def check_content(path: str, before: bytes, after: bytes) -> None:
    """Refuse a file that is not plain text: what its reader sees must be what runs.

    Hidden characters that the file had before may stay.

    Raises:
        PatchError: naming the path and what was found.
    """
    if len(after) > MAX_FILE_BYTES:
        raise PatchError(f"{path}: has {len(after)} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        text = after.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PatchError(f"{path}: is not UTF-8 at byte {error.start}; expected text") from error
    added = hidden_characters(text) - hidden_characters(before.decode("utf-8", errors="replace"))
    if added:
        names = ", ".join(sorted(f"U+{ord(character):04X}" for character in added)[:8])
        raise PatchError(f"{path}: found hidden characters ({names}), expected text that is seen")
    if path.endswith(".py"):
        _check_encoding(path, after)


def hidden_characters(text: str) -> Counter[str]:
    """How often each hidden character occurs in a text, but for those that belong there.

    They are the CR of a line's CRLF, a form feed that begins a line, and the parts of an emoji.
    """
    counted = Counter(EMOJI.sub(_unmarked, PAGE.sub("", text.replace("\r\n", "\n"))))
    return Counter({c: n for c, n in counted.items() if is_hidden(c)})


def _unmarked(found: re.Match[str]) -> str:
    """An emoji without what is not seen of it; a sign of a name keeps its mark."""
    sign = found["sign"]
    if sign is None:  # joined pictures, or a keycap
        return found[0].translate(INVISIBLE)
    return found[0] if f"_{sign}".isidentifier() else sign


def _check_encoding(path: str, content: bytes) -> None:
    """Refuse a coding line that makes Python read other characters than a reader sees."""
    try:
        found, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError as error:
        raise PatchError(f"{path}: {error}; expected UTF-8") from error
    if not found.startswith("utf-8"):
        raise PatchError(f"{path}: found the coding {found}, expected UTF-8")
