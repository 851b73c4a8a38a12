"""What a program may know of the machine as a whole: facts that stay, and no counter that moves.

Whoever knows hidden text shares no counter with untrusted code: a process that can do nothing but
compute still reserves memory, and all others could read how much. So what the kernel tells of all
processes together is shown by a list: how many processors there are, how much memory, which
kernel. Behind bubblewrap these are copies, made when the sandbox is, and everything else of /proc
that belongs to no process is covered. Landlock can show no copies, and allows the layout alone.
"""

import glob
import os
import time

FACTS = ("cmdline", "devices", "filesystems", "version")
"""Of /proc, with nothing in them that moves: shown as they are."""
GPU_FACTS = ("driver",)
"""Of /proc: what NVIDIA's libraries read, where a job has GPUs."""
COPIED = ("cpuinfo", "loadavg", "meminfo", "stat", "sys", "uptime")
"""Of /proc: shown as copies."""
SETTINGS = (
    *(f"fs/{name}" for name in ("file-max", "nr_open", "pipe-max-size")),
    *(f"kernel/{name}" for name in ("cap_last_cap", "ngroups_max", "osrelease", "ostype")),
    *(f"kernel/{name}" for name in ("overflowgid", "overflowuid", "pid_max", "random/boot_id")),
    *(f"kernel/{name}" for name in ("threads-max", "version")),
    *(f"vm/{name}" for name in ("max_map_count", "mmap_min_addr", "overcommit_memory")),
    *("net/core/somaxconn", "net/ipv4/ip_local_port_range"),
)
"""Of /proc/sys; what lies beside them counts open files, names and bytes of chance."""
PROCESSORS = "/sys/devices/system"
LAYOUT = (
    *(f"cpu/{name}" for name in ("online", "offline", "possible", "present", "kernel_max")),
    *(f"cpu/cpu[0-9]*/topology/{name}" for name in ("core_id", "physical_package_id")),
    *(f"cpu/cpu[0-9]*/topology/{name}_siblings_list" for name in ("core", "thread")),
    *(f"node/{name}" for name in ("online", "possible", "has_cpu", "has_memory")),
    *(f"node/node[0-9]*/{name}" for name in ("cpulist", "cpumap", "distance")),
)
"""Of that folder: which processors and memories there are. What lies beside them says how busy each
is, how fast it runs and how much of it is taken."""
COPIES = "machine"
"""Folder of the wall's folder."""
EMPTY, NOTHING = "empty", "nothing"
"""A file and a folder there, which cover what is not shown."""


def layout_files() -> list[str]:
    """The files that say which processors and memories this machine has."""
    found = (glob.glob(f"{PROCESSORS}/{pattern}") for pattern in LAYOUT)
    return sorted(path for paths in found for path in paths)


def lay_copies(wall: str) -> None:
    """Writes the copies that a program sees, and what covers the rest.

    Args:
        wall: folder of the wall, which is never visible itself.
    """
    top = os.path.join(wall, COPIES)
    os.makedirs(os.path.join(top, NOTHING), exist_ok=True)
    _write(os.path.join(top, EMPTY), "")
    for name, text in _summaries().items():
        _write(os.path.join(top, "proc", name), text)
    for name in SETTINGS:
        _copy(f"/proc/sys/{name}", os.path.join(top, "proc/sys", name))
    for path in layout_files():
        _copy(path, os.path.join(top, "system", os.path.relpath(path, PROCESSORS)))


def covers(wall: str, *, gpus: bool) -> list[tuple[str, str]]:
    """What to mount over the kernel's own files: pairs of a path outside and one inside.

    Args:
        wall: folder of the wall, where the copies are.
        gpus: whether the job has any.
    """
    top = os.path.join(wall, COPIES)
    shown = {*FACTS, *(GPU_FACTS if gpus else ())}
    found = []
    for name in sorted(os.listdir("/proc")):
        path = f"/proc/{name}"
        # links lead to a process's own folder
        if name.isdigit() or name in shown or os.path.islink(path):
            continue
        unseen = NOTHING if os.path.isdir(path) else EMPTY
        found.append((os.path.join(top, f"proc/{name}" if name in COPIED else unseen), path))
    return [*found, (os.path.join(top, "system"), PROCESSORS)]


def _summaries() -> dict[str, str]:
    """Files that libraries read, with what stays in them and zero for what moves."""
    kilobytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10
    memory = {"MemTotal": kilobytes, "MemFree": kilobytes, "MemAvailable": kilobytes}
    memory |= dict.fromkeys(("Buffers", "Cached", "SwapTotal", "SwapFree"), 0)
    since = time.clock_gettime(time.CLOCK_BOOTTIME)
    processors = ["cpu ", *(f"cpu{number}" for number in sorted(os.sched_getaffinity(0)))]
    booted = int(time.time() - since)
    return {
        "cpuinfo": _read("/proc/cpuinfo") or "",
        "loadavg": "0.00 0.00 0.00 1/1 1\n",
        "meminfo": "".join(f"{name + ':':<16}{size:>8} kB\n" for name, size in memory.items()),
        "stat": "".join(f"{name}{' 0' * 10}\n" for name in processors) + f"btime {booted}\n",
        "uptime": f"{since:.2f} 0.00\n",
    }


def _copy(source: str, target: str) -> None:
    text = _read(source)
    if text is not None:
        _write(target, text)


def _read(path: str) -> str | None:
    """A file of the kernel; None where it is not there or not for this user."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
