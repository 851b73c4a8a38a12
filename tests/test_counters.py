"""What walled programs can see of the machine: nothing that others move.

Each has its control without a wall, where the same look sees the same movement.
"""

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from scratch import scratch
from test_launchers import jobs, ridge_data, wait_until
from test_sandbox_bwrap import view
from test_turns import level

from launchers import here
from launchers.sandbox.walls import WALLS

__all__ = ["jobs", "level"]

MOVED_BYTES = 1 << 30
"""What a test reserves: more than all else on the machine does in a moment."""

LOOK = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def files():
    for name in NAMES:
        yield name
    for top in ("/sys/devices/system", "/proc/sys", "/proc/pressure"):
        for folder, _, names in os.walk(top):
            yield from (os.path.join(folder, name) for name in names)
def read(path):
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try: return os.read(file, 1 << 20).hex()
        finally: os.close(file)
    except OSError: return None
def called(number, *arguments):
    filled = ctypes.create_string_buffer(256)
    return filled.raw.hex() if libc.syscall(number, *arguments, filled) == 0 else None
def look():
    seen = {path: read(path) for path in files()}
    sysinfo, statfs = {"x86_64": (99, 137)}.get(os.uname().machine, (179, 43))
    return seen | {"sysinfo": called(sysinfo), "statfs": called(statfs, sys.argv[0].encode())}
before = look()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(sorted(name for name, now in look().items() if now != before[name])))
"""
OWN = {"/proc/self", "/proc/thread-self", "/proc/mounts", "/proc/net"}


def moved(level: str, tmp_path: Path) -> set[str]:
    """What a program sees move while this test takes memory, files and processor time."""
    (tmp_path / "env").mkdir()
    (tmp_path / "data").mkdir()
    tmp_path.chmod(0o755)
    names = [f"/proc/{name}" for name in os.listdir("/proc") if not name.isdigit()]
    unread = OWN | {"/proc/kmsg", "/proc/kcore"}
    script = f"NAMES = {sorted(set(names) - unread)!r}\n{LOOK}"
    shown, wall = view(tmp_path, environment={"PATH": "/usr/bin:/bin"}), WALLS[level]
    wall.prepare(shown)
    command = wall.command(shown, [sys.executable, "-I", "-S", "-c", script])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}
    ) as program:
        assert program.stdout.readline() == "ready\n"
        with mmap.mmap(-1, MOVED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory[:: 1 << 16] = bytes(MOVED_BYTES >> 16)
            kept = [os.pipe() for _ in range(64)]
            subprocess.run(["/bin/sh", "-c", "sleep 0.1"], check=True)
            said, _ = program.communicate("\n")
        for end in (end for pipe in kept for end in pipe):
            os.close(end)
    return set(json.loads(said))


def test_nothing_that_is_not_its_own_moves(level, tmp_path):
    seen = moved(level, tmp_path)
    if level == "none":
        assert {"/proc/meminfo", "/proc/vmstat", "/proc/stat", "sysinfo"} <= seen
        assert "/proc/sys/fs/file-nr" in seen
    else:
        assert not seen - CLOCKS[level]


CLOCKS = {"bwrap": set(), "landlock": {"/proc/cpuinfo"}}
"""Declared: Landlock can show no copy, and the kernel writes there how fast a processor runs."""


# ---------------------------------------------------------------------- one job tells another

STEP = 256 << 20
"""What a symbol of the message takes, bytes."""
TRIES = 3
"""Other programs reserve memory too, so that a message may be lost; one that comes is enough."""
TELL = """
import mmap, sys, time
def tell(point, began=time.monotonic()):
    number = hash_of(point)
    while time.monotonic() < began + 4:
        for symbol in (20, *((number >> 4 * place & 15) for place in range(6))):
            held = mmap.mmap(-1, (symbol + 1) * STEP, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            time.sleep(0.03)
            held.close()
            time.sleep(0.03)
def hash_of(point):
    import zlib
    return zlib.crc32(repr([round(float(one), 6) for one in point]).encode()) & 0xFFFFFF
def features(x):
    if "serve" in sys.argv[0] and tell.__defaults__:
        tell(x)
        tell.__defaults__ = None
    return [1.0, *x]
""".replace("STEP", str(STEP))
HEAR = """
def reserved():
    with open("/proc/meminfo") as file:
        return int(next(line for line in file if line.startswith("Committed_AS")).split()[1]) << 10
def heard(end):
    row, low = [], reserved()
    while time.monotonic() < end:
        time.sleep(0.005)
        now = reserved()
        if now < low + STEP / 2:
            low = now
            continue
        high = []
        while (now := reserved()) > low + STEP / 2 and time.monotonic() < end:
            high.append(now)
            time.sleep(0.002)
        symbol = round((sorted(high)[len(high) // 2] - low) / STEP) - 1 if high else -1
        row = [] if symbol == 20 else [*row, symbol]
        if len(row) == 6 and all(0 <= one < 16 for one in row):
            yield sum(one << 4 * place for place, one in enumerate(row))
leave()
print("LISTENING", flush=True)
end, numbers = time.monotonic() + 8, set()
try: numbers.update(heard(end))
except Exception as error: print(type(error).__name__)
time.sleep(max(0, end - time.monotonic()))
print("HEARD", sorted(numbers))
""".replace("STEP", str(STEP))


class Told(NamedTuple):
    """What came of it."""

    heard: set[int]
    """Numbers made of hidden points."""
    waited_seconds: float
    """Until the other job was scored."""


def told(jobs, level: str, *, apart: bool, monkeypatch) -> Told:
    """What a training hears while another job is to be scored.

    Args:
        jobs: runs both.
        level: of both.
        apart: whether each has locks of its own, so that they run at once.
        monkeypatch: undoes that.
    """
    sender, listener = (f"{name}-{time.monotonic_ns()}" for name in ("sender", "listener"))
    jobs.submit(listener, train=HEAR, sandbox=level, budget_seconds=30.0)
    wait_until(lambda: "LISTENING" in jobs.printed(listener))
    with monkeypatch.context() as changed:
        if apart:
            changed.setattr(here, "TURNS", (str(scratch("varve-turns-")),))
        jobs.submit(sender, files={"model/features.py": TELL.encode()}, sandbox=level)
    scored = jobs.wait(sender)
    assert jobs.wait(listener).status == scored.status == "finished"
    lines = jobs.path("log.txt", listener).read_text().splitlines()
    points = json.loads((Path(ridge_data()) / "hidden/points.json").read_text())
    code: dict = {}
    exec(TELL, code)
    heard = next(line for line in lines if line.startswith("HEARD")).removeprefix("HEARD ")
    secret = {code["hash_of"](x) for x, _ in points}
    return Told(set(json.loads(heard)) & secret, scored.step("score").waited_seconds)


def test_a_server_that_is_scored_tells_no_other_job(jobs, level, monkeypatch):
    found = told(jobs, level, apart=False, monkeypatch=monkeypatch)
    assert not found.heard
    assert found.waited_seconds > 1, "it was scored while the other listened"


def test_without_turns_it_would_tell_and_behind_a_wall_nobody_could_hear(jobs, level, monkeypatch):
    for _ in range(TRIES):
        found = told(jobs, level, apart=True, monkeypatch=monkeypatch)
        assert found.waited_seconds < 1
        if found.heard:
            break
    assert bool(found.heard) == (level == "none")
