"""Checks of output files by their own bytes, without running anything that they contain.

It knows .safetensors, .npy and .json; any other suffix is refused, so nothing that unpickles can
come through. Tensor values are not looked at: evaluate.py checks whether they are finite.
"""

import math
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from launchers.plain import PlainError, strict_json
from launchers.visible import ToldError, quoted

SAFETENSORS_HEADER_BYTES = 1 << 20
NPY_HEADER_BYTES = 1 << 16
MOST_AXES = 64
JSON_BYTES = 16 << 20
ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
"""The safetensors types that are accepted, with the size of one element."""
NPY_HEADER = re.compile(
    rb"\{'descr': '[<>|=](?P<kind>[biufc])(?P<size>\d{1,2})', "
    rb"'fortran_order': (?:True|False), 'shape': \((?P<shape>(?:\d{1,19}(?:, ?|(?=\))))*)\), \} *\n"
)


class FormatError(ToldError, ValueError):
    """A file is not what its suffix says; the message says how."""


def check_format(name: str, file: BinaryIO, size: int) -> int | None:
    """Checks an output by its suffix; gives how many numbers it holds where that is known.

    Args:
        name: the file's name.
        file: open at its beginning; nobody else can write it.
        size: its length in bytes.

    Raises:
        FormatError: the suffix is unknown or the content does not fit it.
    """
    suffix = name.rpartition(".")[2]
    if suffix not in CHECKS or "." not in name:
        raise FormatError(f"found the suffix of {name!r}, expected one of {sorted(CHECKS)}")
    return CHECKS[suffix](file, size)


def _json(text: bytes) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return strict_json(text)
    except PlainError as error:
        raise FormatError(str(error)) from error


def check_json(file: BinaryIO, size: int) -> None:
    """Checks a .json output.

    Raises:
        FormatError: it is too large or no plain JSON.
    """
    if size > JSON_BYTES:
        raise FormatError(f"found {size} bytes of JSON, expected at most {JSON_BYTES}")
    _json(file.read(JSON_BYTES))


def check_npy(file: BinaryIO, size: int) -> int:
    """Checks a .npy output: a plain numeric array, never objects; gives its size in numbers.

    Raises:
        FormatError: the header is not one that numpy writes, or the length does not fit it.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise FormatError(f"found the start {start!r}, expected a .npy file of version 1 or 2")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    header = file.read(min(length, NPY_HEADER_BYTES))
    match = NPY_HEADER.fullmatch(header)
    if len(header) != length or match is None:
        raise FormatError(f"found the header {header[:80]!r}, expected a numeric array's")
    shape = [int(part) for part in match["shape"].split(b",") if part.strip()]
    if len(shape) > MOST_AXES:
        raise FormatError(f"found {len(shape)} axes, expected at most {MOST_AXES}")
    expected = 8 + width + length + math.prod(shape) * int(match["size"])
    if size != expected:
        raise FormatError(f"found {size} bytes, expected {expected} by the header")
    return math.prod(shape)


def check_safetensors(file: BinaryIO, size: int) -> int:
    """Checks a .safetensors output: known types, and tensors that tile the data without a gap.

    Returns:
        How many numbers all tensors hold.

    Raises:
        FormatError: the header breaks a rule or the length does not fit it.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(SAFETENSORS_HEADER_BYTES, size - 8):
        raise FormatError(
            f"found a header of {length} bytes in a file of {size}, "
            f"expected at most {SAFETENSORS_HEADER_BYTES} and inside the file"
        )
    header = _json(file.read(length))
    if not isinstance(header, dict):
        raise FormatError("found a header that is no object")
    _check_metadata(header.pop("__metadata__", {}))
    end = 0
    for begin, stop in sorted(_tensor_span(name, entry) for name, entry in header.items()):
        if begin != end:
            raise FormatError(f"found a tensor at {begin}, expected the next one at {end}")
        end = stop
    if end != size - 8 - length:
        raise FormatError(f"found {size - 8 - length} bytes of data, expected {end}")
    return sum(math.prod(entry["shape"]) for entry in header.values())


def _check_metadata(metadata: Any) -> None:  # noqa: ANN401  # any JSON value
    texts = metadata.values() if isinstance(metadata, dict) else [None]
    if not all(isinstance(value, str) for value in texts):
        raise FormatError("found __metadata__ that does not map text to text")


def _tensor_span(name: str, entry: Any) -> tuple[int, int]:  # noqa: ANN401  # any JSON value
    """Begin and end of one tensor in the data, once its entry is known to be consistent."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {quoted(name)}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        known = sorted(ITEM_BYTES)
        raise FormatError(f"tensor {quoted(name)}: found type {quoted(dtype)}, expected {known}")
    if not (_sizes(shape) and _sizes(offsets) and len(offsets) == 2):
        found = f"shape {quoted(shape)} and offsets {quoted(offsets)}"
        raise FormatError(f"tensor {quoted(name)}: found {found}")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        found = f"offsets {offsets} do not fit {dtype} {quoted(shape)}"
        raise FormatError(f"tensor {quoted(name)}: {found}")
    return offsets[0], offsets[1]


def _sizes(values: Any) -> bool:  # noqa: ANN401  # any JSON value
    """Whether this is a list of plain counts, at most as many as an array may have axes."""
    return (
        isinstance(values, list)
        and len(values) <= MOST_AXES
        and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    )


CHECKS: dict[str, Callable[[BinaryIO, int], int | None]] = {
    "json": check_json,
    "npy": check_npy,
    "safetensors": check_safetensors,
}
