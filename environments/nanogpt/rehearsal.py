"""Find out what patched code will import, since a sealed process can no longer import.

Much of it lies deep in a library and is imported only when it is used. So a child does the work
first, without hidden text and before the seal, and then ends. It may open files to read them, and
is believed about names of modules only. A patch therefore chooses which of the installed modules
are imported, and nothing else. What it found out by long work it cannot tell: its report is read by
another child, of which only the installed ones among the names come back, packages first and then
in the order of the alphabet. So what a rehearsal takes need not be counted.
"""

import contextlib
import ctypes
import importlib
import importlib.machinery
import os
import re
import signal
import sys

from seal import seal

FINDERS = (
    importlib.machinery.BuiltinImporter,
    importlib.machinery.FrozenImporter,
    importlib.machinery.PathFinder,
)
MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
BEGUN = "# begun"
"""First line of a report."""
MOST_BYTES = 1 << 20
"""Of a report."""
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4


def rehearse(action):
    """Modules that an action imports, as reported by a child that does it and then ends.

    The action is not trusted. The child can write to nothing but the pipe of its report, starts and
    signals no process, and has none of this process's files. As long as it lives, nobody without
    rights over this process can look into its memory and files.

    Args:
        action: Function without arguments. Its failure is no error.

    Returns:
        Names of installed modules, packages first, then in the order of the alphabet.

    Raises:
        OSError: no child could be started, or it did not reach the action.
    """
    known = frozenset(sys.modules)
    raw, report = os.pipe()
    receive, sifted = os.pipe()
    libc = ctypes.CDLL(None)
    before = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _do_and_report(action, known, report)
    os.close(report)
    sieve = os.fork()
    if sieve == 0:
        _sift(raw, sifted)
    os.close(raw)
    os.close(sifted)
    try:
        with open(receive, "rb") as pipe:
            said = pipe.read(MOST_BYTES)
    finally:
        for each in (child, sieve):
            os.kill(each, signal.SIGKILL)
            os.waitpid(each, 0)
        libc.prctl(PR_SET_DUMPABLE, before, 0, 0, 0)
    begun, *names = said.decode().split("\n")
    if begun != BEGUN:
        raise OSError("a rehearsal ended before it began")
    return names


def _do_and_report(action, known, report):
    """In the child: does it, says what was imported, and ends."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        seal(keep=[0, 1, 2, report], reading=True)
        with open(report, "w", encoding="utf-8") as pipe:
            print(BEGUN, file=pipe, flush=True)
            with contextlib.suppress(BaseException):
                action()
            pipe.write("\n".join(name for name in list(sys.modules) if name not in known))
    finally:
        os._exit(0)


def _sift(raw, sifted):
    """In another child: reads a report, and passes on what an honest one could hold."""
    try:
        with open(raw, "rb") as pipe:
            said = pipe.read(MOST_BYTES)
        begun, *names = said.decode(errors="replace").split("\n")
        installed = sorted(
            filter(is_installed, set(names)), key=lambda name: (name.count("."), name)
        )
        with open(sifted, "w", encoding="utf-8") as pipe:
            pipe.write("\n".join([begun if begun == BEGUN else "", *installed]))
    finally:
        os._exit(0)


def is_installed(name):
    """Whether a module of this name can be found; nothing is imported to find it."""
    if not MODULE.fullmatch(name):
        return False
    whole, places = "", None
    for part in name.split("."):
        if whole and places is None:
            return False
        whole = f"{whole}.{part}" if whole else part
        found = (finder.find_spec(whole, places) for finder in FINDERS)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None:
            return False
        places = spec.submodule_search_locations
    return True


def import_all(names):
    """Imports modules by name, except programs and what lies next to this one.

    Nothing that a patch wrote may run before the seal. What cannot be imported is left for the
    patched code to stumble over.

    Raises:
        RuntimeError: an import has started a process, which would not be sealed.
    """
    here, before = os.path.dirname(os.path.realpath(__file__)), os.getcwd()
    installed = [path for path in sys.path if not _lies_in(here, os.path.realpath(path))]
    os.chdir("/")  # a library may put "." into the path
    for name in names:
        if "__main__" not in name.split("."):
            sys.path[:] = installed
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)
    sys.path[:] = installed
    os.chdir(before)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        raise RuntimeError("an import has started a process")


def _lies_in(path, folder):
    """Whether a path is the folder or lies below it; both without links."""
    return os.path.commonpath([path, folder]) == folder
