"""Where git is: every patch is kept as git's own diff, so that no campaign runs without it."""

import os
import shutil
from functools import cache

from assets.errors import VarveError


@cache
def find_git() -> str:
    """The path of the git on the user's PATH, looked for once.

    Raises:
        VarveError: there is none.
    """
    found = shutil.which("git")
    if found is None:
        raise VarveError(
            f"git: not found in PATH={os.environ.get('PATH', '')!r}; expected git, which makes and "
            "applies the diffs of all patches: install it, for example `apt install git`, or put "
            "its folder on PATH, then run the same command again"
        )
    return os.path.abspath(found)
