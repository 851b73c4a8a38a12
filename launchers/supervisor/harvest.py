"""Takes out of a raw output folder what was declared, and nothing else.

The training has ended by then, yet its folder is not trusted: files are opened relative to a folder
descriptor taken before the training began, without following links or waiting on pipes, checked on
the open descriptor, and copied to files that training never had a handle to. Nested folders are
not harvested.
"""

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from launchers.folder import remove_file
from launchers.result import MOST_REFUSALS, Output
from launchers.supervisor.formats import FormatError, check_format
from launchers.visible import PART_CHARACTERS, ToldError, told, visible_line

MOST_ENTRIES = 4096
"""More names than this in an output folder are an attack or a bug; all are refused."""
CHUNK_BYTES = 1 << 20
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Harvested(NamedTuple):
    """What came out of a folder."""

    outputs: dict[str, Output]
    """By name."""
    refused: dict[str, str]
    """Name as the job chose it -> why it was not taken; names that nobody declared included."""
    missing: list[str]
    """Why the outputs are not complete: declared names without a file, declared files refused.
    The first ones, made safe to show."""

    @property
    def complete(self) -> bool:
        """Whether every declared output is there and none was refused."""
        return not self.missing


class RefusedError(ToldError):
    """One file is not taken; the message says why."""


def harvest(source: int, target: str, declared: Mapping[str, Mapping[str, int]]) -> Harvested:
    """Copies the declared outputs.

    Args:
        source: descriptor of the raw output folder.
        target: folder to copy to; a name that is taken again is replaced.
        declared: name or glob -> {"max": files, "bytes": cap of each}.

    Raises:
        OSError: the target cannot be written.
    """
    names = _names(source)
    if names is None:
        why = f"more than {MOST_ENTRIES} names in the output folder"
        return Harvested({}, {"*": why}, [why])
    outputs: dict[str, Output] = {}
    refused: dict[str, str] = {}
    missing: list[str] = []
    for pattern, limits in declared.items():
        matching = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            missing.append(f"{pattern}: no such output was left")
        if len(matching) > limits["max"]:
            why = f"{len(matching)} files match {pattern}, at most {limits['max']} may"
            refused |= dict.fromkeys(matching, why)
            missing.append(why)
            continue
        for name in matching:
            try:
                outputs[name] = _take(source, name, os.path.join(target, name), limits["bytes"])
            except RefusedError as error:
                remove_file(os.path.join(target, name))
                refused[name] = str(error)
                missing.append(f"{name}: {error}")
    for name in names:
        if name not in outputs and name not in refused:
            refused[name] = "not declared"
    return Harvested(outputs, refused, list(_told(missing)))


def _told(missing: Sequence[str]) -> Iterator[str]:
    """The first of many lines that quote the names of what a job left."""
    yield from (told(visible_line(why), PART_CHARACTERS) for why in missing[:MOST_REFUSALS])
    if len(missing) > MOST_REFUSALS:
        yield f"and {len(missing) - MOST_REFUSALS} more"


def _names(source: int) -> list[str] | None:
    """Sorted names in the folder, or None when there are too many."""
    names: list[str] = []
    with os.scandir(source) as entries:
        for entry in entries:
            names.append(os.fsencode(entry.name).decode("utf-8", errors="replace"))
            if len(names) > MOST_ENTRIES:
                return None
    return sorted(names)


def _take(source: int, name: str, target: str, cap: int) -> Output:
    """Copies one file and checks the copy.

    Raises:
        RefusedError: it is no plain file within the cap, or not what its suffix says.
    """
    if name != visible_line(name):
        raise RefusedError("the name holds a character that cannot be seen")
    remove_file(target)
    try:
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=source)
    except OSError as error:
        raise RefusedError(f"cannot be opened as a plain file ({error.strerror})") from error
    try:
        _check_kind(os.fstat(descriptor), cap)
        size, digest = _copy(descriptor, target, cap)
    finally:
        os.close(descriptor)
    try:
        with open(target, "rb") as file:
            numbers = check_format(name, file, size)
    except FormatError as error:
        raise RefusedError(str(error)) from error
    return Output(bytes=size, sha256=digest, numbers=numbers)


def _check_kind(found: os.stat_result, cap: int) -> None:
    """Refuses what is not a plain file with one name and a size within the cap.

    Raises:
        RefusedError: it is not.
    """
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError("not a regular file")
    if found.st_nlink != 1:
        raise RefusedError(f"found {found.st_nlink} names for the file, expected one")
    if found.st_size > cap:
        raise RefusedError(f"found {found.st_size} bytes, expected at most {cap}")


def _copy(descriptor: int, target: str, cap: int) -> tuple[int, str]:
    """Copies at most `cap` bytes durably; gives their number and sha256."""
    digest = hashlib.sha256()
    size = 0
    with open(target, "xb") as file:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            size += len(chunk)
            if size > cap:
                raise RefusedError(f"grew over {cap} bytes while it was read")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()
