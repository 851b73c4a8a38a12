"""The programs of this machine that walls are made of."""

import os

from launchers.sandbox.view import WallError


def find_program(name: str) -> str | None:
    """The path of a program, or None; `shutil` costs 4 ms to import."""
    folders = os.environ.get("PATH", "").split(":")
    for folder in (*folders, "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        path = os.path.join(folder, name)
        if os.path.isabs(folder) and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def needed(name: str) -> str:
    """The path of a program.

    Raises:
        WallError: it is not on this machine.
    """
    found = find_program(name)
    if found is None:
        raise WallError(f"{name}: not found on this machine; `varve doctor` says what to install")
    return found
