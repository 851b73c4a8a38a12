"""Filters of system calls, interpreted: what a program says to a call on any machine.

Source: classic BPF as the kernel's seccomp takes it, and the kernel's own headers for the numbers.
"""

import errno
import os
import re
import struct
from pathlib import Path

import pytest

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
NEW = {  # these are newer than the headers of many distributions, and the same on every machine
    "memfd_secret": 447,
    "cachestat": 451,
    "fchmodat2": 452,
    "statmount": 457,
    "listmount": 458,
    "setxattrat": 463,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_setattr": 469,
}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, DONE, KILLED = "allowed", "as if done", "killed"


def names(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def kernel_numbers(machine: str) -> dict[str, int]:
    """The kernel's own table of a machine, as its headers have it."""
    found = next((path for path in HEADERS[machine] if os.path.exists(path)), None)
    if found is None:
        pytest.skip(f"no kernel header with the calls of {machine} is installed here")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+) +(\d+) *$", Path(found).read_text(), re.M)
    return NEW | {name: int(number) for name, number in lines if name != "syscalls"}


def answer(program: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """What a filter says to a call, as the kernel would run it."""
    full = [*arguments, *(0,) * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *(one & (1 << 64) - 1 for one in full))
    code = list(struct.iter_unpack("<HBBI", program))
    at, value = 0, 0
    while True:
        operation, then, otherwise, k = code[at]
        at += 1
        match operation:
            case 0x20:
                value = struct.unpack_from("<I", data, k)[0]
            case 0x54:
                value &= k
            case 0x15:
                at += then if value == k else otherwise
            case 0x35:
                at += then if value >= k else otherwise
            case 0x45:
                at += then if value & k else otherwise
            case 0x06:
                return in_words(k)
            case _:
                raise AssertionError(f"no such operation: {operation:#x}")


def in_words(action: int) -> str:
    if action == 0x80000000:
        return KILLED
    if action & 0xFFFF0000 == 0x00050000:
        return errno.errorcode.get(action & 0xFFFF, DONE)
    assert action == 0x7FFF0000
    return ALLOWED
