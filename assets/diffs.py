"""From a model's answer to a patched tree, and from a tree to its canonical diff and back.

An answer is a series of SEARCH/REPLACE blocks, each under the path of its file:

    train.py
    <<<<<<< SEARCH
    the lines to find, exactly once
    =======
    the lines to put there
    >>>>>>> REPLACE

What is stored is git's own diff of the two trees, so that applying it gives the tree byte for
byte whatever the answer looked like.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assets.errors import PatchError

OPEN, MIDDLE, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
MOST_BLOCKS = 256
GIT_SECONDS = 60.0
"""Far more than git takes for files of the largest size that a tree may have."""
GIT = ("git", "-c", "core.autocrlf=false", "-c", "core.safecrlf=false")
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One SEARCH/REPLACE block."""

    file: str
    search: str
    replace: str


def parse_blocks(answer: str) -> list[Replacement]:
    """The blocks of an answer, in order; what stands between them is prose.

    Raises:
        PatchError: if there is none, too many, or one that is cut off.
    """
    lines = answer.split("\n")
    blocks: list[Replacement] = []
    at = 0
    while at < len(lines):
        at += 1
        if lines[at - 1].rstrip(" \t") != OPEN:
            continue
        where = f"block {len(blocks) + 1}"
        file = lines[at - 2].strip() if at > 1 else ""
        if not file:
            raise PatchError(f"{where}: expected the path of its file on the line before {OPEN}")
        middle = _find_line(lines, MIDDLE, at, where)
        close = _find_line(lines, CLOSE, middle + 1, where)
        search, replace = lines[at:middle], lines[middle + 1 : close]
        blocks.append(Replacement(file=file, search="\n".join(search), replace="\n".join(replace)))
        at = close + 1
        if len(blocks) > MOST_BLOCKS:
            raise PatchError(
                f"the answer has more than {MOST_BLOCKS} blocks, expected at most that"
            )
    if not blocks:
        raise PatchError("the answer has no SEARCH/REPLACE block")
    return blocks


def _find_line(lines: list[str], wanted: str, at: int, where: str) -> int:
    """Index of the first line from `at` on that is `wanted`."""
    for index in range(at, len(lines)):
        if lines[index].rstrip(" \t") == wanted:
            return index
    raise PatchError(f"{where}: found no line {wanted!r} behind line {at}; the answer is cut off")


def apply_blocks(files: Mapping[str, bytes], blocks: list[Replacement]) -> dict[str, bytes]:
    """The tree after all blocks, one after the other.

    Raises:
        PatchError: if a file is not there or a search text does not stand in it exactly once.
    """
    patched = dict(files)
    for number, block in enumerate(blocks, start=1):
        where = f"block {number} ({block.file})"
        if block.file not in patched:
            raise PatchError(f"{where}: no such file; expected one of {', '.join(sorted(files))}")
        text = patched[block.file].decode()
        found = text.count(block.search) if block.search else 0
        if found != 1:
            raise PatchError(
                f"{where}: the search text stands {found} times in the file, expected once: "
                f"{block.search[:200]!r}"
            )
        patched[block.file] = text.replace(block.search, block.replace).encode()
    return patched


def canonical_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Git's unified diff from one tree to the other; empty where they are equal.

    Raises:
        PatchError: git takes too long.
    """
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if not changed:
        return ""
    with tempfile.TemporaryDirectory(prefix="varve-diff-") as folder:
        for side, files in (("a", before), ("b", after)):
            (Path(folder) / side).mkdir()
            _lay_down(Path(folder) / side, {p: files[p] for p in changed if p in files})
        options = (
            "--no-index",
            "--text",
            "--no-color",
            "--no-ext-diff",
            "--no-renames",
            "--no-prefix",
        )
        done = _git("diff", *options, "a", "b", cwd=folder)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"git diff failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()


def apply_diff(files: Mapping[str, bytes], diff: str) -> dict[str, bytes]:
    """The tree that a canonical diff makes of `files`.

    Raises:
        PatchError: if git refuses it.
    """
    if not diff:
        return dict(files)
    with tempfile.TemporaryDirectory(prefix="varve-apply-") as folder:
        _lay_down(Path(folder), files)
        done = _git("apply", "--whitespace=nowarn", "-p1", "-", cwd=folder, stdin=diff.encode())
        if done.returncode != 0:
            raise PatchError(f"git apply: {done.stderr.decode(errors='replace').strip()}")
        root = Path(folder)
        return {
            p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()
        }


def _lay_down(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / PurePosixPath(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _git(*arguments: str, cwd: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # GIT_CEILING_DIRECTORIES: a temporary folder inside a checkout is still a folder of its own.
    env = CLEAN | {"GIT_CEILING_DIRECTORIES": str(Path(cwd).parent)}
    try:
        return subprocess.run(
            [*GIT, *arguments],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            env=env,
            timeout=GIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise PatchError(f"git {arguments[0]}: took longer than {GIT_SECONDS:g} s") from error
