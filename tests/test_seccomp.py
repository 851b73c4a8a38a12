"""The filter of system calls: loaded for real on this machine, interpreted for every machine."""

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from bpf import ALLOWED, AUDIT, DONE, KILLED, answer, kernel_numbers, names

from launchers.sandbox import seccomp

ROOT = Path(__file__).parent.parent
I386, ARM = 0x40000003, 0x40000028


EVERYWHERE = names("""
    ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register init_module finit_module delete_module
    kexec_load kexec_file_load add_key request_key keyctl mount umount2 pivot_root chroot open_tree
    open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr statmount listmount
    setns name_to_handle_at open_by_handle_at swapon swapoff reboot acct quotactl quotactl_fd
    syslog sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex
""")
WITHOUT_SOCKETS = names("socket connect bind listen accept accept4")
WITHOUT_NAMESPACES = names("""
    shmat shmctl semop semtimedop semctl msgsnd msgrcv msgctl mq_open mq_unlink
    chown fchown lchown fchownat file_setattr inotify_add_watch fanotify_mark
    ioprio_set
""")
AS_IF_DONE = names("chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat")
UNSUPPORTED = names("""
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
""")
ITSELF_ONLY = names("""
    prlimit64 setpriority sched_setaffinity sched_setparam sched_setscheduler sched_setattr
""")
NOT_THERE = names("""
    io_setup inotify_init inotify_init1 fanotify_init sysinfo statfs fstatfs ustat
    shmget semget msgget memfd_create memfd_secret vmsplice
""")
NOT_ON_AARCH64 = {"chmod", "chown", "lchown", "utime", "utimes", "futimesat"}
LEVELS = [
    pytest.param(True, True, id="sockets-and-namespaces"),
    pytest.param(False, True, id="namespaces"),
    pytest.param(False, False, id="neither"),
]
MACHINES = list(AUDIT)


class Filter:
    """One filter, to be asked by the names of calls."""

    def __init__(self, machine: str, sockets: bool, namespaces: bool):
        self.numbers = kernel_numbers(machine)
        self.audit = AUDIT[machine]
        self.program = seccomp.program(machine=machine, sockets=sockets, namespaces=namespaces)

    def __call__(self, name: str, *arguments: int) -> str:
        number = self.numbers[name]
        return answer(self.program, audit=self.audit, number=number, arguments=arguments)


@pytest.fixture(params=MACHINES)
def machine(request) -> str:
    return request.param


@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_each_call_is_answered_as_its_name_says(machine, sockets, namespaces):
    ask = Filter(machine, sockets, namespaces)
    expected = dict.fromkeys(EVERYWHERE, "EPERM") | {"clone3": "ENOSYS"}
    expected |= dict.fromkeys(("mincore", "fadvise64", "preadv2", "cachestat"), "ENOSYS")
    if sockets:  # the family 0 is none of those allowed
        expected |= {"socket": "EAFNOSUPPORT", "socketpair": "EAFNOSUPPORT"}
    else:
        expected |= dict.fromkeys(WITHOUT_SOCKETS, "EPERM") | {"socketpair": "EAFNOSUPPORT"}
    if not namespaces:
        expected |= dict.fromkeys(WITHOUT_NAMESPACES, "EPERM")
        expected |= dict.fromkeys(AS_IF_DONE, DONE) | dict.fromkeys(UNSUPPORTED, "ENOTSUP")
    expected |= dict.fromkeys(NOT_THERE, "ENOSYS")
    absent = NOT_ON_AARCH64 | {"inotify_init", "ustat"} if machine == "aarch64" else set()
    assert expected.keys() - absent <= ask.numbers.keys()
    for name in ask.numbers:
        assert (name, ask(name)) == (name, expected.get(name, ALLOWED))


def test_the_signal_of_a_parents_death_cannot_be_taken_back(machine):
    ask = Filter(machine, True, True)
    assert ask("prctl", 1, 0) == DONE
    assert ask("prctl", 38, 1) == ALLOWED


def test_children_stay_to_be_waited_for(machine):
    ask = Filter(machine, True, True)
    assert ask("rt_sigaction", 17, 0) == ALLOWED  # to ask is allowed
    assert ask("rt_sigaction", 17, 1) == ask("rt_sigaction", 17, 1 << 32) == DONE
    assert ask("rt_sigaction", 2, 1) == ask("rt_sigaction", 18, 1) == ALLOWED


@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_the_filter_has_a_shape_that_the_kernel_takes(machine, sockets, namespaces):
    program = seccomp.program(machine=machine, sockets=sockets, namespaces=namespaces)
    code = list(struct.iter_unpack("<HBBI", program))
    assert len(code) <= 4096
    assert code[-1] == (0x06, 0, 0, 0x7FFF0000)
    for at, (operation, then, otherwise, _) in enumerate(code):
        assert at + 1 + max(then, otherwise) < len(code) or operation == 0x06


def test_calls_of_another_machine_end_the_process(machine):
    program = seccomp.program(machine=machine, sockets=True)
    for audit in {I386, ARM, *AUDIT.values()} - {AUDIT[machine]}:
        assert answer(program, audit=audit, number=0) == KILLED


def test_the_second_set_of_calls_on_x86_is_not_there():
    program = seccomp.program(machine="x86_64", sockets=True)
    for number in (0x40000000, 0x40000000 + 41, 0x40000000 + 520, 0xFFFFFFFF):
        assert answer(program, audit=AUDIT["x86_64"], number=number) == "ENOSYS"


def test_no_process_gets_a_namespace(machine):
    ask = Filter(machine, sockets=True, namespaces=True)
    kinds = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
    thread, child = 0x3D0F00, 0x1200011
    for flag in kinds:
        assert ask("unshare", flag) == ask("clone", child | flag) == "EPERM"
        assert ask("unshare", flag | 0x400) == "EPERM"
    assert ask("unshare", 0x80) == "EPERM"
    assert ask("clone", child | 0x80) == ALLOWED  # to clone, part of a signal's number
    assert ask("clone", thread) == ask("clone", child) == ask("unshare", 0x400) == ALLOWED


def test_nothing_is_typed_into_the_terminal(machine):
    ask = Filter(machine, sockets=True, namespaces=True)
    assert ask("ioctl", 0, 0x5412) == ask("ioctl", 0, 0x541C) == "EPERM"
    assert ask("ioctl", 0, 0x5412 | 1 << 32) == "EPERM"  # the kernel looks at the low half
    assert ask("ioctl", 0, 0x5413) == ask("ioctl", 0x5412, 0) == ALLOWED


def test_with_sockets_only_known_families_can_be_made(machine):
    ask = Filter(machine, sockets=True, namespaces=True)
    for family in range(64):
        known = ALLOWED if family in (1, 2, 10, 16) else "EAFNOSUPPORT"
        assert ask("socket", family, 1) == known
        assert ask("socketpair", family, 2) == (ALLOWED if family == 1 else "EAFNOSUPPORT")
    assert ask("connect") == ask("bind") == ALLOWED


def test_without_sockets_only_connected_pairs_can_be_made(machine):
    ask = Filter(machine, sockets=False, namespaces=False)
    flags = 0o2000000 | 0o4000
    for family in range(64):
        assert ask("socket", family, 1) == "EPERM"
        assert ask("socketpair", family, 1) == (ALLOWED if family == 1 else "EAFNOSUPPORT")
    for kind in range(16):
        connected = ALLOWED if kind in (1, 5) else "EPERM"
        assert ask("socketpair", 1, kind) == ask("socketpair", 1, kind | flags) == connected


def test_without_namespaces_a_process_changes_only_itself(machine):
    ask = Filter(machine, sockets=False, namespaces=False)
    for name in ITSELF_ONLY:
        assert ask(name, 0, 0, 5) == ALLOWED
        assert ask(name, 1) == ask(name, -1) == "EPERM"
    assert ask("setpriority", 2, 0) == ask("setpriority", 0, 1) == "EPERM"


@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_nobody_is_told_when_others_use_a_file(machine, sockets, namespaces):
    ask = Filter(machine, sockets, namespaces)
    lease, notify, of_a_pipe = 1024, 1026, 1032
    assert ask("fcntl", 3, lease) == ask("fcntl", 3, notify) == "EPERM"
    assert ask("fcntl", 3, of_a_pipe) == ask("fcntl", 3, 1) == ask("fcntl", 3, 6) == ALLOWED


@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_room_in_pipes_and_sockets_stays_as_it_is(machine, sockets, namespaces):
    ask = Filter(machine, sockets, namespaces)
    assert ask("fcntl", 3, 1031) == "EPERM"
    assert ask("setsockopt", 3, 1, 7) == ask("setsockopt", 3, 1, 8) == DONE
    assert ask("setsockopt", 3, 1, 2) == ask("setsockopt", 3, 6, 7) == ALLOWED


def test_without_namespaces_only_its_own_clocks_are_read(machine):
    ask, walled = Filter(machine, False, False), Filter(machine, True, True)
    of_process_1 = ~1 << 3 | 2
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"):
        assert ask(name, of_process_1) == "EINVAL"
        assert walled(name, of_process_1) == ALLOWED  # where others have no number
        for own in range(12):
            assert ask(name, own) == ALLOWED


def test_rights_can_be_given_up_behind_every_filter(machine):
    for sockets in (True, False):
        ask = Filter(machine, sockets=sockets, namespaces=sockets)
        for name in ("setresuid", "setresgid", "setgroups", "capset", "execve", "seccomp"):
            assert ask(name, 1, 1, 1) == ALLOWED


def test_an_unknown_machine_is_refused_by_name():
    with pytest.raises(seccomp.UnsupportedMachineError, match=r"riscv64.*x86_64.*aarch64"):
        seccomp.program(machine="riscv64", sockets=True)


# ---------------------------------------------------------------------------- loaded for real

LOAD = """
import ctypes, json, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def load(program):
    code = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0
def error(number, *arguments):
    words = [ctypes.c_long(one) for one in arguments or (-1,) * 6]
    ctypes.set_errno(0)
    libc.syscall.restype = ctypes.c_long
    return ctypes.get_errno() if libc.syscall(number, *words) < 0 else 0
load(bytes.fromhex(sys.argv[1]))
"""
HONEST = """
import _thread, mmap, multiprocessing, subprocess, tempfile, threading, time, resource, shutil
done = []
one = threading.Thread(target=done.append, args=(1,)); one.start(); one.join()
assert done == [1]
assert subprocess.run(["/bin/true"]).returncode == 0
assert subprocess.check_output([sys.executable, "-I", "-S", "-c", "print(2)"]) == b"2\\n"
child = os.fork()
if child == 0: os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
ours, theirs = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=theirs.send, args=("hello",))
process.start(); assert ours.recv() == "hello"; process.join()
with mmap.mmap(-1, 1 << 20) as memory: memory[:5] = b"12345"
with tempfile.TemporaryDirectory() as folder:
    with open(folder + "/a", "wb") as file: file.write(b"x"); file.flush(); os.fsync(file.fileno())
    shutil.copy2(folder + "/a", folder + "/b"); os.replace(folder + "/b", folder + "/c")
    os.truncate(folder + "/c", 0); os.mkfifo(folder + "/f"); os.symlink("a", folder + "/s")
before = time.monotonic(); time.sleep(0.001)
assert time.time() > 1e9 and time.monotonic() > before and time.localtime() and time.get_clock_info
os.urandom(8); os.uname(); os.nice(0)
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.getpriority(0, 0)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.getrusage(resource.RUSAGE_CHILDREN)
os.kill(os.getpid(), 0); os.setsid() if os.getpid() != os.getsid(0) else None
nobody = (65534, 65534, 65534)
if os.getuid() == 0: os.setgroups([]); os.setresgid(*nobody); os.setresuid(*nobody)
print("honest")
"""
HERE = os.uname().machine
on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or HERE not in AUDIT,
    reason="filters of calls are loaded on Linux, on machines that have a table",
)


def filtered(script: str, *arguments: str, **walls: bool) -> str:
    """Runs a script that has loaded a filter."""
    program = seccomp.program(machine=HERE, **walls).hex()
    command = [sys.executable, "-I", "-c", LOAD + script, program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@on_linux
@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_the_kernel_refuses_each_call_of_the_list(sockets, namespaces):
    refused = [*EVERYWHERE]
    refused += [] if sockets else WITHOUT_SOCKETS
    refused += [] if namespaces else [*WITHOUT_NAMESPACES, *ITSELF_ONLY]
    numbers = kernel_numbers(HERE)
    expected = dict.fromkeys(refused, errno.EPERM)
    if not namespaces:
        expected |= dict.fromkeys(AS_IF_DONE, 0) | dict.fromkeys(UNSUPPORTED, errno.EOPNOTSUPP)
    expected |= dict.fromkeys(NOT_THERE, errno.ENOSYS)
    asked = {name: numbers[name] for name in expected if name in numbers}
    script = "print(json.dumps({k: error(v) for k, v in json.loads(sys.argv[2]).items()}))"
    said = filtered(script, json.dumps(asked), sockets=sockets, namespaces=namespaces)
    assert json.loads(said) == {name: expected[name] for name in asked}


@on_linux
def test_a_child_is_waited_for_although_its_parent_would_not():
    script = """
import signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = os.fork()
if child == 0: os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(signal.getsignal(signal.SIGCHLD))
"""
    assert filtered(script, sockets=True) == "1\n"  # it was told that this is done


@on_linux
def test_the_kernel_refuses_namespaces_and_strange_sockets():
    numbers = kernel_numbers(HERE)
    script = f"""
assert error({numbers["clone3"]}) == {errno.ENOSYS}
assert error({numbers["unshare"]}, 0x10000000) == {errno.EPERM}
assert error({numbers["unshare"]}, 0x80) == {errno.EPERM}
assert error({numbers["clone"]}, 0x10000011, 0, 0, 0, 0) == {errno.EPERM}
assert error({numbers["ioctl"]}, 0, 0x5412, 0) == {errno.EPERM}
assert error({numbers["socket"]}, 40, 1, 0) == {errno.EAFNOSUPPORT}
assert error({numbers["socket"]}, 17, 3, 0) == {errno.EAFNOSUPPORT}
assert [error({numbers["socket"]}, family, 1, 0) for family in (1, 2)] == [0, 0]
"""
    filtered(script, sockets=True)


@on_linux
def test_a_datagram_of_a_pair_would_reach_a_socket_with_a_path(tmp_path):
    """Why such pairs are refused: without a filter, and with one."""
    import socket

    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(path)
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        a.sendto(b"out", path)
        assert outside.recv(8) == b"out"
        a.close()
        b.close()
        script = """
import socket
try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
except PermissionError: print("refused")
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    send = lambda: a.sendto(b"out", sys.argv[2])
    for reach in (send, lambda: a.sendmsg([b"out"], [], 0, sys.argv[2])):
        try: reach()
        except OSError: pass
    try: a.connect(sys.argv[2])
    except PermissionError: print("refused")
"""
        said = filtered(script, path, sockets=False, namespaces=False)
        assert said.split() == ["refused"] * 3
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.recv(8)


@on_linux
@pytest.mark.parametrize(("sockets", "namespaces"), LEVELS)
def test_honest_programs_work(sockets, namespaces):
    assert filtered(HONEST, sockets=sockets, namespaces=namespaces) == "honest\n"
