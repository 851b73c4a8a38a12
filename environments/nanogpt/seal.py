"""Seal a process: from here on it computes, and answers on the pipes it has, and does nothing else.

A server that has seen hidden text could leave notes for the next one, or for a later training, even
where it may write no file: a name that was looked up once is answered faster the second time, by the
kernel's cache, whether there is such a file or not. Notes make the leak audit worthless, since what
a server must have forgotten it then reads again. So a server gives up every call that takes a name,
opens, starts, sends, locks or signals, before the first line of patched code runs in it. Of what is
left, memory must carry nothing either: all pages of the mapped libraries are read before, since one
that is not yet in the machine's memory would be once it is touched, and nothing is shared with other
processes, neither new memory nor futexes, which reach whoever maps the same library.

A sealed process cannot import. What patched code will import, often deep in a library and only when
it is used, is found out before by a rehearsal: a child runs it that is gone afterwards and has seen
no hidden text. It may open files to read them, and its word counts for names of modules only.

The filter is a BPF program that the kernel runs at every call. It cannot be taken back. Source of the
numbers: asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64) of the kernel.
"""

import contextlib
import ctypes
import importlib
import os
import re
import signal
import struct
import sys

ALLOWED = {
    # the pipes
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "close": (3, 57),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    # memory
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "brk": (12, 214),
    # threads, those that there are
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sigaltstack": (131, 132),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # time, chance and itself
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "times": (100, 153),
    "uname": (63, 160),
    "getcwd": (79, 17),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
}
"""Calls that stay open: their numbers on x86_64 and on aarch64, None where there is no such call."""

LOOKING = {
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
}
"""Calls that are open in a rehearsal besides; a sealed process is told that there is no such file."""
READING = {
    "fstat": (5, 80),
    "lseek": (8, 62),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "getdents64": (217, 61),
    "pread64": (17, 67),
    "getppid": (110, 173),
    "sysinfo": (99, 179),
}
"""Calls that are open in a rehearsal besides; a sealed process may not make them."""
OPEN, OPENAT, FCNTL = (2, None), (257, 56), (72, 25)
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000
"""O_WRONLY, _RDWR, _CREAT, _TRUNC, and the bit of _TMPFILE."""
ABOUT_THE_DESCRIPTOR = (1, 2, 3)
"""F_GETFD, F_SETFD, F_GETFL."""

MMAP, MADVISE, FUTEX, CLONE3 = (9, 222), (28, 233), (202, 98), (435, 435)
MAP_SHARED, MAP_ANONYMOUS, FUTEX_PRIVATE = 0x01, 0x20, 0x80
ADVICE = (4, 8, 14, 15)
"""MADV_DONTNEED, _FREE, _HUGEPAGE and _NOHUGEPAGE; the others tell the kernel what to read."""

MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""The kernel's name of a machine, AUDIT_ARCH_*, and its column above."""
SECCOMP = (317, 277)
SET_MODE_FILTER, ALL_THREADS = 1, 1
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38

LOAD, RETURN, IF_EQUAL, IF_ANY_BIT = 0x20, 0x06, 0x15, 0x45
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
EPERM, ENOENT, EAGAIN, ENOSYS = 1, 2, 11, 38


MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
MOST_BYTES = 1 << 20
"""Of the names that a rehearsal may report."""


def can_seal():
    """Whether the calls of this system and machine are known here."""
    system, *_, machine = os.uname()
    return system == "Linux" and machine in MACHINES


def seal(*, keep, reading=False):
    """Gives up all calls but those above, in every thread, for good.

    Args:
        keep: File descriptors that stay open; all others are closed.
        reading: Whether files may still be opened to read them.

    Raises:
        OSError: the kernel does not take the filter.
    """
    _close_all_but(keep)
    if not reading:
        _read_mapped_files()
    machine = os.uname().machine
    code = program(machine, reading=reading)
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = SECCOMP[MACHINES[machine][1]]
    if libc.syscall(number, SET_MODE_FILTER, ALL_THREADS, filter_) != 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def rehearse(action):
    """Modules that an action imports, as a child says that does it and is ended then.

    The action is not trusted. The child can write to nothing but the pipe of its report, starts and
    signals no process, and has none of this process's files. For as long as it lives this process
    cannot be looked into, neither at its memory nor at what it will be asked.

    Args:
        action: Function without arguments. That it fails is no error.

    Returns:
        Names that have the form of a module's, of which nothing else is known.
    """
    known = frozenset(sys.modules)
    receive, send = os.pipe()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _do_and_report(action, known, send)
    os.close(send)
    try:
        with open(receive, "rb") as pipe:
            said = pipe.read(MOST_BYTES)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    return [name for name in said.decode(errors="replace").split() if MODULE.fullmatch(name)]


def _do_and_report(action, known, send):
    """In the child: does it, says what was imported, and ends."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        seal(keep=[0, 1, 2, send], reading=True)
        with contextlib.suppress(BaseException):
            action()
        with open(send, "w", encoding="utf-8") as pipe:
            pipe.write("\n".join(name for name in list(sys.modules) if name not in known))
    finally:
        os._exit(0)


def import_all(names):
    """Imports modules by name, but for those that lie beside this program.

    Nothing that a patch wrote may run before the seal. What cannot be imported is left for the patched
    code to stumble over.
    """
    here, before = os.path.dirname(os.path.realpath(__file__)), os.getcwd()
    installed = [path for path in sys.path if not _lies_in(here, os.path.realpath(path))]
    os.chdir("/")  # a library may put "." into the path
    for name in names:
        sys.path[:] = installed
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    sys.path[:] = installed
    os.chdir(before)


def _lies_in(path, folder):
    """Whether a path is the folder or lies below it; both without links."""
    return os.path.commonpath([path, folder]) == folder


def program(machine, *, reading=False):
    """The filter for a machine as `uname -m` calls it: instructions, struct sock_filter each."""
    audit, column = MACHINES[machine]
    code = _do(LOAD, MACHINE_AT) + _do(IF_EQUAL, audit, then=1) + _do(RETURN, KILL)
    code += _do(LOAD, NUMBER_AT)
    for numbers in (ALLOWED | LOOKING | READING if reading else ALLOWED).values():
        code += _call(numbers[column], _do(RETURN, ALLOW))
    code += _call(CLONE3[column], _do(RETURN, REFUSE | ENOSYS))  # libraries then try clone
    code += _call(MADVISE[column], _argument(2, IF_EQUAL, ADVICE))
    code += _call(FUTEX[column], _argument(1, IF_ANY_BIT, [FUTEX_PRIVATE], error=EAGAIN))
    if reading:
        code += _call(MMAP[column], _no_argument(3, MAP_SHARED))
        code += _call(OPEN[column], _no_argument(1, WRITING))
        code += _call(OPENAT[column], _no_argument(2, WRITING))
        code += _call(FCNTL[column], _argument(1, IF_EQUAL, ABOUT_THE_DESCRIPTOR))
    else:
        shared = _do(IF_ANY_BIT, MAP_SHARED, otherwise=1) + _do(RETURN, REFUSE | EPERM)
        at = ARGUMENTS_AT + 8 * 3
        code += _call(
            MMAP[column], _do(LOAD, at) + shared + _argument(3, IF_ANY_BIT, [MAP_ANONYMOUS])
        )
        for numbers in (*LOOKING.values(), OPEN, OPENAT):
            code += _call(numbers[column], _do(RETURN, REFUSE | ENOENT))
    return code + _do(RETURN, REFUSE | EPERM)


def _read_mapped_files():
    """Touches every page of every mapped file, so that touching one later tells and changes nothing."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        maps = [line.split(maxsplit=5) for line in file]
    for span, rights, *_, path in (words for words in maps if len(words) == 6):
        if path.startswith("/") and rights.startswith("r"):
            start, end = (int(address, 16) for address in span.split("-"))
            content = (ctypes.c_char * (end - start)).from_address(start)
            memoryview(content).cast("B")[::page].tobytes()


def _close_all_but(keep):
    """Closes every file descriptor that is not named."""
    for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - set(keep):
        with contextlib.suppress(OSError):  # that of the list itself, closed by now
            os.close(descriptor)


def _call(number, body):
    """What decides about one call; nothing where a machine does not have it."""
    return b"" if number is None else _do(IF_EQUAL, number, otherwise=len(body) // 8) + body


def _argument(index, test, values, *, error=EPERM):
    """Allows a call whose argument passes the test with one of the values, and refuses it else."""
    code = _do(LOAD, ARGUMENTS_AT + 8 * index)
    for value in values:
        code += _do(test, value, otherwise=1) + _do(RETURN, ALLOW)
    return code + _do(RETURN, REFUSE | error)


def _no_argument(index, bits):
    """Refuses a call whose argument has one of these bits, and allows it else."""
    code = _do(LOAD, ARGUMENTS_AT + 8 * index) + _do(IF_ANY_BIT, bits, otherwise=1)
    return code + _do(RETURN, REFUSE | EPERM) + _do(RETURN, ALLOW)


def _do(code, value, *, then=0, otherwise=0):
    """One instruction; `then` and `otherwise` say how many to pass over after a test."""
    return struct.pack("=HBBI", code, then, otherwise, value)
