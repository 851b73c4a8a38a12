"""From two trees to git's own diff of them, and from a tree and such a diff to the other tree.

What is stored of a patch is that diff, so applying it gives the tree byte for byte, whatever the
answer looked like.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from assets.config.git import find_git
from assets.errors import PatchError, VarveError

GIT_SECONDS = 60.0
"""Far more than git takes for files of the largest size that a tree may have."""
MOVED = " (offset "
"""What git says if it applies a hunk at another line than the hunk names."""
EXACT = ("-c", "core.autocrlf=false", "-c", "core.safecrlf=false")
"""Settings under which git changes no byte."""
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
"""All that git is told of the machine, wherever git itself is."""


def canonical_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Git's unified diff from one tree to the other; empty where they are equal.

    Raises:
        PatchError: git takes too long.
        VarveError: there is no git, or it fails: about two trees that says nothing.
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
            said = done.stderr.decode(errors="replace").strip() or "nothing"
            raise VarveError(
                f"{find_git()} diff: exit code {done.returncode}, expected 0 or 1. It said: "
                f"{said}. Correct git or its machine, then run the same command again"
            )
        return done.stdout.decode()


def apply_diff(files: Mapping[str, bytes], diff: str) -> dict[str, bytes]:
    """The tree that a canonical diff makes of `files`.

    Raises:
        PatchError: git refuses it, or finds a hunk's text elsewhere than the hunk says; of several
            such places git would take the nearest.
        VarveError: there is no git.
    """
    if not diff:
        return dict(files)
    with tempfile.TemporaryDirectory(prefix="varve-apply-") as folder:
        _lay_down(Path(folder), files)
        options = ("--whitespace=nowarn", "--verbose", "-p1", "-")
        done = _git("apply", *options, cwd=folder, stdin=diff.encode())
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode != 0 or MOVED in said:
            raise PatchError(f"git apply: {said}")
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
    # GIT_CEILING_DIRECTORIES: a temporary folder inside a checkout must not be taken as part of it.
    env = CLEAN | {"GIT_CEILING_DIRECTORIES": str(Path(cwd).parent)}
    try:
        return subprocess.run(
            [find_git(), *EXACT, *arguments],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            env=env,
            timeout=GIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise PatchError(f"git {arguments[0]}: took longer than {GIT_SECONDS:g} s") from error
