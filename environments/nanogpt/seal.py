"""Seal a process: from here on it computes, and answers on the pipes it has, and does nothing else.

A server that has seen hidden text could leave notes for the next one, or for a later training, even
where it may write no file: a name that was looked up once is answered faster the second time, by the
kernel's cache, whether there is such a file or not. Notes make the leak audit worthless, since what
a server must have forgotten it then reads again. So a server gives up every call that takes a name,
opens, starts, sends, locks or signals, before the first line of patched code runs in it; of what is
left, nothing outlives the process but a few pages of libraries that the kernel reads from the disk.

The filter is a BPF program that the kernel runs at every call. It cannot be taken back. Source of the
numbers: asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64) of the kernel.
"""

import ast
import contextlib
import ctypes
import importlib
import os
import struct
import sys

ALLOWED = {
    # the pipes
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    # memory
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "brk": (12, 214),
    # threads
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
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
"""Calls that stay open; where the second number is of aarch64."""

MMAP, MADVISE, CLONE, CLONE3 = (9, 222), (28, 233), (56, 220), (435, 435)
MAP_ANONYMOUS, CLONE_THREAD = 0x20, 0x1_0000
ADVICE = (4, 8, 14, 15)
"""MADV_DONTNEED, _FREE, _HUGEPAGE and _NOHUGEPAGE; the others tell the kernel what to read."""

MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""The kernel's name of a machine, AUDIT_ARCH_*, and its column above."""
SECCOMP = (317, 277)
SET_MODE_FILTER, ALL_THREADS = 1, 1
PR_SET_NO_NEW_PRIVS = 38

LOAD, RETURN, IF_EQUAL, IF_ANY_BIT = 0x20, 0x06, 0x15, 0x45
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
EPERM, ENOSYS = 1, 38


def seal(*, keep):
    """Gives up all calls but those above, in every thread, for good.

    Args:
        keep: File descriptors that stay open; all others are closed.

    Raises:
        NotImplementedError: this is no Linux, or on a machine whose calls have no numbers here.
        OSError: the kernel does not take the filter.
    """
    system, *_, machine = os.uname()
    if system != "Linux" or machine not in MACHINES:
        found = f"{system} on {machine}"
        raise NotImplementedError(f"found {found}, expected Linux on {' or '.join(MACHINES)}")
    _close_all_but(keep)
    code = program(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = SECCOMP[MACHINES[machine][1]]
    if libc.syscall(number, SET_MODE_FILTER, ALL_THREADS, filter_) != 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def program(machine):
    """The filter for a machine as `uname -m` calls it: instructions, struct sock_filter each."""
    audit, column = MACHINES[machine]
    code = _do(LOAD, MACHINE_AT) + _do(IF_EQUAL, audit, then=1) + _do(RETURN, KILL)
    code += _do(LOAD, NUMBER_AT)
    for numbers in ALLOWED.values():
        if numbers[column] is not None:
            code += _when(IF_EQUAL, numbers[column], _do(RETURN, ALLOW))
    anonymous = _when(IF_ANY_BIT, MAP_ANONYMOUS, _do(RETURN, ALLOW))
    thread = _when(IF_ANY_BIT, CLONE_THREAD, _do(RETURN, ALLOW))
    advice = b"".join(_when(IF_EQUAL, one, _do(RETURN, ALLOW)) for one in ADVICE)
    for numbers, argument, test in ((MMAP, 3, anonymous), (CLONE, 0, thread), (MADVISE, 2, advice)):
        body = _do(LOAD, ARGUMENTS_AT + 8 * argument) + test + _do(RETURN, REFUSE | EPERM)
        code += _when(IF_EQUAL, numbers[column], body)
    # what clone3 is to do lies in memory, where no filter looks; libraries then take clone
    code += _when(IF_EQUAL, CLONE3[column], _do(RETURN, REFUSE | ENOSYS))
    return code + _do(RETURN, REFUSE | EPERM)


def import_for(source):
    """Imports what the import statements of a program name, wherever they stand in it.

    Installed packages only: nothing that a patch wrote may run before the seal, so the folder of this
    program is taken from the path. What cannot be imported is left for the program to stumble over.

    Args:
        source: Python, as text or bytes.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            with contextlib.suppress(Exception):  # it may be no module but a member of one
                importlib.import_module(name)


def _close_all_but(keep):
    """Closes every file descriptor that is not named."""
    for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - set(keep):
        with contextlib.suppress(OSError):  # that of the list itself, closed by now
            os.close(descriptor)


def _when(test, value, body):
    """Instructions that are passed over unless the test holds."""
    return _do(test, value, otherwise=len(body) // 8) + body


def _do(code, value, *, then=0, otherwise=0):
    """One instruction; `then` and `otherwise` say how many to pass over after a test."""
    return struct.pack("=HBBI", code, then, otherwise, value)
