"""The level `bwrap`: bubblewrap shows a program an almost empty machine.

It sees the system's libraries, the interpreter, the environment's tree and what the view names, all
read only. There is no network, no other process, no key, no counter of the machine, and nothing
outside that can be written: `out`, temporary files and shared memory are in-memory file systems of
a fixed size.

Process 1 of the process namespace is a shell that starts the program and ends with it, so that the
kernel has ended everything that the program started before anyone learns that it has ended. For an
ordinary user, a user namespace gives the rights to do all this. For root there is none, since
limits on processes do not bind real root; the program gets a user id of its own instead. The shell
keeps root's, since only then can the death of bubblewrap, which has no rights left, end it.

No word of the command is `--`, which argument parsers of an environment would take for their own.
A small shell in front opens files under fixed numbers, because a command line is all that a grader
is given to start a server with. Where the results are wanted, process 1 first waits until the
supervisor has opened the folder through /proc: what the descriptor holds outlives the namespace and
is read when nobody is left to change it.
"""

import os
import resource
import shlex
import stat
import time
from collections.abc import Iterable, Sequence

from launchers.sandbox import seccomp
from launchers.sandbox.counters import PROCESSORS, covers, lay_copies
from launchers.sandbox.environment import DEFAULT_PATH, RUN_MARKER
from launchers.sandbox.interpreter import SYSTEM, SYSTEM_EXTRAS, Interpreter, find_interpreter
from launchers.sandbox.programs import needed
from launchers.sandbox.status import RAISING, STANDING, STATUS, clear_status, has_failed
from launchers.sandbox.view import ENV, GPU_DEVICES, OUT, View, WallError

ROOM = "/varve"
HOME = "/tmp/home"  # inside the namespace
GATE, FILTER = "gate", "filter"
"""Files of the wall: the supervisor's word to begin, and the filter of system calls."""
LOCK_FD, GATE_FD, STATUS_FD, FILTER_FD = 6, 7, 8, 9
OPEN_FILES = 4096
FIRST_UID = 0x7000_0000
"""With the supervisor's process id added, a user id that no distribution hands out (the range is
"unused" in systemd's table) and that no other job has."""
SCRATCH = ("/dev/shm", "/tmp")
ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
LINKED = ("bin", "sbin", "lib", "lib32", "lib64")
IN_MEMORY = (*SCRATCH, f"{ROOM}/{OUT}")
"""What a program can write to, as it calls it."""
ENTER_SECONDS = 30.0
"""How long bubblewrap may take until the program can begin."""


class Bubblewrap:
    """Puts programs behind bubblewrap."""

    watches_disk = False

    def path(self, view: View, name: str) -> str:
        """What the program calls a folder of its view."""
        del view
        return f"{ROOM}/{name}"

    def prepare(self, view: View) -> None:
        """Writes the files that the wall needs.

        Raises:
            WallError: the program's user could not read what it is to be given.
        """
        clear_status(view)
        lay_copies(view.wall)
        with open(os.path.join(view.wall, FILTER), "wb") as file:
            file.write(seccomp.program(machine=os.uname().machine, sockets=True))
        if os.geteuid() == 0:
            for folder in view.readable.values():
                _check_readable(folder)
        if view.out_bytes:
            os.mkfifo(os.path.join(view.wall, GATE))

    def command(self, view: View, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` behind the wall.

        Raises:
            WallError: a program that it needs is not on this machine.
        """
        opened = [(STATUS_FD, ">>", STATUS), (FILTER_FD, "<", FILTER)]
        if view.out_bytes:
            opened.append((GATE_FD, "<", GATE))
        files = [
            f"{number}{how}{shlex.quote(os.path.join(view.wall, name))}"
            for number, how, name in opened
        ]
        if view.lock:
            files.append(f"{LOCK_FD}<{shlex.quote(view.lock)}")
        raising = f'exec {" ".join(files)}; printf {RAISING} >&{STATUS_FD}; exec "$@"'
        outer = ["/bin/sh", "-c", raising, "varve", needed("bwrap"), *arguments(view)]
        return [*outer, *_inside(view), *command]

    def open_out(self, view: View, pid: int) -> int:
        """Opens the program's `out` and lets the program begin.

        Args:
            view: of the program.
            pid: process id of the command that was started.

        Returns:
            A descriptor of the folder, which keeps its content alive.

        Raises:
            WallError: the program did not reach its start.
        """
        gate = os.open(os.path.join(view.wall, GATE), os.O_RDWR)
        give_up = time.monotonic() + ENTER_SECONDS
        try:
            while (out := _open_inside(pid)) is None:
                if _has_ended(pid) or time.monotonic() > give_up:
                    raise WallError("bubblewrap did not reach the start of the program")
                time.sleep(0.001)
            os.write(gate, b"go\n")
            return out
        finally:
            os.close(gate)

    def failed(self, view: View) -> bool:
        """Whether some start so far never reached its program."""
        return has_failed(view)


def _inside(view: View) -> list[str]:
    """What runs inside before the program: process 1, limits, another user id, a last check.

    The last check is made as the program's own user. The descriptor that reports it is closed
    before the program begins; where process 1 keeps it, process 1 is another user.
    """
    wait = f"read -r go <&{GATE_FD} || exit 125; exec {GATE_FD}<&-; " if view.out_bytes else ""
    if view.lock:  # free, the supervisor that held it died before it could end this
        wait += f"{needed('flock')} -n -s {LOCK_FD} && exit 125; exec {LOCK_FD}<&-; "
    look = f'test -x "$1" && test -r . && printf {STANDING} >&{STATUS_FD} && exec {STATUS_FD}>&-'
    limits = [needed("prlimit"), *_limits(view)]
    user = _user()
    if not user:
        return [*limits, "/bin/sh", "-c", f'{wait}{look} || exit 126; "$@"; exit $?', "varve"]
    begin = ["/bin/sh", "-c", f'{look} && exec "$@"; exit 126', "varve"]
    return ["/bin/sh", "-c", f'{wait}"$@"; exit $?', "varve", *limits, *user, *begin]


def _check_readable(folder: str) -> None:
    """Refuses files that only their owner may read, since the program is another user.

    Raises:
        WallError: there is one.
    """
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            if not os.stat(path).st_mode & stat.S_IROTH:
                raise WallError(
                    f"{path}: found a mode that lets its owner alone read it, expected one for "
                    "all, since behind the wall a job is another user; "
                    f"chmod -R o+rX {folder}"
                )


def arguments(view: View) -> list[str]:
    """The arguments of bubblewrap itself."""
    interpreter = find_interpreter(view.python)
    return [
        *_namespaces(),
        *("--seccomp", str(FILTER_FD)),
        *_variables(view),
        *_parents([f"{ROOM}/{ENV}", *SYSTEM, *SYSTEM_EXTRAS, *ETC, PROCESSORS]),
        *_system(),
        *("--proc", "/proc", "--dev", "/dev"),
        *(
            word
            for cover, path in covers(view.wall, gpus=bool(view.gpus))
            for word in ("--ro-bind", cover, path)
        ),
        *_gpus(view),
        *(word for folder in SCRATCH for word in _memory(folder, view.scratch_bytes)),
        *("--perms", "0777", "--dir", HOME),
        *_parents(interpreter.folders),  # not before /tmp, where an interpreter may lie
        *_python(view, interpreter),
        *("--ro-bind", view.folder, f"{ROOM}/{ENV}"),
        *(
            word
            for name, at in view.readable.items()
            for word in ("--ro-bind", at, f"{ROOM}/{name}")
        ),
        *(_memory(f"{ROOM}/{OUT}", view.out_bytes) if view.out_bytes else ()),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", f"{ROOM}/{ENV}"),
    ]


def _namespaces() -> list[str]:
    words = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--new-session"]
    words += ["--hostname", "varve", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return ["--unshare-user", "--uid", "1000", "--gid", "1000", *words]


def _user() -> list[str]:
    """As root: takes a user id of its own, which drops every capability."""
    if os.geteuid() != 0:
        return []
    uid = str(FIRST_UID + os.getpid())
    drop = ["--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]
    return [needed("setpriv"), *drop]


def _limits(view: View) -> list[str]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    return [f"--nproc={view.processes}", f"--nofile={files}", "--core=0"]


def _variables(view: View) -> list[str]:
    words = ["--clearenv"]
    own = {"HOME": HOME, "TMPDIR": "/tmp", "PATH": DEFAULT_PATH}
    given = {name: value for name, value in view.environment.items() if name != RUN_MARKER}
    for name, value in {**given, **own}.items():
        words += ["--setenv", name, value]
    return words


def _system() -> list[str]:
    words = []
    for folder in (*SYSTEM, *SYSTEM_EXTRAS):
        if os.path.isdir(folder) and not os.path.islink(folder):
            words += ["--ro-bind", folder, folder]
    for name in LINKED:
        if os.path.islink(f"/{name}"):
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in ETC:
        words += ["--ro-bind-try", path, path]
    return words


def _parents(paths: Iterable[str]) -> list[str]:
    """Makes the folders above mounts enterable for everybody; bubblewrap would not."""
    above: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        above |= dict.fromkeys("/".join(parts[:end]) for end in range(2, len(parts)))
    return [word for folder in above for word in ("--perms", "0755", "--dir", folder)]


def _python(view: View, interpreter: Interpreter) -> list[str]:
    """The interpreter's folders, without other packages and without what is masked."""
    words = []
    for folder in interpreter.folders:
        words += ["--ro-bind", folder, folder]
    masked = [
        os.path.join(packages, path) for packages in interpreter.packages for path in view.masked
    ]
    for folder in (*interpreter.unused, *masked):
        if os.path.isdir(folder):
            words += ["--size", "4096", "--perms", "0555", "--tmpfs", folder]
            words += ["--remount-ro", folder]
    return words


def _memory(folder: str, size: int) -> list[str]:
    """A file system in memory that holds at most `size` bytes."""
    return ["--size", str(size), "--perms", "1777", "--tmpfs", folder]


def _gpus(view: View) -> list[str]:
    names = [f"nvidia{number}" for number in view.gpus]
    names += GPU_DEVICES if names else ()
    return [word for name in names for word in ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")]


def _open_inside(pid: int) -> int | None:
    """The folder `out` of the namespace that bubblewrap `pid` made; None while it is not there."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            child = file.read().split()[0]
        inside = f"/proc/{child}/root"
        if os.path.samestat(os.stat(inside), os.stat("/")):
            return None
        found = os.open(f"{inside}{ROOM}/{OUT}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (OSError, IndexError):
        return None
    if not stat.S_ISDIR(os.fstat(found).st_mode):
        os.close(found)
        return None
    return found


def _has_ended(pid: int) -> bool:
    """Whether a child of this process has ended; it is not waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
