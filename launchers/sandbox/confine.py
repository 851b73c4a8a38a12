"""The last trusted code before a program at level `landlock`: it confines itself, then becomes it.

Started alone by `python -I -S`, without the package around it: it limits what the kernel counts,
gives up every capability, leaves only what was given of the file system, and loads the filter of
calls.

Rules on files can only allow, and hold for all that lies below a folder. So what is masked is left
out by allowing everything around it, and no link is ever followed: the kernel checks where a file
really lies, so that a link opens only what is allowed at that place.
"""

import ctypes
import os
import resource
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

STATUS_FD = 3
RAISING, STANDING = b"r", b"s"
"""As in status.py, which is not there when this file is started alone."""
FAILED = 125
"""Exit code where the program was not started."""
OLDEST_ABI = 6
"""Version of Landlock (Linux 6.12) from which signals stay within the job."""
OPEN_FILES = 1024
"""Also how many may be on their way through sockets, where the supervisor cannot count them."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = 1 << 10, 1 << 12, 1 << 13, 1 << 14, 1 << 15
"""LANDLOCK_ACCESS_FS_*; without a name, since nobody gets them: making sockets and devices."""
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
CHANGE = REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER
WRITE = READ | WRITE_FILE | TRUNCATE | CHANGE
NULL = READ_FILE | WRITE_FILE | TRUNCATE
GPU = READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV
RULESET_BYTES, RIGHTS = 24, 16
"""Of the kernel's structure in that version, and how many rights on files it knows."""
ALL_OF_TCP, ALL_SCOPES = 3, 3
"""Binding and connecting; abstract Unix sockets and signals, which then stay within the job."""

OWN_FILES: "tuple[str, ...]" = (
    "auxv",
    "cmdline",
    "comm",
    "environ",
    "fd",
    "fdinfo",
    "io",
    "limits",
    "maps",
)
OWN_FILES += ("oom_score", "stat", "statm", "status")
"""Of /proc/self; not `net` and the mounts, which describe the machine, nor `smaps` and `pagemap`,
which say what others have mapped too, nor `task`, which has all of these again. When memory is
short, the kernel forgets rules on /proc and refuses these too (seen); keeping them would take open
files handed to the job."""

PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
CAPABILITIES, CAPABILITY_VERSION = 64, 0x2008_0522
CLOSE_RANGE, EVERY_FD = 436, 0xFFFF_FFFF
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION, PATH_BENEATH = 1, 1
"""Numbers of calls, which are the same on every machine, and their constants."""
SIGPIPE, SIGXFSZ = 13, 25
UNSEEN = 8
"""Tasks of the user that may exist besides those that were counted."""


_LIBC = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> "NoReturn":
    """Confines this process, then becomes the command; ends with 125 where it cannot.

    The signal that makes it die with its parent stays as the parent set it: nothing here clears it,
    since rights are only ever given up.

    Args:
        arguments: pairs of a name and a value, `run`, and the command.
    """
    try:
        end = 2 * arguments[::2].index("run")
        given: dict[str, list[str]] = {"read": [], "hide": [], "write": [], "gpu": []}
        for name, value in zip(arguments[:end:2], arguments[1:end:2], strict=True):
            given.setdefault(name, []).append(value)
        command = arguments[end + 1 :]
        environment = _outer_environment()
        status = os.open(given["status"][0], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(status, RAISING)
        os.chdir(given["folder"][0])
        _limit(processes=int(given["processes"][0]), file_bytes=int(given["file-bytes"][0]))
        _drop_capabilities()
        _checked("no new rights", _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _confine_files(given)
        _confine_calls(bytes.fromhex(given["calls"][0]))
        for number in (SIGPIPE, SIGXFSZ):  # ignored by this interpreter, and that is inherited
            _LIBC.signal(number, None)
        if status != STATUS_FD:
            os.dup2(status, STATUS_FD, inheritable=False)  # closed as it becomes the command
        above = ctypes.c_uint(STATUS_FD + 1)
        _checked("closing files", _LIBC.syscall(CLOSE_RANGE, above, ctypes.c_uint(EVERY_FD), 0))
        os.write(STATUS_FD, STANDING)
        try:
            os.execve(command[0], command, environment)
        except OSError:
            os.write(STATUS_FD, RAISING)
            raise
    except Exception as error:  # noqa: BLE001  # nothing may look as if the command had failed
        text = " ".join(f"varve-sandbox: {error or type(error).__name__}".split())
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
    os._exit(FAILED)


def _outer_environment() -> dict[bytes, bytes]:
    """The process environment as it was given, before the interpreter added a locale to it."""
    with open("/proc/self/environ", "rb") as file:
        words = [word.partition(b"=") for word in file.read().split(b"\0")]
    return {name: value for name, equals, value in words if equals}


def _limit(*, processes: int, file_bytes: int) -> None:
    """Sets the limits that the kernel counts by itself."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    if os.getuid() != 0:  # the kernel ignores this one for root
        _lower(resource.RLIMIT_NPROC, _running() + processes)


def _lower(limit: int, value: int) -> None:
    most = resource.getrlimit(limit)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))


def _running() -> int:
    """How many tasks the kernel counts for this user, or somewhat more.

    In a container some of them cannot be seen. So what was seen is tried as a limit, and doubled
    until one more process can be started under it.
    """
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    count = sum(_tasks(name) for name in os.listdir("/proc") if name.isdigit()) + UNSEEN
    while count < most or most == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NPROC, (count, most))
        try:
            child = os.fork()
        except BlockingIOError:
            count *= 2
            continue
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        break
    return count


def _tasks(pid: str) -> int:
    """Threads of a process of this user; 0 for others."""
    try:
        found = os.stat(f"/proc/{pid}/task")
    except OSError:
        return 0
    return found.st_nlink - 2 if found.st_uid == os.getuid() else 0


def _drop_capabilities() -> None:
    """Gives up every capability for good. Root stays user 0 without rights of its own.

    Another user id could not reach an interpreter in a folder that only root may enter. For
    ordinary users the first step is neither allowed nor needed: they gain no rights by starting a
    program.
    """
    for number in range(CAPABILITIES):
        if os.geteuid() == 0 and _LIBC.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            dropped = _LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
            _checked(f"giving up the right to capability {number}", dropped)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION, 0))
    _checked("giving up capabilities", _LIBC.capset(header, bytes(24)))


def _confine_files(given: "Mapping[str, Sequence[str]]") -> None:
    """Leaves only what was given of the file system, and the little that every program needs."""
    rules = _Rules()
    hidden = [os.path.realpath(path) for path in given["hide"] if os.path.lexists(path)]
    for root in sorted({os.path.realpath(path) for path in given["read"] if os.path.exists(path)}):
        paths = allowed_beside(root, hidden)
        for path in paths:
            rules.allow(path, READ)
        if paths not in ([], [root]):
            rules.allow(root, READ_DIR)  # imports list the folders on the way
    for name in OWN_FILES:
        rules.allow(f"/proc/{os.getpid()}/{name}", READ)
    rules.allow("/dev/null", NULL)
    for path in given["gpu"]:
        rules.allow(path, GPU)
    for path in given["write"]:
        rules.allow(path, WRITE, needed=True)
    rules.enforce()


def allowed_beside(root: str, masked: "Iterable[str]") -> list[str]:
    """The fewest paths that together cover a folder except what is masked.

    Args:
        root: absolute path of a folder or file, without links in it.
        masked: absolute paths, without links in them.

    Returns:
        The root itself where nothing below it is masked. Links next to a masked path are never
        included: what they point to is readable if it is allowed where it lies.
    """
    near = [path for path in masked if _lies_in(path, root) or _lies_in(root, path)]
    if any(_lies_in(root, path) for path in near):
        return []
    if not any(os.path.lexists(path) for path in near):
        return [root]
    with os.scandir(root) as entries:
        beside = sorted(entry.path for entry in entries if not entry.is_symlink())
    return [path for entry in beside for path in allowed_beside(entry, near)]


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, by name."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


class _Rules:
    """Rules of Landlock: all that they do not allow is refused once they are enforced."""

    def __init__(self) -> None:
        """Starts with nothing allowed.

        Raises:
            OSError: this kernel has no Landlock or an old one.
        """
        version = _LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)
        if version < OLDEST_ABI:
            found = f"version {version}" if version > 0 else os.strerror(ctypes.get_errno())
            raise OSError(
                f"Landlock: found {found}, expected version {OLDEST_ABI} or newer (Linux 6.12); "
                "use another level or machine"
            )
        self._handled = (1 << RIGHTS) - 1
        wanted = struct.pack("=QQQ", self._handled, ALL_OF_TCP, ALL_SCOPES)
        made = _LIBC.syscall(CREATE_RULESET, wanted, ctypes.c_size_t(RULESET_BYTES), 0)
        self._ruleset = _checked("Landlock: making rules", made)

    def allow(self, path: str, rights: int, *, needed: bool = False) -> None:
        """Allows something with a path and all that lies below it.

        Args:
            path: absolute; a link allows nothing.
            rights: those that make no sense for a file are left out for files.
            needed: whether it must be there.

        Raises:
            FileNotFoundError: it is needed and not there.
        """
        try:
            opened = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if needed:
                raise
            return
        kind = os.fstat(opened).st_mode
        rights &= self._handled if stat.S_ISDIR(kind) else self._handled & ON_FILES
        rule = struct.pack("=Qi", rights, opened)
        _checked(f"Landlock: {path}", _LIBC.syscall(ADD_RULE, self._ruleset, PATH_BENEATH, rule, 0))
        os.close(opened)

    def enforce(self) -> None:
        """Makes the rules hold for this process for good."""
        _checked("Landlock", _LIBC.syscall(RESTRICT_SELF, self._ruleset, 0))
        os.close(self._ruleset)


def _confine_calls(calls: bytes) -> None:
    """Loads the filter of system calls."""
    code = ctypes.create_string_buffer(calls)
    program = struct.pack("@HP", len(calls) // 8, ctypes.addressof(code))
    loaded = _LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)
    _checked("the filter of calls", loaded)


def _checked(what: str, result: int) -> int:
    """A result of the C library.

    Raises:
        OSError: it says that it failed.
    """
    if result < 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result
