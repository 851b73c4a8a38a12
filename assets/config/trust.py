"""Whether the code of an environment's folder may run as the user.

`prepare.py` and the scoring files run outside the sandbox, with all that the user may do, and at a
weak level the rest does. Those of this repository are as much ours as the program that runs them;
any other folder is named by the user once, and again when it has changed. What is hashed is what
runs: the manifest and all files of the tree, as they were read; no cache, no hidden file.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping

from assets.config.environment import Environment
from assets.config.home import PROJECT
from assets.errors import NotAllowedError

MANIFEST = "pyproject.toml"


def trusted_hashes(environment: Environment) -> dict[str, str]:
    """Path -> hash, of the manifest and of every file that a job or `prepare.py` gets."""
    manifest = json.dumps(environment.manifest.model_dump(mode="json"), sort_keys=True).encode()
    files = {**environment.files, MANIFEST: manifest}
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def check_trusted(
    environment: Environment, known: Mapping[str, Mapping[str, str]], *, campaign: str
) -> None:
    """Check that a folder is ours, or is as the user has seen it, there or anywhere else.

    Args:
        environment: as it is on disk now.
        known: folder -> path -> hash, of what the user has named.
        campaign: that runs it, for the line to type.

    Raises:
        NotAllowedError: saying what is new or has changed, and what to type.
    """
    folder = environment.path.resolve()
    if folder.is_relative_to((PROJECT / "environments").resolve()):
        return
    hashes = trusted_hashes(environment)
    if hashes in known.values():
        return
    seen = known.get(str(folder))
    if seen is None:
        found = f"found a folder that was not seen before: {_listed(hashes)}"
    else:
        changed = [path for path in {**seen, **hashes} if seen.get(path) != hashes.get(path)]
        found = f"found another content than you have named: {_listed(changed)}"
    raise NotAllowedError(
        f"{folder}: its prepare.py and its scoring files run as you, outside the sandbox; {found}. "
        f"Expected code that you have looked at. Then name it: "
        f"varve search {campaign} --trust {shlex.quote(str(folder))}"
    )


def _listed(paths: Mapping[str, str] | list[str]) -> str:
    shown = sorted(paths)
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more
