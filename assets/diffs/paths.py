"""Which paths a patch may touch: editable ones, plainly written, that shadow nothing.

The rules are about names alone; those for content are in `assets.diffs.trees`. Names are ASCII, so
that no two look alike, and are compared without regard to case, which some disks ignore.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import PurePosixPath

from assets.config.environment import Environment
from assets.errors import PatchError

MOST_CHARACTERS = 200
PLAIN = re.compile(r"[ -~]*")
PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What a part of a new path may look like."""
RESERVED = {"sitecustomize", "usercustomize", "conftest", "pyproject", "setup", "__main__"}
"""Names that Python or its tools load on their own."""
RUNNABLE = {".pth", ".so", ".pyc", ".pyd", ".pyo", ".pyw", ".dll", ".dylib", ".egg", ".whl", ".zip"}
"""Suffixes of code that a reader cannot read."""


def check_path(path: str, environment: Environment) -> None:
    """Let a patch touch this path of the environment, or say why not.

    Raises:
        PatchError: naming the path, what is wrong with it and what was expected.
    """
    check_shape(path)
    check_neighbours(path, environment.files)
    if not environment.may_edit(path):
        scoring = any(fnmatchcase(path, glob) for glob in environment.manifest.scoring)
        raise PatchError(
            f"{path}: {'decides the score, so it is ' if scoring else ''}not editable; "
            f"expected one of {', '.join(environment.editable)}"
        )
    if path not in environment.files:
        _check_new(path, environment)


def check_shape(path: str) -> None:
    """Refuse paths that leave the tree, hide in it, or mean something else elsewhere.

    Raises:
        PatchError: saying what it found.
    """
    found = _odd_shape(path)
    if found:
        raise PatchError(
            f"{path[:MOST_CHARACTERS]!r}: found {found}; "
            "expected a path inside the environment such as model/net.py"
        )


def _odd_shape(path: str) -> str | None:
    parts = path.split("/")
    checks = (
        (len(path) > MOST_CHARACTERS, f"a path of more than {MOST_CHARACTERS} characters"),
        (not PLAIN.fullmatch(path), "a character that is not printable ASCII"),
        ("\\" in path, "a backslash"),
        (path[:1] in {'"', "'"}, "a quoted path"),
        (path.startswith("/"), "an absolute path"),
        (re.match("[A-Za-z]:", path) is not None, "a drive letter"),
        ("" in parts, "an empty part"),
        ("." in parts or ".." in parts, "a part `.` or `..`"),
        (any(part.startswith(".") for part in parts), "a hidden part"),
        (any(part.endswith((".", " ")) for part in parts), "a part that ends with `.` or a blank"),
    )
    return next((words for wrong, words in checks if wrong), None)


def check_neighbours(path: str, tree: Collection[str]) -> None:
    """Refuse a path that some disk, or Python's import, takes for another path of the tree.

    Args:
        path: what is touched.
        tree: all paths of the tree, with or without `path` itself.

    Raises:
        PatchError: naming the other path.
    """
    real = {prefix.lower(): prefix for each in tree for prefix in _prefixes(each)}
    for prefix in _prefixes(path):
        twin = real.get(prefix.lower(), prefix)
        if twin != prefix:
            raise PatchError(f"{path}: differs from {twin} in upper and lower case only")
        if prefix != path and prefix in tree:
            raise PatchError(f"{path}: found the file {prefix}, expected a folder of that name")
    if path in real.values() and path not in tree:
        raise PatchError(f"{path}: found a folder of that name, expected a file or nothing")
    if path not in tree:
        _check_module(path, real)


def _check_module(path: str, real: Mapping[str, str]) -> None:
    """Refuse `model/x.py` beside `model.py`, or `model.py` beside `model/`: one hides the other."""
    *folders, _ = _prefixes(path)
    rivals = [f"{folder}.py" for folder in folders]
    if path.lower().endswith(".py"):
        rivals.append(path[: -len(".py")])
    for rival in rivals:
        known = real.get(rival.lower())
        if known is not None:
            raise PatchError(f"{path}: would hide {known} from import, or be hidden by it")


def _prefixes(path: str) -> Iterator[str]:
    """`a`, `a/b` and `a/b/c` of `a/b/c`."""
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts) + 1))


def _check_new(path: str, environment: Environment) -> None:
    parts = path.split("/")
    suffix = PurePosixPath(path).suffix
    allowed = {".py", *(PurePosixPath(known).suffix for known in environment.editable)} - RUNNABLE
    if suffix not in allowed or not suffix:
        raise PatchError(
            f"{path}: found the suffix {suffix!r} of a new file, "
            f"expected one of {', '.join(sorted(allowed - {''}))}"
        )
    if not all(PLAIN_PART.fullmatch(part) for part in parts):
        raise PatchError(
            f"{path}: expected the name of a new file to have letters, digits, `_`, `-` and `.` "
            "only"
        )
    known = any(each.split("/")[0] == parts[0] for each in environment.files)
    stem = parts[0].split(".")[0].lower()
    if not known and (stem in RESERVED or stem in importable_names()):
        raise PatchError(
            f"{path}: a file or folder {stem} would stand in for the {stem} that Python has; "
            "expected another name"
        )


@cache
def importable_names() -> frozenset[str]:
    """Top-level names that Python can import here without the environment, in lower case."""
    names = {*sys.stdlib_module_names, *packages_distributions()}
    return frozenset(name.lower() for name in names)
