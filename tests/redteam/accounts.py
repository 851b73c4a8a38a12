"""Who runs the jobs of the corpus here, which levels work for them, and what the machine has."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from redteam.field import copied_room
from redteam.world import MYSELF, Account

from launchers.sandbox import preflight

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST = (3, 10)


def accounts() -> list[Account]:
    """Whoever runs the tests; where that is root, an ordinary user too."""
    if os.geteuid() != 0:
        return [MYSELF]
    return [MYSELF, Account("nobody", NOBODY, SYSTEM_PYTHON)]


def is_ordinary(account: Account) -> bool:
    """Whether jobs of this account have none of root's rights."""
    return account.uid is not None or os.geteuid() != 0


@functools.cache
def lacks(account: Account) -> str | None:
    """Why this account can run nothing here; None where it can."""
    if account.uid is None:
        return None
    if shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed: jobs cannot be run as an ordinary user"
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        said = subprocess.run([SYSTEM_PYTHON, "-c", ask], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"no {SYSTEM_PYTHON}, which an ordinary user could run"
    if tuple(map(int, said.split())) < OLDEST:
        return f"{SYSTEM_PYTHON} is older than {OLDEST}"
    return None


@functools.cache
def finding(level: str, account: Account) -> tuple[bool, str]:
    """Whether a level works for an account, and what was found and would help."""
    if account.uid is None:
        found = next(one for one in preflight.examine(account.python) if one.level == level)
        return found.works, f"{found.reason}; {found.remedy}"
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from launchers.sandbox.preflight import examine\n"
        "one = next(f for f in examine(sys.executable) if f.level == sys.argv[2])\n"
        "print(int(one.works), one.reason, one.remedy)"
    )
    room = copied_room(account.python).parent
    who = [f"--reuid={account.uid}", f"--regid={account.uid}", "--clear-groups"]
    command = ["setpriv", *who, account.python, "-I", "-S", "-c", ask, str(room), level]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    works, _, said = (done.stdout or f"0 {done.stderr}").partition(" ")
    return works == "1", said


def missing(need: str, account: Account) -> str | None:
    """Why an attack means nothing on this machine even without a wall; None where it does."""
    ways = {
        "ipv6": lambda: _can_bind(socket.AF_INET6, "::1"),
        "vsock": lambda: _can_make(getattr(socket, "AF_VSOCK", -1)),
        "tiocsti": lambda: _setting("dev/tty/legacy_tiocsti", "1") == "1",
        "io_uring": lambda: _setting("kernel/io_uring_disabled", "0") == "0",
        "ptrace": lambda: (
            not is_ordinary(account) or _setting("kernel/yama/ptrace_scope", "0") == "0"
        ),
        "userns": lambda: _can_make_namespace(account),
    }
    return None if ways[need]() else f"this machine has no {need} that is open to this user"


def _setting(name: str, default: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return default


def _can_make(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _can_bind(family: int, host: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as one:
        one.bind((host, 0))
        return True
    return False


def _can_make_namespace(account: Account) -> bool:
    ask = "import ctypes, sys; sys.exit(-ctypes.CDLL(None).unshare(0x10000000))"
    done = subprocess.run(
        [account.python if account.uid else sys.executable, "-I", "-S", "-c", ask],
        user=account.uid,
        check=False,
        capture_output=True,
    )
    return done.returncode == 0
