"""What lies around one job and must be as it was when the job is over.

A world is a temporary folder with decoys of all that a patch might want: keys, a lake, another run,
hidden data, packages; and what only a machine has: listeners, a terminal, another process. It is
made for one job, told to the attack as a dict of targets, and looked at afterwards. All listeners
are on the loopback of this machine.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

KEY_NAME = "VARVE_REDTEAM_API_KEY"
"""Stands in the environment of whoever launches the job, and of another process of the user."""
MASKED = "shard/hidden"
"""Path below a folder of packages that holds hidden data, in a world with packages."""
SHARED_MEMORY = Path("/dev/shm")


class Account(NamedTuple):
    """Who runs a job."""

    name: str
    uid: int | None
    """None: whoever runs the tests."""
    python: str
    """The interpreter of the environment."""


MYSELF = Account("myself", None, sys.executable)


class World:
    """The surroundings of one job."""

    def __init__(self, account: Account, data: Path, *, packages: bool = False) -> None:
        """Makes everything.

        Args:
            account: who is to own it.
            data: prepared data; copied where it is small, so that writing to it is seen.
            packages: whether to make virtual environments whose packages hold hidden data.
        """
        self.account = account
        self.folder = Path(tempfile.mkdtemp(prefix="varve-redteam-"))
        self.folder.chmod(0o755)
        self.runs = self.folder / "runs"
        self.token = "rt" + secrets.token_hex(6)
        """A name that marks all that the attack makes outside."""
        self.secrets = {name: f"{name}-{secrets.token_hex(16)}" for name in ("key", "home", "argv")}
        """What must not come out, by what it is."""
        self._ends = contextlib.ExitStack()
        self._ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self._lay_data(data)
        self.secrets |= _hidden_point(self.data)
        self._lay_decoys()
        self.python = self._lay_packages() if packages else account.python
        self._own()
        self.listeners = self._ends.enter_context(Listeners(self.folder, self.token))
        self.terminal = self._ends.enter_context(Terminal(account.uid))
        self.bystander = self._start_bystander()
        self._before = dict(self._content())

    def close(self) -> None:
        """Ends the processes and removes the folder."""
        self._ends.close()
        for path in self._left_in_memory():
            path.unlink(missing_ok=True)
        for number in self._left_segments():
            subprocess.run(["ipcrm", "-m", str(number)], check=False)

    def targets(self, run_id: str) -> dict[str, object]:
        """What an attack is told; nothing of it is secret where a wall stands."""
        return {
            "token": self.token,
            "run": str(self.runs / run_id),
            "runs": str(self.runs),
            "other_run": str(self.runs / "other"),
            "lake": str(self.folder / "lake"),
            "journal": str(self.folder / "journal" / "small.jsonl"),
            "home": str(self.folder / "home"),
            "packages": str(self.folder / "packages"),
            "hidden": str(self.data / "hidden"),
            "second": str(self.data / "second"),
            "masked": MASKED,
            "folder": str(self.folder),
            "terminal": self.terminal.path,
            "bystander": self.bystander.pid,
            **self.listeners.addresses(),
        }

    # ------------------------------------------------------------------ what came of it

    def breaches(self, run_id: str, log: str) -> list[str]:
        """What is no longer as it was, in words."""
        return [
            *self._changes(),
            *(f"{name} was reached" for name in self.listeners.reached()),
            *(f"the secret {name!r} came out" for name, it in self.secrets.items() if it in log),
            *self._forged_records(run_id),
            *(f"{path} was left behind" for path in self._left_in_memory()),
            *(f"shared memory segment {number} was left" for number in self._left_segments()),
            *(["something was typed into the terminal"] if self.terminal.typed() else []),
            *(["another process was ended"] if self.bystander.poll() is not None else []),
        ]

    def is_locked(self) -> bool:
        """Whether some process holds a lock on the training data at this moment."""
        with open(self.data / "train" / "points.json", "rb") as file:
            question = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
            answer = fcntl.fcntl(file, fcntl.F_GETLK, question)
        return struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK

    def survivors(self, run_id: str) -> list[int]:
        """Process ids that carry the run's marker or the token."""
        marks = (f"VARVE_RUN={self.runs / run_id}\0".encode(), self.token.encode())
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if pid in (os.getpid(), self.bystander.pid):
                continue
            with contextlib.suppress(OSError):
                parts = [
                    Path(f"/proc/{pid}/{name}").read_bytes()
                    for name in ("environ", "cmdline", "comm")
                ]
                state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
                if state != b"Z" and any(mark in part for mark in marks for part in parts):
                    found.append(pid)
        return found

    def disk_bytes(self) -> int:
        """Bytes on disk and in shared memory that lie in the world or carry the token."""
        marked = [
            p
            for top in ("/tmp", "/var/tmp", SHARED_MEMORY)
            for p in Path(top).glob(f"*{self.token}*")
        ]
        return sum(_tree_bytes(str(path)) for path in [self.folder, *marked])

    def _changes(self) -> Iterator[str]:
        after = dict(self._content())
        for path in sorted(self._before.keys() | after.keys()):
            if self._before.get(path) != after.get(path):
                what = (
                    "made"
                    if path not in self._before
                    else "changed"
                    if path in after
                    else "removed"
                )
                yield f"{path} was {what}"

    def _content(self) -> Iterator[tuple[str, tuple[int, int, str]]]:
        """Mode, owner and content of all that no job of this world may change."""
        for path in sorted(self.folder.rglob("*")):
            relative = path.relative_to(self.folder)
            if relative.parts[0] == "runs" and relative.parts[1:2] != ("other",):
                continue
            found = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
            yield str(relative), (found.st_mode, found.st_uid, hashlib.sha256(content).hexdigest())

    def _forged_records(self, run_id: str) -> Iterator[str]:
        """Files of the run folder in which only the attack can have written the token."""
        run = self.runs / run_id
        for name in ("spec.json", "place.json", "events.jsonl", "processes", "lock"):
            if (run / name).exists() and self.token in (run / name).read_text(errors="replace"):
                yield f"{name} of the run was written to"

    def _left_in_memory(self) -> list[Path]:
        return sorted(SHARED_MEMORY.glob(f"*{self.token}*"))

    def _left_segments(self) -> list[int]:
        """Ids of System V segments whose key is made of the token."""
        key = int(self.token[2:9], 16)
        rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
        return [int(row[1]) for row in rows if int(row[0]) & 0xFFFFFFFF == key]

    # ------------------------------------------------------------------ laying it down

    def _lay_data(self, data: Path) -> Path:
        if _tree_bytes(str(data)) > 1 << 20:
            return data
        shutil.copytree(data, self.folder / "data")
        for path in (self.folder / "data").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (self.folder / "data").chmod(0o755)
        return self.folder / "data"

    def _lay_decoys(self) -> None:
        secret = self.secrets["home"]
        row = {"campaign": "small", "run_id": "other", "value": 0.4}
        decoys: Mapping[str, str] = {
            "home/.ssh/id_ed25519": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n",
            "home/.aws/credentials": f"[default]\naws_secret_access_key = {secret}\n",
            "home/.bashrc": "# nothing\n",
            "lake/scores/_delta_log/00000000000000000000.json": json.dumps({"add": row}) + "\n",
            "journal/small.jsonl": json.dumps(row) + "\n",
            "runs/other/result.json": json.dumps(row | {"status": "finished", "blame": None})
            + "\n",
            "runs/other/events.jsonl": json.dumps({"kind": "started"}) + "\n",
            "runs/other/out/weights.json": json.dumps({"weights": [0, 0, 0, 0, 0]}) + "\n",
            "runs/other/env/train.py": "# another run\n",
            "packages/readme.txt": "a folder of installed packages\n",
        }
        for name, content in decoys.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        for name in ("home/.ssh", "home/.aws"):
            (self.folder / name).chmod(0o700)

    def _lay_packages(self) -> str:
        """Virtual environments, hidden data in and beside them; gives the interpreter to use."""
        content = (self.data / "hidden" / "points.json").read_text()
        base = os.path.realpath(self.account.python)
        version = _version(base)
        used, second = self.folder / "used", self.folder / "second"
        for prefix in (used, second, used / "envs" / "another"):
            packages = prefix / "lib" / version / "site-packages"
            (packages / MASKED).mkdir(parents=True)
            (packages / MASKED / "points.json").write_text(content)
            (packages / "shard" / "__init__.py").write_text("")
            (prefix / "bin").mkdir()
            (prefix / "bin" / "python").symlink_to(base)
            home = os.path.dirname(base)
            (prefix / "pyvenv.cfg").write_text(
                f"home = {home}\ninclude-system-site-packages = false\n"
            )
        leftover = used / "lib" / version / "site-packages" / "~hard" / "hidden"
        leftover.mkdir(parents=True)
        (leftover / "points.json").write_text(content)
        cache = self.folder / "home" / ".cache" / "pip" / "wheels"
        cache.mkdir(parents=True)
        (cache / "shard-1-py3-none-any.whl").write_text(content)
        return str(used / "bin" / "python")

    def _own(self) -> None:
        self.runs.mkdir(exist_ok=True)
        if self.account.uid is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self.account.uid, self.account.uid, follow_symlinks=False)

    def _start_bystander(self) -> "subprocess.Popen[bytes]":
        """Another process of the same user, as a shell or a search would be."""
        command = ["/bin/sh", "-c", f"sleep 600; : {self.secrets['argv']}"]
        process = subprocess.Popen(
            command,
            env={"PATH": "/usr/bin:/bin", KEY_NAME: self.secrets["key"]},
            user=self.account.uid,
            group=self.account.uid,
            extra_groups=[] if self.account.uid is not None else None,
            start_new_session=True,
        )

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        self._ends.callback(end)
        return process


class Listeners:
    """Sockets on this machine that note who reaches them; each is looked at once, at the end."""

    def __init__(self, folder: Path, token: str) -> None:
        """Opens nothing yet.

        Args:
            folder: for sockets with a path.
            token: names the abstract socket.
        """
        self._folder = folder
        self._token = token
        self._sockets: dict[str, socket.socket] = {}

    def __enter__(self) -> "Listeners":
        streams = {
            "tcp": (socket.AF_INET, ("127.0.0.1", 0)),
            "tcp6": (socket.AF_INET6, ("::1", 0)),
            "unix": (socket.AF_UNIX, str(self._folder / "agent.sock")),
            "abstract": (socket.AF_UNIX, f"\0{self._token}"),
        }
        datagrams = {
            "udp": (socket.AF_INET, ("127.0.0.1", 0)),
            "unix_datagram": (socket.AF_UNIX, str(self._folder / "log.sock")),
        }
        for name, (family, address) in {**streams, **datagrams}.items():
            with contextlib.suppress(OSError):  # a machine without IPv6
                self._open(name, family, address, stream=name in streams)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets.values():
            one.close()

    def addresses(self) -> dict[str, object]:
        """Where they listen, by name."""
        return {
            name: one.getsockname()[1] if one.family != socket.AF_UNIX else _text(one.getsockname())
            for name, one in self._sockets.items()
        }

    def reached(self) -> list[str]:
        """Those that something has come to."""
        with selectors.DefaultSelector() as selector:
            for name, one in self._sockets.items():
                selector.register(one, selectors.EVENT_READ, name)
            return sorted(key.data for key, _ in selector.select(0))

    def _open(self, name: str, family: int, address: object, *, stream: bool) -> None:
        one = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        one.bind(address)
        if stream:
            one.listen(16)
        if isinstance(address, str) and not address.startswith("\0"):
            os.chmod(address, 0o777)
        self._sockets[name] = one


def _hidden_point(data: Path) -> dict[str, str]:
    """The inputs of a hidden point as text, where the data are points."""
    path = data / "hidden" / "points.json"
    if not path.exists():
        return {}
    return {"hidden": json.dumps(json.loads(path.read_text())[0][0])[1:-1]}


def _version(python: str) -> str:
    """The name of its folder of libraries, such as `python3.11`."""
    ask = "import sys; print('python%d.%d' % sys.version_info[:2])"
    command = [python, "-I", "-S", "-c", ask]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _text(address: str | bytes) -> str:
    return address.decode() if isinstance(address, bytes) else address


class Terminal:
    """A terminal that the user who started the search might sit at."""

    def __init__(self, uid: int | None) -> None:
        """Opens nothing yet."""
        self._uid = uid

    def __enter__(self) -> "Terminal":
        self._master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        if self._uid is not None:
            os.chown(self.path, self._uid, -1)
        settings = termios.tcgetattr(self._slave)
        settings[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        os.set_blocking(self._slave, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._master)
        os.close(self._slave)

    def typed(self) -> bool:
        """Whether anything was typed."""
        try:
            return bool(os.read(self._slave, 1))
        except (BlockingIOError, OSError):
            return False


def _tree_bytes(top: str) -> int:
    """Bytes on disk at and below a path."""
    total, pending = 0, [top]
    while pending:
        path = pending.pop()
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            total += found.st_blocks * 512
            if stat.S_ISDIR(found.st_mode):
                pending += [entry.path for entry in os.scandir(path)]
    return total
