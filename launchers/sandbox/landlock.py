"""The level `landlock`: a process gives up what jobs may not have, then becomes a job's program.

It needs neither namespaces nor rights, so it works in containers where bubblewrap does not.
The command line starts confine.py, which is told what is allowed and becomes the command.
Leaves out memory and disk, which the supervisor watches.
"""

import os
import sys
from collections.abc import Iterable, Sequence

from launchers.sandbox import seccomp
from launchers.sandbox.counters import layout_files
from launchers.sandbox.interpreter import SYSTEM, SYSTEM_EXTRAS, find_interpreter
from launchers.sandbox.status import status_path
from launchers.sandbox.view import GPU_DEVICES, View

SYSTEM_FILES = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"),
    *("/dev/zero", "/dev/random", "/dev/urandom"),
    "/proc/cpuinfo",
)
GPU_FILES = ("/proc/driver/nvidia", "/proc/devices", "/sys/bus/pci", "/sys/module/nvidia")
START = "import sys; sys.path.append(sys.argv[1]); import confine; confine.main(sys.argv[2:])"
"""Imports confine.py, since a file that is run directly is compiled again each time (6 ms)."""


def landlock_command(view: View, command: Sequence[str]) -> list[str]:
    """The command line that runs a command confined by Landlock, in the view's folder.

    The process environment is passed through as it is.

    Args:
        view: what the program may see.
        command: absolute path of a program, and its arguments.

    Raises:
        UnsupportedMachineError: there is no filter of calls for this machine.
    """
    interpreter = find_interpreter(view.python)
    system = (*SYSTEM, *SYSTEM_EXTRAS, *SYSTEM_FILES, *(GPU_FILES if view.gpus else ()))
    calls = seccomp.program(machine=os.uname().machine, sockets=False, namespaces=False)
    words = [
        *(
            "status",
            status_path(view),
            "folder",
            view.folder,
            "calls",
            calls.hex(),
            "processes",
            str(view.processes),
        ),
        *("file-bytes", str(max(view.out_bytes, view.scratch_bytes))),
        *_each("read", (*system, *layout_files(), *interpreter.folders)),
        *_each("read", (view.folder, *view.readable.values())),
        *_each("hide", interpreter.unused),
        *_each("hide", (f"{one}/{path}" for one in interpreter.packages for path in view.masked)),
        *_each("write", (f"{view.work}/{name}" for name in _private_folders(view))),
        *_each("gpu", _gpu_devices(view)),
    ]
    here = os.path.dirname(os.path.abspath(__file__))
    start = [sys.executable or view.python, "-I", "-S", "-c", START, here]
    return [*start, *words, "run", *command]


def _each(name: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


def _private_folders(view: View) -> list[str]:
    if view.work is None:
        return []
    return ["home", "tmp", "out"] if view.out_bytes else ["home", "tmp"]


def _gpu_devices(view: View) -> list[str]:
    names = [*(f"nvidia{number}" for number in view.gpus), *GPU_DEVICES]
    return [f"/dev/{name}" for name in names] if view.gpus else []
