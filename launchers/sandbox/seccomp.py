"""The filter of system calls: which doors into the kernel a job finds locked, as a BPF program.

It is a list of what is refused, not of what is allowed: training code uses hundreds of calls and
a new library should not fail here. What the list leaves open is held by file rules, namespaces and
the lack of capabilities. The kernel runs the program at every call; it looks at numbers and at
arguments that are numbers, never at memory, so that no other thread can swap what it looked at.

Every line has the numbers of a call on x86_64 and on aarch64, None where it does not exist.
Source: asm/unistd_64.h and asm-generic/unistd.h of the kernel.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from launchers.sandbox.view import WallError

Numbers = tuple[int | None, int | None]

DONE, EPERM, ENOSYS, EOPNOTSUPP, EAFNOSUPPORT = 0, 1, 38, 95, 97

PROCESSES: Mapping[str, Numbers] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
}
"""Reach into the memory and the open files of another process."""

KERNEL: Mapping[str, Numbers] = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}
"""Large interfaces that most holes in the kernel were found behind; io_uring besides opens files
and sockets past this filter."""

KEYS: Mapping[str, Numbers] = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
"""The kernel's key rings belong to the user and not to a namespace."""

MOUNTS: Mapping[str, Numbers] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "setns": (308, 268),
}
"""Change or list what is mounted where, or change to a namespace from which that looks different."""

HANDLES: Mapping[str, Numbers] = {
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
"""Open files by number, past the folders they lie in: the classic way out of a container."""

MACHINE: Mapping[str, Numbers] = {
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}
"""Run the machine itself. The last two also read, but only how the time is kept exact: the time is
read by clock_gettime."""

QUEUES: Mapping[str, Numbers] = {
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}
"""Counted for the whole machine, or for the whole user: one job could take all there are."""

UNSEEN_MEMORY: Mapping[str, Numbers] = {
    "shmget": (29, 194),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
"""Memory that belongs to no process while none has it mapped, so that no watch sees it."""

PAGE_CACHE: Mapping[str, Numbers] = {
    "cachestat": (451, 451),
    "mincore": (27, 232),
    "fadvise64": (221, 223),
    "preadv2": (327, 286),
}
"""Tell or decide which files lie in memory. The machine's cache is shared by the passes of an audit:
what one has read, the next could find there. That reading takes longer cannot be hidden."""

DENIED: Mapping[str, Numbers] = {**PROCESSES, **KERNEL, **KEYS, **MOUNTS, **HANDLES, **MACHINE}
"""Refused behind every wall."""

IPC: Mapping[str, Numbers] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
"""System V and POSIX objects have no path that a file rule could forbid: other programs of the user
share memory there, and what a job leaves behind outlives it."""

MODES_AND_TIMES: Mapping[str, Numbers] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
"""Landlock guards what is in a file and not its mode: with these a job could lock the user out of
every file of theirs, or open one to everybody. They are answered as if done, since copying a file
in Python ends with them, and no mode or time of a job's own files means anything to us."""

OWNERS: Mapping[str, Numbers] = {
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
}
"""The same for owners and flags, which no honest job changes."""

LABELS: Mapping[str, Numbers] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
}
"""Extended attributes; whoever copies a file can do without."""

WATCHES: Mapping[str, Numbers] = {
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
}
"""Tell when and under which names others use files that the job itself may not open."""

PRIORITIES: Mapping[str, Numbers] = {
    "ioprio_set": (251, 30),
}
"""Can slow down all other processes of the user at once."""

CONNECTIONS: Mapping[str, Numbers] = {
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
}
"""Without sockets there is nothing to connect: refused in case one is handed in."""

ITSELF_ONLY: Mapping[str, tuple[Numbers, tuple[int, ...]]] = {
    "prlimit64": ((302, 261), (0,)),
    "setpriority": ((141, 140), (0, 1)),
    "sched_setaffinity": ((203, 122), (0,)),
    "sched_setparam": ((142, 118), (0,)),
    "sched_setscheduler": ((144, 119), (0,)),
    "sched_setattr": ((314, 274), (0,)),
}
"""Aimed at any process of the user by its number. Which arguments must be 0, for "the caller": a
limit of no processor time, set on the supervisor, would kill it."""

CLONE: Numbers = (56, 220)
CLONE3: Numbers = (435, 435)
UNSHARE: Numbers = (272, 97)
IOCTL: Numbers = (16, 29)
MADVISE: Numbers = (28, 233)
PRCTL: Numbers = (157, 167)
PR_SET_PDEATHSIG = 1
"""Taken back, it would let a job outlive its supervisor; libraries that set it are told it is done."""
RT_SIGACTION: Numbers = (13, 134)
SIGCHLD = 17
"""Ignored, it makes the time of children that have ended nobody's. Who sets it is told it is done, and
waits for children without being told of their end."""
MADV_COLD, MADV_PAGEOUT = 20, 21
SOCKET: Numbers = (41, 198)
SOCKETPAIR: Numbers = (53, 199)

NAMESPACES = 0x7E02_0000
"""Flags for a namespace of each kind but that of time: inside one a job would be its own root."""
TIME_NAMESPACE = 0x80
"""To unshare only: clone has the signal in these bits."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Type into the terminal, or paste into the console, that the job was started from."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_SEQPACKET, SOCK_TYPES = 1, 5, 0xF

X32_CALLS = 0x4000_0000
"""Numbers from here on are the same calls once more, in the way of 32 bits."""

ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
LOAD, AND, RETURN = 0x20, 0x54, 0x06
IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT = 0x15, 0x35, 0x45
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in struct seccomp_data."""


class Machine(NamedTuple):
    """What differs between machines."""

    audit: int
    """The kernel's name of it, AUDIT_ARCH_*."""
    column: int
    """Of the tables above."""
    has_x32: bool


MACHINES = {
    "x86_64": Machine(audit=0xC000_003E, column=0, has_x32=True),
    "aarch64": Machine(audit=0xC000_00B7, column=1, has_x32=False),
}

Code = list[bytes]
"""Instructions, struct sock_filter each."""

Rule = tuple[Numbers, Code]
"""A call, and what decides about it: instructions that always come to an end."""


class UnsupportedMachineError(WallError):
    """The numbers of system calls on this kind of machine are not known here."""


def program(*, machine: str, sockets: bool, namespaces: bool = True) -> bytes:
    """The filter for one kind of machine.

    What is missing in a kernel is refused all the same, so that the answer is one everywhere.

    Args:
        machine: as `uname -m` says it.
        sockets: whether sockets may be made; if not, then only pairs connected to each other.
        namespaces: whether namespaces keep other processes, their shared memory and the files of
            the user out of reach; if not, the calls are refused that no file rule can hold.

    Returns:
        Instructions, struct sock_filter each, to be loaded as they are.

    Raises:
        UnsupportedMachineError: there is no table for this machine.
    """
    if machine not in MACHINES:
        raise UnsupportedMachineError(
            f"system calls of the machine {machine!r}: found no table, expected one of "
            f"{list(MACHINES)}; run jobs on such a machine, or at the level none"
        )
    kind = MACHINES[machine]
    rules = [*_everywhere(), *_sockets(sockets), *([] if namespaces else _shared_machine())]
    code = [_do(LOAD, MACHINE_AT), *_unless(IF_EQUAL, kind.audit, _end(KILL))]
    code += [_do(LOAD, NUMBER_AT)]
    if kind.has_x32:
        code += _when(IF_AT_LEAST, X32_CALLS, _refuse(ENOSYS))
    for numbers, body in rules:
        number = numbers[kind.column]
        if number is not None:
            code += _when(IF_EQUAL, number, body)
    return b"".join([*code, *_end(ALLOW)])


def _everywhere() -> list[Rule]:
    """What holds behind every wall."""
    return [
        *_refused(DENIED),
        (CLONE, _no_flag(NAMESPACES)),
        (CLONE3, _refuse(ENOSYS)),  # its flags lie in memory; libraries then take clone
        (UNSHARE, _no_flag(NAMESPACES | TIME_NAMESPACE)),
        (IOCTL, [_argument(1), *_none_of(TIOCSTI, TIOCLINUX)]),
        *_refused({**PAGE_CACHE, **QUEUES, **UNSEEN_MEMORY}, ENOSYS),  # libraries then go without
        (PRCTL, [_argument(0), *_when(IF_EQUAL, PR_SET_PDEATHSIG, _refuse(DONE)), *_end(ALLOW)]),
        (RT_SIGACTION, _keeps_signal(SIGCHLD)),
        (MADVISE, [_argument(2), *_none_of(MADV_COLD, MADV_PAGEOUT)]),
    ]


def _sockets(allowed: bool) -> list[Rule]:
    """Which sockets can be made.

    A family that is not named here may lie outside the namespace of the network: AF_VSOCK reaches
    the host of a virtual machine.

    Of pairs, only those that cannot be connected anew: a datagram socket of a pair can still send
    to every other Unix socket that has a path, which the rules on files do not hold back.
    """
    family = _argument(0)
    if allowed:
        known = _one_of(AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, otherwise=EAFNOSUPPORT)
        pair = _one_of(AF_UNIX, otherwise=EAFNOSUPPORT)
        return [(SOCKET, [family, *known]), (SOCKETPAIR, [family, *pair])]
    connected = _one_of(SOCK_STREAM, SOCK_SEQPACKET, otherwise=EPERM)
    pair = _unless(IF_EQUAL, AF_UNIX, _refuse(EAFNOSUPPORT))
    pair += [_argument(1), _do(AND, SOCK_TYPES), *connected]
    return [*_refused(CONNECTIONS), (SOCKET, _refuse(EPERM)), (SOCKETPAIR, [family, *pair])]


def _shared_machine() -> list[Rule]:
    """What else is refused where no namespace keeps the rest of the machine out of reach."""
    rules = _refused({**IPC, **OWNERS, **WATCHES, **PRIORITIES})
    rules += _refused(MODES_AND_TIMES, DONE) + _refused(LABELS, EOPNOTSUPP)
    for numbers, arguments in ITSELF_ONLY.values():
        body: Code = []
        for index in arguments:
            body += [_argument(index), *_unless(IF_EQUAL, 0, _refuse(EPERM))]
        rules.append((numbers, [*body, *_end(ALLOW)]))
    return rules


def _refused(calls: Mapping[str, Numbers], error: int = EPERM) -> list[Rule]:
    return [(numbers, _refuse(error)) for numbers in calls.values()]


def _no_flag(flags: int) -> Code:
    """Refuses when the first argument has one of these bits."""
    return [_argument(0), *_when(IF_ANY_BIT, flags, _refuse(EPERM)), *_end(ALLOW)]


def _keeps_signal(number: int) -> Code:
    """Allows to ask what a signal does and not to change it: the new action is a null pointer."""
    action = ARGUMENTS_AT + 8
    halves = [(_do(LOAD, at), _unless(IF_EQUAL, 0, _refuse(DONE))) for at in (action, action + 4)]
    code = [_argument(0), *_unless(IF_EQUAL, number, _end(ALLOW))]
    for load, body in halves:
        code += [load, *body]
    return [*code, *_end(ALLOW)]


def _one_of(*values: int, otherwise: int) -> Code:
    """Allows these values of what was loaded, and refuses all others with an error number."""
    allowed = [one for value in values for one in _when(IF_EQUAL, value, _end(ALLOW))]
    return [*allowed, *_refuse(otherwise)]


def _none_of(*values: int) -> Code:
    """Refuses these values of what was loaded, and allows all others."""
    refused = [one for value in values for one in _when(IF_EQUAL, value, _refuse(EPERM))]
    return [*refused, *_end(ALLOW)]


def _when(test: int, value: int, body: Code) -> Code:
    """Instructions that are passed over unless the test holds."""
    return [_do(test, value, otherwise=len(body)), *body]


def _unless(test: int, value: int, body: Code) -> Code:
    """Instructions that are passed over if the test holds."""
    return [_do(test, value, then=len(body)), *body]


def _argument(index: int) -> bytes:
    """Loads the low half of an argument: the kernel itself looks at no more of these."""
    return _do(LOAD, ARGUMENTS_AT + 8 * index)


def _refuse(error: int) -> Code:
    """Answers instead of the kernel, with 0 as if it had been done."""
    return _end(REFUSE | error)


def _end(action: int) -> Code:
    return [_do(RETURN, action)]


def _do(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction.

    Args:
        code: what it does.
        value: what it does it with.
        then: instructions to pass over if a test holds.
        otherwise: instructions to pass over if it does not.
    """
    return struct.pack("=HBBI", code, then, otherwise, value)
