"""The patched tree of a job: its hash, how it is laid down, and how it is read back."""

import hashlib
import os
from collections.abc import Mapping

FILE_MODE = "100644"
"""The only mode that a tree may hold, in git's words."""


class TreeError(ValueError):
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
    for path, content in files.items():
        target = os.path.join(folder, checked_path(path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb") as file:
            file.write(content)


def read_tree(folder: str) -> dict[str, bytes]:
    """Reads a tree back.

    Returns:
        Relative path with forward slashes -> content.

    Raises:
        TreeError: the folder holds a link, a pipe or a device.
        OSError: it cannot be read.
    """
    files: dict[str, bytes] = {}
    pending = [""]
    while pending:
        inner = pending.pop()
        with os.scandir(os.path.join(folder, inner)) as entries:
            for entry in entries:
                path = f"{inner}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    with open(entry.path, "rb") as file:
                        files[path] = file.read()
                else:
                    raise TreeError(f"tree: {path} is no regular file; remove it from the tree")
    return files
