"""The patched tree of a job: its hash, how it travels in one file, and how it is written out."""

import hashlib
import json
import os
from collections.abc import Mapping

from launchers.visible import ToldError

FILE_MODE = "100644"
"""The only mode that a tree may hold, in git's words."""


class TreeError(ToldError, ValueError):
    """A tree holds a path or a kind of file that no environment needs."""


def tree_hash(files: Mapping[str, bytes]) -> str:
    """Hashes a tree by content: sorted paths, the one file mode, and each file's sha256.

    Args:
        files: relative path with forward slashes -> content.

    Returns:
        64 hexadecimal digits.

    Raises:
        TreeError: a path is absolute, climbs out, or holds a control character.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(files[path]).hexdigest()
        digest.update(f"{checked_path(path)}\0{FILE_MODE}\0{content}\n".encode())
    return digest.hexdigest()


def checked_path(path: str) -> str:
    """Gives the path back if it stays inside a tree.

    Raises:
        TreeError: it does not.
    """
    parts = path.split("/")
    if "\\" in path or not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise TreeError(
            f"tree: found the path {path!r}, expected a relative one such as model/net.py; "
            "rename the file"
        )
    return path


def lay_tree(folder: str, files: Mapping[str, bytes]) -> None:
    """Writes a tree into a folder that does not exist yet.

    Raises:
        TreeError: a path leaves the folder.
        OSError: it cannot be written.
    """
    os.mkdir(folder)
    made = {folder}
    for path, content in files.items():
        target = os.path.join(folder, checked_path(path))
        above = os.path.dirname(target)
        if above not in made:
            os.makedirs(above, exist_ok=True)
            made.add(above)
        with open(target, "xb") as file:
            file.write(content)


def pack_tree(files: Mapping[str, bytes]) -> bytes:
    """The tree as one file: a line of JSON with each path and its size, then all contents.

    Raises:
        TreeError: a path leaves the tree.
    """
    sizes = [(checked_path(path), len(content)) for path, content in files.items()]
    return b"".join([json.dumps(sizes).encode(), b"\n", *files.values()])


def unpack_tree(packed: bytes) -> dict[str, bytes]:
    """The tree that `pack_tree` wrote.

    Returns:
        Relative path with forward slashes -> content.

    Raises:
        TreeError: it is cut off, or no packed tree at all.
    """
    line, _, contents = packed.partition(b"\n")
    files: dict[str, bytes] = {}
    begin = 0
    try:
        for path, size in json.loads(line):
            files[checked_path(path)] = contents[begin : begin + size]
            begin += size
    except (ValueError, TypeError) as error:
        raise TreeError(f"tree: found no packed tree ({error}); submit the job again") from error
    if begin != len(contents):
        raise TreeError(f"tree: found {len(contents)} bytes, expected {begin}; submit again")
    return files
