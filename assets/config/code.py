"""Which Varve this is, so that an attempt and a commit can say what made them."""

import hashlib
from functools import cache

from assets.config.home import PROJECT


@cache
def code_version() -> str:
    """Hash of Varve's own source, as 16 hex digits."""
    digest = hashlib.sha256()
    for room in ("assets", "lake", "launchers"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
