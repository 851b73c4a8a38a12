"""Prepared data of an environment: made once by its `prepare.py`, kept under VARVE_HOME, shared."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.config.environment import Environment
from assets.config.exclusive import exclusive
from assets.config.preparing import run_prepare
from assets.errors import ManifestError
from lake.ids import content_hash, content_id
from launchers.here import BY_HASH, torch_version


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
        ManifestError: `prepare.py` makes no such data; with what it said.
    """
    name = environment.manifest.name
    made_by = content_id(environment.frozen_tree, profile, torch_version())
    target = folder / f"{name}-{profile}-{made_by}"
    with exclusive(folder / f"{target.name}.lock"):
        try:
            files = _files_of(target)
        except ValueError:
            files = _made(environment, profile, target)
    data = _describe(target, files)
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


def _made(environment: Environment, profile: str, target: Path) -> Mapping[str, str]:
    """The files that `prepare.py` makes, in place of what lies there.

    Raises:
        ManifestError: it fails, takes too long, or leaves less than data.json names.
    """
    shutil.rmtree(target, ignore_errors=True)
    try:
        run_prepare(environment, profile, target)
        return _files_of(target)
    except ValueError as error:
        raise ManifestError(
            f"{environment.path / 'prepare.py'}: expected data in {target} (correct it, then run "
            f"the same command again), found {error}"
        ) from error


def _files_of(target: Path) -> Mapping[str, str]:
    """Path -> hash of every file, as data.json names them.

    Raises:
        ValueError: saying what is wrong with data.json, or which file is missing.
    """
    try:
        found = json.loads((target / "data.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError("no data.json") from error
    except ValueError as error:
        raise ValueError(f"a data.json that is no JSON ({error})") from error
    files = found.get("files") if isinstance(found, dict) else None
    if not files or not isinstance(files, dict):
        raise ValueError("a data.json without `files`, the hash of each path")
    missing = [path for path in files if not (target / path).is_file()]
    if missing:
        raise ValueError(f"no {missing[0]}, which data.json names")
    return files


def _describe(target: Path, files: Mapping[str, str]) -> PreparedData:
    train = {path: digest for path, digest in files.items() if path.startswith("train/")}
    hidden = {path: digest for path, digest in files.items() if not path.startswith("train/")}
    return PreparedData(path=target, train_hash=_digest(train), hidden_hash=_digest(hidden))


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
