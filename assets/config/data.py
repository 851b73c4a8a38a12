"""Prepared data of an environment: made once by its `prepare.py`, kept under VARVE_HOME, shared."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.config.environment import Environment
from assets.errors import ManifestError
from lake.ids import content_hash, content_id
from launchers.here import BY_HASH, torch_version

PREPARE_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedData:
    """A folder with `train/`, `hidden/`, `second/` and `data.json`."""

    path: Path
    train_hash: str
    """Of what training reads."""
    hidden_hash: str
    """Of what only trusted code reads."""

    @property
    def digest(self) -> str:
        """The name by which a job refers to the data, wherever it runs."""
        return content_hash(self.train_hash, self.hidden_hash)


def prepare_data(environment: Environment, profile: str, *, folder: Path) -> PreparedData:
    """The environment's data, made by `prepare.py` on first use.

    Raises:
        ManifestError: with what `prepare.py` said, if it fails.
    """
    name = environment.manifest.name
    made_by = content_id(environment.frozen_tree, profile, torch_version())
    target = folder / f"{name}-{profile}-{made_by}"
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / f"{target.name}.lock"):
        if not _is_whole(target):
            shutil.rmtree(target, ignore_errors=True)
            _run_prepare(environment, profile, target)
    data = _describe(target)
    _name_by_hash(data, folder / BY_HASH)
    return data


def _name_by_hash(data: PreparedData, folder: Path) -> None:
    """Let a launcher find the data by content, even in a home that was moved."""
    link = folder / data.digest
    target = Path("..") / data.path.name
    if link.is_dir() and (not link.is_symlink() or link.readlink() == target):
        return
    folder.mkdir(exist_ok=True)
    partial = folder / f"{data.digest}.{os.getpid()}.partial"
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)


def _is_whole(target: Path) -> bool:
    """Whether every file that data.json names is there."""
    try:
        files = json.loads((target / "data.json").read_text())["files"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return False
    return all((target / path).is_file() for path in files)


def _run_prepare(environment: Environment, profile: str, target: Path) -> None:
    command = [sys.executable, "prepare.py", "--profile", profile, "--out", str(target)]
    done = subprocess.run(
        command, cwd=environment.path, capture_output=True, text=True, timeout=PREPARE_SECONDS
    )
    if done.returncode != 0 or not (target / "data.json").exists():
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise ManifestError(
            f"{environment.path / 'prepare.py'}: exit code {done.returncode}, "
            f"expected data in {target}. It said:\n{said}"
        )


def _describe(target: Path) -> PreparedData:
    files: dict[str, str] = json.loads((target / "data.json").read_text())["files"]
    train = {path: digest for path, digest in files.items() if path.startswith("train/")}
    hidden = {path: digest for path, digest in files.items() if not path.startswith("train/")}
    return PreparedData(path=target, train_hash=_digest(train), hidden_hash=_digest(hidden))


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
