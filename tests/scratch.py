"""Folders that several tests of a process share, and that go when it ends."""

import atexit
import shutil
import tempfile
from pathlib import Path


def scratch(prefix: str, *, within: Path | None = None) -> Path:
    """A new folder, readable by its owner only."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
