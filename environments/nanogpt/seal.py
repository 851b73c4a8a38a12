"""Seal a process: from here on it computes, answers on the pipes it has, and does nothing else.

A server that has seen hidden text could leave notes for the next one, or for a later training, even
where it may write no file: a name that was looked up once is answered faster the second time, by
the kernel's cache, whether there is such a file or not. Notes make the leak audit worthless, since
a server then reads again what it must have forgotten. So a server gives up every call that takes a
name, opens, starts, sends, locks or signals, before the first line of patched code runs in it.
Memory must carry no notes either. What is mapped of libraries is read beforehand, since touching a
page would otherwise bring it into the machine's memory; no more of them can be mapped; and nothing
is shared with other processes, neither new memory nor futexes, which reach whoever maps the same
library.

The filter is a BPF program that the kernel runs at every call. It cannot be taken back. Source of
the numbers: asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64) of the kernel.
"""

import ctypes
import itertools
import os
import struct

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
    "mprotect": (10, 226),
    "brk": (12, 214),
    # existing threads
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sigaltstack": (131, 132),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # time, chance and itself
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
"""Calls that stay open: their numbers on x86_64 and aarch64, None where there is no such call."""

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
"""Calls that are also open in a rehearsal; a sealed process is told that there is no file."""
READING = {
    "fstat": (5, 80),
    "lseek": (8, 62),
    "getdents64": (217, 61),
    "pread64": (17, 67),
}
"""Calls that are also open in a rehearsal; a sealed process may not make them."""
CLOCKS = {
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
}
"""Open for the clocks that have a number of their own; others are those of a process."""
OF_A_PROCESS = 0x8000_0000
GETAFFINITY = (204, 123)
OPEN, OPENAT, FCNTL = (2, None), (257, 56), (72, 25)
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000
"""O_WRONLY, _RDWR, _CREAT, _TRUNC, and the bit of _TMPFILE."""
ABOUT_THE_DESCRIPTOR = (1, 2, 3)
"""F_GETFD, F_SETFD, F_GETFL."""

MMAP, MADVISE, FUTEX, CLONE3 = (9, 222), (28, 233), (202, 98), (435, 435)
MAP_SHARED, MAP_ANONYMOUS, FUTEX_PRIVATE = 0x01, 0x20, 0x80
ADVICE = (4, 8)
"""MADV_DONTNEED and _FREE, which give memory back."""

MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""The kernel's name of a machine, AUDIT_ARCH_*, and its column above."""
SECCOMP = (317, 277)
SET_MODE_FILTER, ALL_THREADS = 1, 1
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38

LOAD, RETURN, IF_EQUAL, IF_ANY_BIT = 0x20, 0x06, 0x15, 0x45
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
EPERM, ENOENT, EAGAIN, ENOSYS = 1, 2, 11, 38


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


def program(machine, *, reading=False):
    """The filter for a machine as `uname -m` calls it: instructions, struct sock_filter each."""
    audit, column = MACHINES[machine]
    code = _do(LOAD, MACHINE_AT) + _do(IF_EQUAL, audit, then=1) + _do(RETURN, KILL)
    code += _do(LOAD, NUMBER_AT)

    def decide(calls, body):
        for numbers in calls:
            if numbers[column] is not None:
                test = _do(IF_EQUAL, numbers[column], otherwise=len(body) // 8)
                yield test + body

    rules = [
        (ALLOWED.values(), _do(RETURN, ALLOW)),
        (CLOCKS.values(), _argument_lacks(0, OF_A_PROCESS) + _do(RETURN, ALLOW)),
        ([GETAFFINITY], _argument_is(0, IF_EQUAL, [0])),
        ([MADVISE], _argument_is(2, IF_EQUAL, ADVICE)),
        ([FUTEX], _argument_is(1, IF_ANY_BIT, [FUTEX_PRIVATE], error=EAGAIN)),
        ([CLONE3], _do(RETURN, REFUSE | ENOSYS)),  # libraries then try clone
    ]
    unshared = _argument_lacks(3, MAP_SHARED)
    if reading:
        rules += [
            ([*LOOKING.values(), *READING.values()], _do(RETURN, ALLOW)),
            ([MMAP], unshared + _do(RETURN, ALLOW)),
            ([OPEN], _argument_lacks(1, WRITING) + _do(RETURN, ALLOW)),
            ([OPENAT], _argument_lacks(2, WRITING) + _do(RETURN, ALLOW)),
            ([FCNTL], _argument_is(1, IF_EQUAL, ABOUT_THE_DESCRIPTOR)),
        ]
    else:
        rules += [
            ([*LOOKING.values(), OPEN, OPENAT], _do(RETURN, REFUSE | ENOENT)),
            ([MMAP], unshared + _argument_is(3, IF_ANY_BIT, [MAP_ANONYMOUS])),
        ]
    code += b"".join(part for calls, body in rules for part in decide(calls, body))
    return code + _do(RETURN, REFUSE | EPERM)


def _read_mapped_files():
    """Reads what is mapped of every file, so that touching it later reveals and changes nothing."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        maps = [line.rstrip("\n").split(maxsplit=5) for line in file]
    for span, rights, offset, _, _, path in (words for words in maps if len(words) == 6):
        if path.startswith("/"):
            start, end = (int(address, 16) for address in span.split("-"))
            if rights.startswith("r"):
                content = (ctypes.c_char * (end - start)).from_address(start)
                memoryview(content).cast("B")[::page].tobytes()
            else:  # it could be made readable
                with open(path, "rb") as file:
                    file.seek(int(offset, 16))
                    file.read(end - start)


def _close_all_but(keep):
    """Closes every file descriptor that is not named; a child may not be able to list its own."""
    ends = [-1, *sorted(keep), os.sysconf("SC_OPEN_MAX")]
    for before, after in itertools.pairwise(ends):
        if after > before + 1:  # os.closerange takes an empty range to mean all
            os.closerange(before + 1, after)


def _argument_is(index, test, values, *, error=EPERM):
    """Allows a call whose argument passes the test with one of the values; otherwise refuses it."""
    code = _do(LOAD, ARGUMENTS_AT + 8 * index)
    for value in values:
        code += _do(test, value, otherwise=1) + _do(RETURN, ALLOW)
    return code + _do(RETURN, REFUSE | error)


def _argument_lacks(index, bits):
    """Refuses a call whose argument has one of these bits; otherwise what follows decides."""
    code = _do(LOAD, ARGUMENTS_AT + 8 * index) + _do(IF_ANY_BIT, bits, otherwise=1)
    return code + _do(RETURN, REFUSE | EPERM)


def _do(code, value, *, then=0, otherwise=0):
    """One instruction; `then` and `otherwise` say how many to skip after a test."""
    return struct.pack("=HBBI", code, then, otherwise, value)
