"""The filter of system calls: which ways into the kernel are closed to a job, as a BPF program.

It is a list of what is refused, not of what is allowed: training code uses hundreds of calls and
a new library should not fail here. What the list leaves open is held by file rules, namespaces and
the lack of capabilities. The kernel runs the program at every call; it looks at numbers and at
arguments that are numbers, never at memory, so that no other thread can swap what it looked at.
The calls themselves stand in calls.py.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from launchers.sandbox.calls import (
    CLOCK_OF_A_PROCESS,
    CLOCKS,
    CLONE,
    CLONE3,
    CONNECTIONS,
    COUNTERS,
    DENIED,
    F_NOTIFY,
    F_SETLEASE,
    F_SETPIPE_SZ,
    FCNTL,
    IOCTL,
    IPC,
    ITSELF_ONLY,
    LABELS,
    MADV_COLD,
    MADV_PAGEOUT,
    MADVISE,
    MODES_AND_TIMES,
    OWNERS,
    PAGE_CACHE,
    PR_SET_PDEATHSIG,
    PRCTL,
    PRIORITIES,
    QUEUES,
    RT_SIGACTION,
    SETSOCKOPT,
    SIGCHLD,
    SO_RCVBUF,
    SO_SNDBUF,
    SOCKET,
    SOCKETPAIR,
    SOL_SOCKET,
    UNSEEN_MEMORY,
    UNSHARE,
    WATCHES,
    Numbers,
)
from launchers.sandbox.view import WallError

DONE, EPERM, EINVAL, ENOSYS, EOPNOTSUPP, EAFNOSUPPORT = 0, 1, 22, 38, 95, 97

NAMESPACES = 0x7E02_0000
"""Flags for a namespace of each kind but that of time: inside one a job would be its own root."""
TIME_NAMESPACE = 0x80
"""For unshare only: in clone these bits hold the signal."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Type into the terminal, or paste into the console, that the job was started from."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_SEQPACKET, SOCK_TYPES = 1, 5, 0xF

X32_CALLS = 0x4000_0000
"""Numbers from here on are the same calls again, in their 32-bit form."""

ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
LOAD, AND, RETURN = 0x20, 0x54, 0x06
IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT = 0x15, 0x35, 0x45
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in struct seccomp_data."""


class Machine(NamedTuple):
    """What differs between machines."""

    audit: int
    """The kernel's name for it, AUDIT_ARCH_*."""
    column: int
    """Its place among the numbers of each call."""
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

    What a kernel lacks is refused all the same, so that the answer is the same everywhere.

    Args:
        machine: as `uname -m` says it.
        sockets: whether sockets may be made; if not, then only pairs connected to each other.
        namespaces: whether namespaces keep other processes, their shared memory and the files of
            the user out of reach; if not, the calls that no file rule can stop are refused.

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
        # libraries then go without
        *_refused({**PAGE_CACHE, **QUEUES, **UNSEEN_MEMORY, **COUNTERS}, ENOSYS),
        (PRCTL, [_argument(0), *_when(IF_EQUAL, PR_SET_PDEATHSIG, _refuse(DONE)), *_end(ALLOW)]),
        (RT_SIGACTION, _keeps_signal(SIGCHLD)),
        (MADVISE, [_argument(2), *_none_of(MADV_COLD, MADV_PAGEOUT)]),
        (FCNTL, [_argument(1), *_none_of(F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ)]),
        (SETSOCKOPT, _keeps_sizes()),
    ]


def _sockets(allowed: bool) -> list[Rule]:
    """Which sockets can be made.

    A family that is not named here may lie outside the network namespace: AF_VSOCK reaches
    the host of a virtual machine.

    Only pairs that cannot be reconnected: a datagram socket of a pair can still send to every other
    Unix socket that has a path, which the rules on files do not stop.
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
    others = _no_flag(CLOCK_OF_A_PROCESS, EINVAL)
    return rules + [(numbers, others) for numbers in CLOCKS.values()]


def _refused(calls: Mapping[str, Numbers], error: int = EPERM) -> list[Rule]:
    return [(numbers, _refuse(error)) for numbers in calls.values()]


def _no_flag(flags: int, error: int = EPERM) -> Code:
    """Refuses when the first argument has one of these bits."""
    return [_argument(0), *_when(IF_ANY_BIT, flags, _refuse(error)), *_end(ALLOW)]


def _keeps_sizes() -> Code:
    """Answers as if done whoever asks for other sizes of what waits in a socket."""
    code = [_argument(1), *_unless(IF_EQUAL, SOL_SOCKET, _end(ALLOW)), _argument(2)]
    for option in (SO_SNDBUF, SO_RCVBUF):
        code += _when(IF_EQUAL, option, _refuse(DONE))
    return [*code, *_end(ALLOW)]


def _keeps_signal(number: int) -> Code:
    """Allows asking what a signal does, but not changing it: the new action is a null pointer."""
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
    """Instructions that are skipped unless the test holds."""
    return [_do(test, value, otherwise=len(body)), *body]


def _unless(test: int, value: int, body: Code) -> Code:
    """Instructions that are skipped if the test holds."""
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
        then: instructions to skip if a test holds.
        otherwise: instructions to skip if it does not.
    """
    return struct.pack("=HBBI", code, then, otherwise, value)
