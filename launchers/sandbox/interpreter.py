"""Which folders make up a Python interpreter, and which of them hold installed packages.

Hidden text can lie inside an installed package, so every folder of packages that a program could
read must be known: those that the interpreter uses, where single paths are masked, and those that
only happen to lie next to it, which are hidden as a whole.
"""

import glob
import os
from collections.abc import Iterable
from typing import NamedTuple

SYSTEM = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec")
SYSTEM_EXTRAS = ("/usr/include", "/usr/share/zoneinfo", "/usr/share/locale")
"""Readable everywhere: loaders, libraries, compilers. /usr/local and /usr/src are not."""
SYSTEM_PREFIX = "/usr"
PACKAGES = (
    *("lib/python3*/site-packages", "lib64/python3*/site-packages"),
    *("lib/python3*/dist-packages", "lib/python3/dist-packages"),
)
KINDRED = ("envs", "pkgs")
"""Folders of an installation that hold other environments and packages. In addition, what pip could
not remove lies among the packages under a name with a tilde."""


class Interpreter(NamedTuple):
    """The folders of one interpreter; none of them lies in SYSTEM."""

    folders: tuple[str, ...]
    """Readable: the virtual environment and the installation below it."""
    packages: tuple[str, ...]
    """Folders of installed packages that it imports from."""
    unused: tuple[str, ...]
    """Folders of installed packages that lie in what is readable and that it does not use."""


def find_interpreter(python: str) -> Interpreter:
    """Reads off the file system what `python` consists of, without starting it.

    Args:
        python: absolute path of the program, which may be a link of a virtual environment.
    """
    prefix = _prefix(os.path.abspath(python))
    settings = _virtual_environment(prefix)
    bases = {_prefix(os.path.realpath(python))}
    if settings:
        bases.add(os.path.dirname(settings["home"]))
    bases = {one for one in bases if glob.glob(f"{one}/lib/python3*")}
    shares = settings.get("include-system-site-packages", "").lower() == "true"
    used = ({prefix} if settings else set()) | (bases if shares or not settings else set())
    prefixes = used | bases
    packages = _packages(used)
    found = _packages(prefixes | {SYSTEM_PREFIX})
    found = {real: path for real, path in found.items() if real not in packages}
    kindred = [f"{prefix}/{one}" for prefix in prefixes for one in KINDRED]
    kindred += [path for folder in packages.values() for path in glob.glob(f"{folder}/~*")]
    unused = {*found.values(), *(folder for folder in kindred if os.path.isdir(folder))}
    return Interpreter(
        folders=tuple(sorted(one for one in prefixes if one != SYSTEM_PREFIX)),
        packages=tuple(sorted(packages.values())),
        unused=tuple(sorted(unused)),
    )


def _prefix(program: str) -> str:
    return os.path.dirname(os.path.dirname(program))


def _packages(prefixes: Iterable[str]) -> dict[str, str]:
    """Folders of packages by where they really lie, since `lib64` is often a link to `lib`."""
    found = [
        path for prefix in prefixes for one in PACKAGES for path in glob.glob(f"{prefix}/{one}")
    ]
    return {os.path.realpath(path): path for path in reversed(found)}


def _virtual_environment(prefix: str) -> dict[str, str]:
    """The keys of pyvenv.cfg; empty where the prefix is no virtual environment."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file]
    except FileNotFoundError:
        return {}
    return {key.strip().lower(): value.strip() for key, _, value in lines}
