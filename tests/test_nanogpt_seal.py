"""The seal of nanogpt's server: interpreted for every machine, and put on for real on this one."""

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pytest
from bpf import ALLOWED, AUDIT, answer, kernel_numbers, names

FOLDER = Path(__file__).parent.parent / "environments" / "nanogpt"
HERE = os.uname().machine
on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or HERE not in AUDIT,
    reason="filters of calls are loaded on Linux, on machines that have a table",
)
COMPUTES = names("""
    read write readv writev close poll ppoll select pselect6 munmap mprotect brk set_robust_list
    rseq sched_yield sched_getaffinity sigaltstack rt_sigaction rt_sigprocmask rt_sigreturn
    restart_syscall
    exit exit_group clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom
    getrusage times uname getcwd getpid gettid getuid geteuid getgid getegid
""")
LOOKS = names("""
    stat lstat newfstatat fstatat statx access faccessat faccessat2 readlink readlinkat
""")  # aarch64's headers call newfstatat fstatat
READS = names("fstat lseek getdents64 pread64")
UPROBES = (335, 336)
"""Numbers on x86_64 by which the kernel's own probes return. No filter is asked, and anybody else
who calls them is ended by SIGILL."""
SEALED = """
import ctypes, json, os, sys, threading
sys.path.insert(0, sys.argv[1])
import seal
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def error(number, *arguments):
    words = [ctypes.c_long(one) for one in arguments or (-1,) * 6]
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) < 0 else 0
def refused(call, *arguments, **more):
    try: call(*arguments, **more)
    except (PermissionError, FileNotFoundError): return True
    return False
"""


def sealed(script: str, *arguments: str, before: str = "", keep: str = "[0, 1, 2]") -> list:
    """What a script prints as JSON that runs when the seal is on."""
    text = f"{SEALED}{before}\nseal.seal(keep={keep})\n{script}"
    command = [sys.executable, "-I", "-c", text, str(FOLDER), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def seal():
    """The module itself."""
    sys.path.insert(0, str(FOLDER))
    try:
        import seal
    finally:
        sys.path.remove(str(FOLDER))
    return seal


def asker(machine: str, program: bytes):
    """Asks the filter of a machine by the name of a call."""
    numbers = kernel_numbers(machine)

    def said(name: str, *arguments: int) -> str:
        return answer(program, audit=AUDIT[machine], number=numbers[name], arguments=arguments)

    said.names = list(numbers)
    return said


@pytest.fixture(params=list(AUDIT))
def ask(request, seal):
    """Asks the filter of a sealed server."""
    return asker(request.param, seal.program(request.param))


def test_what_does_not_compute_or_answer_is_refused(ask):
    expected = dict.fromkeys(COMPUTES, ALLOWED) | {"clone3": "ENOSYS", "futex": "EAGAIN"}
    expected |= dict.fromkeys([*LOOKS, "open", "openat"], "ENOENT")
    for name in ask.names:
        assert (name, ask(name)) == (name, expected.get(name, "EPERM"))


def test_memory_comes_from_no_file_and_is_shared_with_nobody(ask):
    shared, private, anonymous = 0x01, 0x02, 0x20
    assert ask("mmap", 0, 4096, 3, private | anonymous) == ALLOWED
    for flags in (private, shared | anonymous, shared, 0x03 | anonymous):
        assert ask("mmap", 0, 4096, 3, flags) == "EPERM"
    assert [advice for advice in range(128) if ask("madvise", 0, 1, advice) == ALLOWED] == [4, 8]


def test_no_other_process_is_asked_about(ask):
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep"):
        assert [ask(name, clock) for clock in range(12)] == [ALLOWED] * 12
        assert {ask(name, ~pid << 3 | kind) for pid in (1, 99) for kind in (2, 6)} == {"EPERM"}
    assert (ask("sched_getaffinity", 0), ask("sched_getaffinity", 1)) == (ALLOWED, "EPERM")


def test_nothing_begins_and_nobody_is_woken_but_its_own_threads(ask):
    thread, child = 0x3D0F00, 0x1200011
    assert ask("clone", thread) == ask("clone", child) == "EPERM"
    wait, wake, private = 0, 1, 0x80
    assert ask("futex", 1, wait | private) == ask("futex", 1, wake | private) == ALLOWED
    assert ask("futex", 1, wait) == ask("futex", 1, wake) == "EAGAIN"


def test_calls_of_another_machine_end_the_process(seal):
    for machine, audit in AUDIT.items():
        others = {*AUDIT.values(), 0x40000003, 0x40000028} - {audit}
        assert {answer(seal.program(machine), audit=other, number=0) for other in others} == {
            "killed"
        }


def test_the_second_set_of_calls_on_x86_is_refused(seal):
    program = seal.program("x86_64")
    for number in (0x40000000, 0x40000001, 0x40000208):
        assert answer(program, audit=AUDIT["x86_64"], number=number) == "EPERM"


O_CREAT, O_TMPFILE, O_CLOEXEC = 0o100, 0o20200000, 0o2000000


@pytest.mark.parametrize("machine", list(AUDIT))
def test_a_rehearsal_may_read_files_besides(machine, seal):
    ask = asker(machine, seal.program(machine, reading=True))
    shared, private, anonymous = 0x01, 0x02, 0x20
    assert ask("openat", -100, 1, 0) == ask("openat", -100, 1, O_CLOEXEC) == ALLOWED
    for flags in (1, 2, O_CREAT, 0o1000, O_TMPFILE, 2 | O_CLOEXEC):
        assert ask("openat", -100, 1, flags) == "EPERM"
        assert machine == "aarch64" or ask("open", 1, flags) == "EPERM"
    assert ask("mmap", 0, 1, 1, private) == ask("mmap", 0, 1, 1, private | anonymous) == ALLOWED
    assert ask("mmap", 0, 1, 1, shared) == ask("mmap", 0, 1, 1, 0x03) == "EPERM"
    assert [ask("fcntl", 0, command) for command in (1, 2, 3)] == [ALLOWED] * 3
    assert {ask("fcntl", 0, command) for command in (0, 4, 6, 1030, 1033)} == {"EPERM"}
    decided = {"open", "openat", "mmap", "fcntl", "madvise"}
    expected = dict.fromkeys([*COMPUTES, *LOOKS, *READS], ALLOWED)
    expected |= {"clone3": "ENOSYS", "futex": "EAGAIN"}
    for name in set(ask.names) - decided:
        assert (name, ask(name)) == (name, expected.get(name, "EPERM"))


def test_another_system_is_known_by_name(seal, monkeypatch):
    assert seal.can_seal() == (sys.platform.startswith("linux") and HERE in AUDIT)
    for system, machine in (("Darwin", "arm64"), ("Linux", "riscv64")):
        found = os.uname_result((system, "", "", "", machine))
        monkeypatch.setattr(os, "uname", lambda found=found: found)
        assert not seal.can_seal()


# ---------------------------------------------------------------------------- loaded for real


@on_linux
def test_the_kernel_refuses_every_other_call(seal):
    numbers = kernel_numbers(HERE)
    left = {numbers[name] for name in ("mmap", "madvise", "futex", "clone3")} | set(UPROBES)
    left |= {number for name, number in numbers.items() if name in COMPUTES}
    left |= {number for name, number in numbers.items() if name in {*LOOKS, "open", "openat"}}
    first = numbers["getppid"]  # where it is answered there is no seal, and nothing else is tried
    others = [first, *(set(range(512)) - left - {first})]
    script = """
first, *others = json.loads(sys.argv[2])
answers = [error(first)]
answers += [error(number) for number in others if answers == [1] or len(answers) > 1]
print(json.dumps(answers))
"""
    assert sealed(script, json.dumps(others)) == [errno.EPERM] * len(others)


@on_linux
def test_no_file_process_socket_lock_or_signal_is_left():
    before = "import fcntl, mmap, signal, socket, subprocess; kept = os.open('/etc/passwd', 0)"
    script = """
print(json.dumps([
    refused(open, "/etc/passwd"), refused(os.stat, "/"), refused(os.listdir, "/"),
    refused(os.open, "passwd", 0, dir_fd=kept), refused(os.chdir, "/"), refused(os.readlink, "/x"),
    refused(mmap.mmap, kept, 0, prot=1), refused(fcntl.flock, kept, 1), refused(os.fork),
    refused(subprocess.run, ["/bin/true"]), refused(socket.socket), refused(socket.socketpair),
    refused(os.pipe), refused(os.kill, os.getpid(), 0), refused(os.memfd_create, "x"),
    refused(os.dup, 2), refused(os.setuid, 1), os.access("/", 0),
]))
"""
    assert sealed(script, before=before, keep="[0, 1, 2, kept]") == [True] * 17 + [False]


@on_linux
def test_it_holds_in_threads_that_began_before_and_no_more_begin():
    before = """
go, said = threading.Event(), []
def attempt(): said.append(go.wait() and refused(open, "/etc/passwd"))
early = threading.Thread(target=attempt); early.start()
"""
    script = """
go.set(); early.join()
try: threading.Thread(target=attempt).start()
except RuntimeError as error: said.append(str(error))
print(json.dumps(said))
"""
    assert sealed(script, before=before) == [True, "can't start new thread"]


@on_linux
def test_pages_of_libraries_were_read_before(tmp_path):
    # the control: what was dropped from memory and is mapped is read when touched, page by page
    folder = Path(
        tempfile.mkdtemp(dir=Path(__file__).parent)
    )  # a disk, not a file system in memory
    try:
        library = folder / "library"
        library.write_bytes(os.urandom(16 << 20))
        before = """
import mmap, resource
with open(sys.argv[2], "rb") as file:
    os.fsync(file.fileno()); os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
def major():
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
def touch():
    start = major(); pages[::4096]; return major() - start
"""
        cold = sealed(
            "print(json.dumps(touched))", str(library), before=f"{before}\ntouched = touch()"
        )
        warm = sealed("print(json.dumps(touch()))", str(library), before=before)
    finally:
        shutil.rmtree(folder)
    if cold == 0:
        pytest.skip("this file system keeps files in memory whatever it is told")
    assert warm == 0


@on_linux
def test_files_that_were_open_are_closed():
    before = "kept = os.open('/etc/passwd', 0)"
    script = """
try: os.read(kept, 1)
except OSError as error: print(json.dumps([error.errno]))
"""
    assert sealed(script, before=before) == [errno.EBADF]


ASKED = """
import time
def median(kind):
    took = []
    for number in range(2000):
        name = f"{sys.argv[2]}/{kind}{number}"
        before = time.perf_counter_ns()
        os.access(name, 0)
        took.append(time.perf_counter_ns() - before)
    return sorted(took)[len(took) // 2]
"""


@on_linux
def test_a_name_that_was_asked_for_leaves_no_trace(tmp_path):
    def faster(asks: str, folder: Path) -> float:
        """By how much names that an earlier process asked for are answered sooner than others."""
        folder.mkdir()
        ask = "median('asked')"
        before, after = (ask, "") if asks == "before the seal" else ("", ask)
        sealed(f"{after}\nprint('[]')", str(folder), before=ASKED + before)
        look = "seen = [median('fresh'), median('asked')]"
        fresh, asked = sealed("print(json.dumps(seen))", str(folder), before=ASKED + look)
        return fresh / asked

    control = faster("before the seal", tmp_path / "control")
    if control < 1.5:
        pytest.skip(f"this file system does not remember what it was asked for ({control:.2f})")
    traces = (faster("after it", tmp_path / f"{n}") for n in range(3))  # the machine may be busy
    assert any(trace < 1.2 for trace in traces), control


# ---------------------------------------------------------------------------- rehearsals

REHEARSED = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import rehearsal
def action():
    {}
began = time.monotonic()
print(json.dumps([rehearsal.rehearse(action), time.monotonic() - began]))
"""


def rehearsed(action: str) -> tuple[list[str], float]:
    """Names that a rehearsal of these lines gave, and the seconds that it took."""
    command = [sys.executable, "-I", "-c", REHEARSED.format(action), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1  # what it prints is seen by nobody
    return json.loads(done.stdout)


@on_linux
def test_a_rehearsal_tells_what_is_imported():
    names, _ = rehearsed("print('seen'); import wave; from xml.dom import minidom; 1 / 0")
    assert {"wave", "xml.dom", "xml.dom.minidom"} <= set(names)
    assert "json" not in names  # it was there before


@on_linux
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/tmp/x', 'w')",
        "os.open('/proc/self/mem', os.O_RDWR)",
        "os.fork()",
        "os.kill(os.getppid(), 9)",
        "os.mkdir('/tmp/x')",
        "os.execv('/bin/true', ['true'])",
        "__import__('socket').socket()",
        "os.dup(0)",
    ],
)
def test_a_rehearsal_changes_nothing(attempt):
    lines = f"try: {attempt}\n    except PermissionError: import wave"
    assert "wave" in rehearsed(lines)[0]


@on_linux
def test_the_process_that_rehearses_cannot_be_looked_into():
    text = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
if os.getuid() == 0:  # root may look at everything; behind a wall a job is not root
    os.setgid(65534); os.setuid(65534)
import rehearsal
def look():
    for name in ("mem", "fd/0", "maps", "environ"):
        try: open(f"/proc/{os.getppid()}/{name}", "rb").read(1)
        except PermissionError: continue
        import wave
print(json.dumps(rehearsal.rehearse(look)))
pid = os.getpid()
if os.fork() == 0:
    os._exit(os.access(f"/proc/{pid}/maps", os.R_OK))  # when it is over, it can
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("seal.py", "rehearsal.py"):
            shutil.copy(FOLDER / name, folder)
        python = "/usr/bin/python3" if os.getuid() == 0 else sys.executable
        command = [python, "-B", "-c", text, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n1\n", "")


@on_linux
def test_a_rehearsal_that_closes_its_pipe_and_goes_on_is_ended():
    names, seconds = rehearsed("import wave; os.closerange(3, 99); time.sleep(600)")
    assert names == []
    assert seconds < 60


@on_linux
def test_what_is_no_name_of_a_module_is_passed_over():
    forge = (
        "pipe = next(n for n in range(3, 99) if os.path.exists(f'/proc/self/fd/{n}'));"
        "os.write(pipe, b'xml.dom\\n../x\\n-y\\na b\\n.z\\nq..r\\n9a\\nok_1.b2'); os._exit(0)"
    )
    assert rehearsed(forge)[0] == ["xml.dom"]


@on_linux
def test_a_rehearsal_cannot_tell_what_it_has_worked_out():
    told = "names = [f'w{i:x}' for i in range(9999)] + ['wave', 'colorsys', 'aifc.x']"
    forge = f"{told}; sys.modules.update(dict.fromkeys(names)); import xml.dom.minidom"
    names, _ = rehearsed(forge)
    assert {"wave", "colorsys", "xml.dom.minidom"} <= {*names}
    assert names == sorted(names, key=lambda name: (name.count("."), name))
    assert not [name for name in names if re.fullmatch("w[0-9a-f]+|aifc.x", name)]


def test_nothing_of_its_own_folder_is_imported(tmp_path, tmp_path_factory):
    for name in ("seal.py", "rehearsal.py"):
        shutil.copy(FOLDER / name, tmp_path)
    library = tmp_path_factory.mktemp("library")
    (library / "dots.py").write_text("import sys; sys.path += ['.', '', sys.argv[1]]\n")
    (library / "exits.py").write_text("raise SystemExit(3)")
    for name in ("train", "colorsys"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran before the seal')")
    text = (
        "import json, os, sys\nfrom rehearsal import import_all\n"
        "sys.path += sys.argv[2:] + ['/']\n"
        "names = ['dots', 'train', 'env.train', 'no_such', 'lib2to3.__main__', 'exits',"
        " 'colorsys', 'wave', 'seal']\n"
        "import_all(names)\n"
        "print(json.dumps([[name in sys.modules for name in names], os.getcwd(), sys.path]))\n"
    )
    (tmp_path / "go.py").write_text(text)
    (tmp_path / "env").symlink_to(".")
    (tmp_path / "link").symlink_to(tmp_path)
    paths = [tmp_path, tmp_path.parent, tmp_path / "link", library]
    command = [sys.executable, "go.py", *map(str, paths)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, cwd, path = json.loads(done.stdout)
    assert found == [True, False, False, False, False, False, True, True, True]
    assert cwd == str(tmp_path)
    assert not {*map(str, paths[:3]), "/", ".", ""} & set(path)


@on_linux
def test_an_import_that_starts_a_process_ends_the_server(tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os, time\nif os.fork() == 0: time.sleep(2); os._exit(0)"
    )
    text = f"import sys; sys.path[:0] = [{str(FOLDER)!r}, sys.argv[1]]; import rehearsal\n"
    text += "import shutil; rehearsal.import_all(['forks'])"
    command = [sys.executable, "-c", text, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "RuntimeError: an import has started a process"


# ---------------------------------------------------------------------------- in the server

HONEST = {
    "compile": "@torch.compile\ndef f(x):\n    return x\n\n"
    "@torch.compile(dynamic=True)\ndef g(x):\n    return f(x)\n\ng(1)",
    "script": "@torch.jit.script\ndef f(x):\n    return 2 * x\n\nf(torch.ones(1))",
    "source": "import inspect\ninspect.getsource(Profile)",
    "late import": "def f():\n    import colorsys\n    from xml.dom import minidom\n\nf()",
    "dynamic import": "__import__('wave'); import datetime; datetime.datetime.strptime('1', '%d')",
    "lazy parts": "np.random.seed(0)\ntorch.manual_seed(0)\n"
    "with torch.device('cpu'):\n    nn.Linear(2, 2)",
    "forward": "_forward = GPT.forward\ndef forward(self, x):\n    import plistlib\n"
    "    return _forward(self, x)\nGPT.forward = forward",
    "threads": "torch.set_num_threads(4)\ntorch.set_num_interop_threads(2)",
    "matrices of numpy": "np.ones((400, 400)) @ np.ones((400, 400))",
    "compiled": "_build = build_model\ndef build_model(profile):\n"
    "    return torch.compile(_build(profile))",
}
REFUSED = {
    "open('train.py')": "FileNotFoundError",
    "os.stat('/usr')": "FileNotFoundError",
    "os.fork()": "PermissionError",
    "import threading; threading.Thread(target=print).start()": "RuntimeError",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder with an untrained model, and its logits for two rows."""
    folder = tmp_path_factory.mktemp("checkpoint")
    script = (
        "import numpy, torch, train\nfrom safetensors.torch import save_model\n"
        "torch.set_num_threads(1); torch.manual_seed(0); model = train.build_model('cpu').eval()\n"
        f"save_model(model, {str(folder / 'model.safetensors')!r})\n"
        "rows = torch.arange(128).view(2, 64)\n"
        f"numpy.save({str(folder / 'logits.npy')!r}, model(rows).detach().numpy())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=FOLDER, check=True)
    return folder


def served(tmp_path: Path, checkpoint: Path, extra: str) -> subprocess.CompletedProcess[bytes]:
    """Serves two rows with a line more in train.py."""
    folder = tmp_path / "env"
    shutil.copytree(FOLDER, folder)
    with open(folder / "train.py", "a") as file:
        file.write(f"\n{extra}\n")
    rows = io.BytesIO()
    np.lib.format.write_array(rows, np.arange(128, dtype=np.uint8).reshape(2, 64))
    frame = rows.tell().to_bytes(8, "little") + rows.getvalue()
    command = [sys.executable, "serve.py", "--profile", "cpu", "--checkpoint", str(checkpoint)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # as evaluate.py
    return subprocess.run(
        command,
        cwd=folder,
        input=frame,
        capture_output=True,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.mark.trains
@pytest.mark.parametrize("what", HONEST)
def test_an_honest_model_answers_as_it_does_without_the_seal(what, tmp_path, checkpoint):
    done = served(tmp_path, checkpoint, HONEST[what])
    assert done.returncode == 0, done.stderr.decode()
    greeting = 8 + int.from_bytes(done.stdout[:8], "little")
    logits = np.lib.format.read_array(io.BytesIO(done.stdout[greeting + 8 :]))
    assert np.array_equal(logits, np.load(checkpoint / "logits.npy"))


@on_linux
@pytest.mark.parametrize("what", REFUSED)
def test_patched_code_runs_under_the_seal_from_its_first_line(what, tmp_path, checkpoint):
    done = served(tmp_path, checkpoint, what)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith(REFUSED[what])


@on_linux
@pytest.mark.trains
def test_when_patched_code_begins_only_scoring_files_of_its_folder_have_run(tmp_path, checkpoint):
    line = (
        "import json; here = os.path.dirname(__file__) + os.sep\n"
        "paths = [getattr(module, '__file__', None) or '' for module in sys.modules.values()]\n"
        "print(json.dumps([path.removeprefix(here) for path in paths if path.startswith(here)]))\n"
    )
    done = served(tmp_path, checkpoint, line)
    assert done.returncode == 0, done.stderr.decode()
    manifest = tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["varve"]
    server_side = {*manifest["scoring"]} - {"evaluate.py", "server_process.py"}
    found = json.loads(done.stderr.decode().splitlines()[-1])
    assert {*found} == {*server_side, "train.py"}


@pytest.mark.trains
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "GPT.init_weights = lambda self: setattr(self, 'gain', nn.Parameter(torch.ones(1)))",
            "lacks ['gain']",
        ),
        (
            "nn.ModuleList = lambda blocks: nn.Sequential(next(iter(blocks)))",
            "the model lacks ['blocks.1.",
        ),
        (
            "import dataclasses; PROFILES['cpu'] = dataclasses.replace(PROFILES['cpu'], width=32)",
            "size mismatch",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, said, tmp_path, checkpoint):
    done = served(tmp_path, checkpoint, change)
    assert done.returncode == 1
    assert said in done.stderr.decode()
