"""The level `landlock`, for real: what a confined program can and cannot do, as root and as a user.

Each attempt has its control: the same code outside, where it succeeds.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchers.sandbox.confine import allowed_beside
from launchers.sandbox.preflight import examine

ROOT = Path(__file__).parent.parent
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
MASKED = ("pack/secret", "linked/secret", "pack/deep/er/secret.py", "absent/package")
START = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from launchers.sandbox.landlock import landlock_command
from launchers.sandbox.view import View
given = json.loads(sys.argv[2])
command = given["command"]
if given["confined"]:
    command = landlock_command(View(**given["view"]), command)
os.execve(command[0], command, given["environment"])
"""
ATTEMPTS = """
import ctypes, os, resource, signal, socket, sys
def attempt(call, *arguments):
    try: call(*arguments)
    except OSError as error: print("refused", type(error).__name__)
    else: print("done")
def read(path): open(path, "rb", 0).read(9)
def write(path): open(path, "ab").write(b"x")
"""
FOUND = next(one for one in examine() if one.level == "landlock")
pytestmark = pytest.mark.skipif(not FOUND.works, reason=f"no Landlock here: {FOUND.reason}")


class Box:
    """A place for confined programs of one user."""

    def __init__(self, folder: Path, user: int):
        self.folder = folder
        self.user = user
        self.python = SYSTEM_PYTHON if user != os.getuid() else sys.executable
        self.work = folder / "work"
        for name in ("env", "data", "outside", "wall", "work", "work/home", "work/tmp", "work/out"):
            (folder / name).mkdir(mode=0o777)
            os.chown(folder / name, user, -1)
        for name in ("env", "data", "outside"):
            (folder / name / "file").write_text(name)
            os.chown(folder / name / "file", user, -1)
        shutil.copytree(ROOT / "launchers", folder / "code/launchers")

    def command(self, command, *, confined=True, environment=None, **changes):
        """What runs a command as the user of the box."""
        view = {
            "python": self.python,
            "folder": str(self.folder / "env"),
            "readable": {"data": str(self.folder / "data")},
            "work": str(self.work),
            "wall": str(self.folder / "wall"),
            "lock": None,
            "masked": MASKED,
            "out_bytes": 1 << 22,
            "scratch_bytes": 1 << 20,
            "processes": 50,
            "gpus": (),
            "environment": {},
        }
        given = {
            "view": view | changes,
            "command": command,
            "confined": confined,
            "environment": environment or {"PATH": "/usr/bin:/bin"},
        }
        start = [self.python, "-I", "-S", "-c", START, str(self.folder / "code")]
        return [*self.become(), *start, json.dumps(given)]

    def become(self):
        if self.user == os.getuid():
            return []
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--"]

    def run(self, command, **how):
        """Runs a command and gives what became of it."""
        return subprocess.run(
            self.command(command, **how), capture_output=True, text=True, timeout=60, check=False
        )

    def attempts(self, code, *arguments, **how):
        """The lines that attempts print."""
        command = [self.python, "-u", "-I", "-S", "-c", ATTEMPTS + code, *map(str, arguments)]
        done = self.run(command, **how)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def says(self, code, *arguments, **how):
        return "\n".join(self.attempts(code, *arguments, **how))


USERS = [os.getuid(), *([NOBODY] if os.getuid() == 0 else [])]


@pytest.fixture(params=USERS, ids=lambda uid: "root" if uid == 0 else "ordinary user")
def box(request):
    """A box below a folder that every user may enter."""
    if request.param != os.getuid() and not (
        os.path.exists(SYSTEM_PYTHON) and shutil.which("setpriv")
    ):
        pytest.skip("a second user needs setpriv and an interpreter that every user can reach")
    old = os.umask(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            yield Box(Path(folder), request.param)
    finally:
        os.umask(old)


@pytest.fixture
def victim(box):
    """Another process of the same user, with a secret in its environment."""
    command = [*box.become(), box.python, "-I", "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        command, env={"SECRET": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process.pid
        process.kill()


# ---------------------------------------------------------------------------------- files


def test_it_reads_what_it_was_given_and_nothing_else(box):
    code = "for path in sys.argv[1:]: attempt(os.listdir if path[-1] == '/' else read, path)"
    given = ["env/file", "data/file", "env/", "data/", "work/tmp/", "extra"]
    (box.folder / "extra").write_text("x")
    given = [f"{box.folder}/{name}" for name in given]
    given += ["/dev/null", "/dev/zero", "/dev/urandom", "/proc/cpuinfo"]
    given += ["/proc/self/status", "/proc/self/fd/", "/sys/devices/system/cpu/online"]
    withheld = [f"{box.folder}/outside/file", f"{box.folder}/outside/", f"{box.folder}/"]
    withheld += ["/", "/tmp/", "/etc/passwd", "/home/", "/run/", "/dev/shm/", "/proc/", "/var/"]
    withheld += ["/proc/self/net/dev", "/proc/self/mountinfo", "/proc/1/cmdline", "/proc/version"]
    withheld += ["/proc/meminfo", "/proc/stat", "/proc/self/smaps", "/sys/devices/system/cpu/"]
    withheld += ["/usr/local/", "/dev/"]
    assert set(box.attempts(code, *given, *withheld, confined=False)) == {"done"}
    more = {"data": str(box.folder / "data"), "extra": str(box.folder / "extra")}
    assert box.attempts(code, *given, readable=more) == ["done"] * len(given)
    refused = ["refused PermissionError"] * len(withheld)
    assert box.attempts(code, *withheld) == refused


def test_a_way_around_by_links_and_open_folders_leads_nowhere(box):
    code = """
os.symlink(sys.argv[1], sys.argv[2] + "/link")
attempt(read, sys.argv[2] + "/link")
attempt(read, f"/proc/self/root{sys.argv[1]}")
os.chdir(os.path.dirname(sys.argv[1]))
attempt(read, "file")
attempt(os.link, sys.argv[1], sys.argv[2] + "/hard")
attempt(os.rename, sys.argv[1], sys.argv[2] + "/moved")
"""
    arguments = (box.folder / "outside/file", box.work / "tmp")
    said = box.attempts(code, *arguments)
    assert [line.split()[0] for line in said] == ["refused"] * 5


def test_it_writes_into_its_private_folders_and_nowhere_else(box):
    code = """
folder, work = sys.argv[1:]
for name in ("env", "data", "outside", "code"):
    attempt(write, f"{folder}/{name}/new")
attempt(write, f"{folder}/outside/file")
attempt(write, f"{folder}/env/file")
attempt(os.truncate, f"{folder}/outside/file", 0)
attempt(os.truncate, f"{folder}/data/file", 0)
attempt(os.unlink, f"{folder}/outside/file")
attempt(os.mkdir, f"{folder}/outside/made")
attempt(os.rename, f"{work}/tmp", f"{work}/moved")
attempt(os.mknod, f"{work}/tmp/device", 0o20666, os.makedev(1, 3))
print("--")
attempt(write, "/dev/null")
for name in ("home", "tmp", "out"):
    attempt(write, f"{work}/{name}/new")
attempt(os.rename, f"{work}/tmp/new", f"{work}/out/renamed")
attempt(os.makedirs, f"{work}/out/a/b")
attempt(os.truncate, f"{work}/out/renamed", 0)
attempt(os.unlink, f"{work}/out/renamed")
attempt(os.mkfifo, f"{work}/out/fifo")
"""
    said = box.says(code, box.folder, box.work)
    refused, done = (part.split("\n") for part in said.split("\n--\n"))
    assert set(refused) == {"refused PermissionError"}
    assert set(done) == {"done"}
    assert (box.folder / "outside/file").read_text() == "outside"


def test_without_private_folders_it_writes_nowhere(box):
    code = "for name in ('home', 'tmp', 'out'): attempt(write, f'{sys.argv[1]}/{name}/new')"
    assert box.attempts(code, box.work, work=None) == ["refused PermissionError"] * 3
    said = box.attempts(code, box.work, out_bytes=0)
    assert said == ["done", "done", "refused PermissionError"]


def test_it_cannot_change_modes_owners_and_times(box):
    code = """
path = sys.argv[1]
attempt(os.chown, path, -1, os.getgid())
attempt(os.setxattr, path, "user.x", b"1")
attempt(os.chmod, path, 0o600)
attempt(os.utime, path)
attempt(os.fchmod, os.open(os.environ["DATA"], os.O_RDONLY), 0o600)
"""
    files = [box.folder / "outside/file", box.folder / "data/file"]

    def look():
        return [(one.stat().st_mode, one.stat().st_mtime_ns, os.listxattr(one)) for one in files]

    before = look()
    said = box.attempts(code, files[0], environment={"DATA": str(files[1])})
    assert said == ["refused PermissionError", "refused OSError", "done", "done", "done"]
    assert look() == before


def interpreter(box: Box) -> Path:
    """A virtual environment of fake packages: what to hide, what lies beside it, and links."""
    venv = box.folder / "venv"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if box.python == SYSTEM_PYTHON:
        version = Path(SYSTEM_PYTHON).resolve().name
    packages = venv / "lib" / version / "site-packages"
    for name in ("pack/secret", "pack/open", "pack/deep/er", "other"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text("")
    for name in ("pack", "pack/deep"):
        (packages / name / "__init__.py").write_text("")
    (packages / "pack/deep/er/secret.py").write_text("")
    (packages / "pack/deep/er/open.py").write_text("")
    (packages / "way_in").symlink_to("pack/secret")
    (packages / "alias").symlink_to("pack")
    (packages / "other/way_in.py").symlink_to("../pack/secret/__init__.py")
    for name in ("secret", "open"):
        (box.folder / "elsewhere/linked" / name).mkdir(parents=True)
        (box.folder / "elsewhere/linked" / name / "__init__.py").write_text("")
    (packages / "linked").symlink_to(box.folder / "elsewhere/linked")
    base = Path(box.python).resolve()
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(base)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    return packages


def test_a_masked_package_cannot_be_read_and_all_beside_it_can(box):
    packages = interpreter(box)
    code = """
import pack.open, pack.deep.er.open, other
folder = sys.argv[1]
hidden = ["pack/secret/__init__.py", "pack/deep/er/secret.py", "way_in/__init__.py"]
hidden += ["alias/secret/__init__.py", "other/way_in.py", "linked/secret/__init__.py"]
for name in hidden: attempt(read, f"{folder}/{name}")
for name in ("pack", "pack/deep/er", "pack/open"): attempt(os.listdir, f"{folder}/{name}")
attempt(read, f"{folder}/alias/open/__init__.py")
attempt(read, f"{folder}/linked/open/__init__.py")
try: import pack.secret
except PermissionError: print("hidden")
"""
    python = str(packages.parents[2] / "bin/python")
    command = [python, "-I", "-c", ATTEMPTS + code, str(packages)]
    outside = box.run(command, python=python, confined=False)
    assert outside.stdout.splitlines() == ["done"] * 11, outside.stderr
    inside = box.run(command, python=python, readable={"other": str(box.folder / "elsewhere")})
    expected = ["refused PermissionError"] * 6 + ["done"] * 5 + ["hidden"]
    assert inside.stdout.splitlines() == expected, inside.stderr


@given(
    files=st.sets(st.lists(st.sampled_from("abc"), min_size=3, max_size=3).map("/".join)),
    masked=st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)),
)
def test_beside_what_is_masked_everything_is_allowed_and_nothing_twice(files, masked):
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.realpath(folder)
        for name in files:
            os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
            Path(f"{root}/{name}").touch()
        hidden = [f"{root}/{name}" for name in masked]
        allowed = allowed_beside(root, hidden)

        def below(path, folders):
            return any(path == one or path.startswith(one + "/") for one in folders)

        for name in files:
            path = f"{root}/{name}"
            assert below(path, allowed) != below(path, hidden)
        for path in allowed:
            assert not any(below(path, [other]) for other in allowed if other != path)
            parent = os.path.dirname(path)
            assert path == root or any(below(one, [parent]) for one in hidden)


def test_links_beside_what_is_masked_are_not_allowed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert allowed_beside(str(tmp_path), [f"{tmp_path}/a"]) == [f"{tmp_path}/b"]
    assert allowed_beside(str(tmp_path), [f"{tmp_path}/absent"]) == [str(tmp_path)]
    assert allowed_beside(f"{tmp_path}/a", [str(tmp_path)]) == []
    assert allowed_beside(f"{tmp_path}/a", [f"{tmp_path}/a"]) == []
    assert allowed_beside(f"{tmp_path}/a", [f"{tmp_path}/ab"]) == [f"{tmp_path}/a"]


# ------------------------------------------------------------------- processes and the network


def test_it_makes_no_sockets_but_connected_pairs(box):
    code = """
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40):
    attempt(socket.socket, family, socket.SOCK_DGRAM)
attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
attempt(socket.socketpair)
"""
    assert box.attempts(code) == ["refused PermissionError"] * 6 + ["done"]


def test_other_processes_cannot_be_read_signalled_or_slowed(box, victim):
    code = """
other = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def prlimit(): resource.prlimit(other, resource.RLIMIT_CORE)
attempt(read, f"/proc/{other}/environ")
attempt(read, f"/proc/{other}/cmdline")
attempt(os.kill, other, 0)
attempt(signal.pidfd_send_signal, os.pidfd_open(other), 0)
attempt(prlimit)
attempt(os.sched_setaffinity, other, os.sched_getaffinity(0))
attempt(os.setpriority, os.PRIO_PROCESS, other, 19)
if other != os.getppid(): attempt(os.kill, os.getppid(), 0)
"""
    # as root the parent, which is this test, has rights that its child gave up
    assert box.attempts(code, victim, confined=False)[:7] == ["done"] * 7
    assert box.attempts(code, victim) == ["refused PermissionError"] * 8


def test_it_shares_no_memory_objects_with_others(box):
    code = """
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.shmget(0x7661, 4096, 0o1666), lambda: libc.msgget(0x7661, 0o1666),
             lambda: libc.semget(0x7661, 1, 0o1666)):
    print(call(), ctypes.get_errno())
attempt(write, "/dev/shm/left")
"""
    assert box.attempts(code) == ["-1 38", "-1 38", "-1 38", "refused PermissionError"]


def test_it_has_no_capability_and_can_get_none(box):
    code = """
import struct
libc = ctypes.CDLL(None, use_errno=True)
header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
print(libc.capget(ctypes.create_string_buffer(header), data), data.raw == bytes(24))
print([n for n in range(64) if libc.prctl(47, 1, n, 0, 0) == 1])
print([n for n in range(64) if libc.prctl(23, n, 0, 0, 0) == 1] if os.getuid() == 0 else [])
print(libc.prctl(39, 0, 0, 0, 0), os.getuid())
"""
    assert box.attempts(code) == ["0 True", "[]", "[]", f"1 {box.user}"]
    status = box.run(["/bin/cat", "/proc/self/status"]).stdout  # a program started by exec
    lines = dict(line.split(":\t", 1) for line in status.splitlines())
    sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"] + ["CapBnd"] * (box.user == 0)
    assert {lines[name] for name in sets} == {"0" * 16}
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
    mine = re.search(r"SigIgn:\t(\w+)", Path("/proc/self/status").read_text())
    of_the_interpreter = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert int(lines["SigIgn"], 16) == int(mine[1], 16) & ~of_the_interpreter


def test_the_wall_holds_for_what_it_starts(box):
    code = """
import subprocess
look = "import os\\ntry: os.listdir('/')\\nexcept PermissionError: print('held')"
print(subprocess.check_output([sys.executable, "-I", "-S", "-c", look], text=True), end="")
if os.fork() == 0:
    attempt(os.listdir, "/"); os._exit(0)
os.wait()
"""
    assert box.attempts(code) == ["held", "refused PermissionError"]


def test_its_files_and_processes_are_limited(box):
    code = """
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1024)
file = open(sys.argv[1] + "/tmp/large", "wb", buffering=0)
attempt(os.posix_fallocate, file.fileno(), 0, (1 << 22) + 1)
children = []
try:
    while len(children) < 200:
        child = os.fork()
        if child == 0: signal.pause()
        children.append(child)
except BlockingIOError: pass
for child in children: os.kill(child, 9); os.waitpid(child, 0)
print(len(children))
"""
    *said, started = box.attempts(code, box.work)
    assert said == ["(0, 0) (4194304, 4194304)", "True", "refused OSError"]
    if box.user:
        assert 30 <= int(started) < 50 + 16
    else:
        assert int(started) == 200  # the kernel counts no processes of root


# -------------------------------------------------------------------- the start and the end


def test_the_environment_is_passed_on_exactly(box):
    environment = {"A": "1", "LC_ALL": "C", "B": "x=y\nz", "PYTHONPATH": "/nowhere", "E": ""}
    done = box.run(["/usr/bin/env", "-0"], environment=environment)
    assert sorted(done.stdout.split("\0")) == sorted(["", *map("=".join, environment.items())])


def test_it_starts_in_its_folder_with_its_streams_alone(box):
    code = "print(os.getcwd(), sorted(map(int, os.listdir('/proc/self/fd')))[:3])"
    code += "\nfor number in range(3, 64): attempt(os.fstat, number)"
    read, write = os.pipe()
    high = fcntl.fcntl(write, fcntl.F_DUPFD, 40)  # a free one: 40 itself may be somebody's
    command = box.command([box.python, "-I", "-S", "-c", ATTEMPTS + code])
    said = subprocess.check_output(command, text=True, pass_fds=[read, write, high]).splitlines()
    for number in (read, write, high):
        os.close(number)
    assert said[0] == f"{os.path.realpath(box.folder)}/env [0, 1, 2]"
    assert set(said[1:]) == {"refused OSError"}


def test_the_exit_code_is_that_of_the_program(box):
    assert box.run(["/bin/sh", "-c", "exit 7"]).returncode == 7
    assert box.run(["/bin/sh", "-c", "kill -9 $$"]).returncode == -9
    assert box.run(["/bin/sh", "-c", "exit 125"]).stderr == ""


def test_what_cannot_be_started_ends_with_one_line_and_its_own_code(box):
    for how in (
        {"command": ["/no/such/program"]},
        {"command": [str(box.folder / "outside/file")]},
        {"command": ["/bin/true"], "folder": "/no/such/folder"},
        {"command": ["/bin/true"], "work": "/no/such/work"},
    ):
        done = box.run(**how)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)
        assert done.stderr.startswith("varve-sandbox: ")


def test_without_landlock_nothing_is_started(box):
    """A filter that answers as an old kernel would, around all of it."""
    from launchers.sandbox import seccomp

    for error, words in ((38, "Function not implemented"), (95, "Operation not supported")):
        program = seccomp._do(0x20, 0) + b"".join(
            [*seccomp._when(0x15, 444, seccomp._refuse(error)), *seccomp._end(0x7FFF0000)]
        )
        load = "import sys; sys.path.insert(0, sys.argv[1]); from launchers.sandbox import confine"
        load += "\nconfine._LIBC.prctl(38, 1, 0, 0, 0)"
        load += "\nconfine._confine_calls(bytes.fromhex(sys.argv[2])); print(0, flush=True)"
        load += "\nimport os; os.execv(sys.argv[3], sys.argv[3:])"
        command = [*box.become(), box.python, "-I", "-S", "-c", load, str(box.folder / "code")]
        inner = box.command(["/bin/echo", "started"])[len(box.become()) :]
        done = subprocess.run(
            [*command, program.hex(), *inner], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (125, "0\n")
        assert f"varve-sandbox: Landlock: found {words}, expected version 6" in done.stderr


def test_it_dies_with_its_parent(box):
    code = "print(os.getpid(), flush=True); said = ctypes.c_int()\n"
    code += "ctypes.CDLL(None).prctl(2, ctypes.byref(said), 0, 0, 0); print(said.value, flush=True)"
    code += "\nsignal.pause()"
    inner = box.command([box.python, "-I", "-S", "-c", ATTEMPTS + code])[len(box.become()) :]
    parent = "import ctypes, os, sys\nif os.fork() == 0:\n ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\n"
    parent += " os.execv(sys.argv[1], sys.argv[1:])\nos.wait()"
    command = [*box.become(), box.python, "-I", "-S", "-c", parent, *inner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        assert int(process.stdout.readline()) == signal.SIGKILL
        assert not is_dead(pid)
        process.kill()
    give_up = time.monotonic() + 10
    while not is_dead(pid):
        assert time.monotonic() < give_up, "it outlived its parent"
        time.sleep(0.01)


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_honest_programs_work(box):
    code = """
import mmap, multiprocessing, shutil, subprocess, tempfile, threading, time
one = threading.Thread(target=print, args=("thread",)); one.start(); one.join()
assert subprocess.check_output(["/bin/echo", "x"]) == b"x\\n"
ours, theirs = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=theirs.send, args=("pipe",))
process.start(); print(ours.recv()); process.join()
with mmap.mmap(-1, 1 << 20) as memory: memory[:5] = b"12345"
with tempfile.NamedTemporaryFile() as file: file.write(b"x"); print(file.name[:len(sys.argv[1])])
shutil.copy2("file", os.path.expanduser("~/copy"))
assert open("file").read() == "env" and os.cpu_count() and time.localtime()
sys.stdout.write(open(os.devnull).read())
"""
    environment = {"HOME": f"{box.work}/home", "TMPDIR": f"{box.work}/tmp", "LANG": "C.UTF-8"}
    said = box.attempts(code, box.work / "tmp", environment=environment)
    assert said == ["thread", "pipe", str(box.work / "tmp")]


@pytest.mark.skipif(
    not (find_spec("torch") and find_spec("safetensors")), reason="trains with torch, not installed"
)
def test_torch_trains_with_parts_of_it_masked():
    code = """
import os, sys, torch, safetensors.torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 4)
model(torch.randn(2, 4)).sum().backward()
safetensors.torch.save_file(model.state_dict(), sys.argv[1] + "/out/model.safetensors")
torch.save(model.state_dict(), sys.argv[1] + "/out/model.pt")
folder = os.path.dirname(torch.__file__)
for name in ("distributed/elastic", "distributed/pipelining"):
    try: open(f"{folder}/{name}/__init__.py")
    except PermissionError: print("masked")
open(f"{folder}/distributed/rpc/__init__.py")
"""
    masked = ("torch/distributed/elastic", "torch/distributed/pipelining")
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder), os.getuid())
        environment = {"HOME": f"{box.work}/home", "TMPDIR": f"{box.work}/tmp"}
        large = {"out_bytes": 1 << 26, "scratch_bytes": 1 << 26}
        command = [box.python, "-c", code, str(box.work)]
        done = box.run(command, environment=environment, masked=masked, **large)
        assert (done.returncode, done.stdout) == (0, "masked\nmasked\n"), done.stderr
        assert (box.work / "out/model.safetensors").stat().st_size > 0
