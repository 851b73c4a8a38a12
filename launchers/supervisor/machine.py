"""What a job ran on, in words that a reader of the lake can compare."""

import os
import sys


def hardware() -> str:
    """System, processor, number of usable cores, and GPUs where the driver lists them."""
    system = os.uname()
    parts = [f"{system.sysname} {system.machine}", _processor(), f"{_cores()} cores", *_gpus()]
    return ", ".join(part for part in parts if part)


def python_version(python: str) -> str | None:
    """Version of the interpreter that runs the environment; None if it cannot say."""
    if os.path.realpath(python) == os.path.realpath(sys.executable):
        return sys.version.split()[0]
    import subprocess

    command = [python, "-I", "-S", "-c", "import sys; print(sys.version.split()[0])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """Model of the first processor, where the system tells."""
    for line in _start_of("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def _gpus() -> list[str]:
    """Models of the NVIDIA devices, by the driver's own list."""
    folder = "/proc/driver/nvidia/gpus"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    lines = [
        line for name in names for line in _start_of(f"{folder}/{name}/information").split("\n")
    ]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _start_of(path: str) -> str:
    """The first 4 KiB of a file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""
