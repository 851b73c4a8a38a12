"""Frames between evaluate.py and serve.py: a length and one .npy record of float64.

The length is 8 bytes, little-endian, unsigned. Only the standard library is used, so that a
process of this environment starts in a few hundredths of a second.
"""

import re
import sys
from array import array
from io import BufferedIOBase

HEADER = re.compile(
    rb"\{'descr': '<f8', 'fortran_order': False, 'shape': \((\d+), (\d*)\), \} *\n|"
    rb"\{'descr': '<f8', 'fortran_order': False, 'shape': \((\d+),\), \} *\n"
)
MOST_BYTES = 1 << 24


def write_frame(stream: BufferedIOBase, rows: list[list[float]]) -> None:
    """Sends a matrix, given as rows of equal length."""
    width = len(rows[0]) if rows else 0
    shape = f"({len(rows)}, {width})"
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(11 + len(header)) % 64) + b"\n"
    values = array("d", [value for row in rows for value in row])
    if sys.byteorder == "big":
        values.byteswap()
    record = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + values.tobytes()
    stream.write(len(record).to_bytes(8, "little") + record)
    stream.flush()


def read_frame(stream: BufferedIOBase) -> list[list[float]] | None:
    """Receives a matrix, or None at the end of the stream.

    Raises:
        ValueError: what comes is no such frame.
    """
    length = stream.read(8)
    if not length:
        return None
    size = int.from_bytes(length, "little")
    if len(length) < 8 or size > MOST_BYTES:
        raise ValueError(f"found a frame of {size} bytes, expected at most {MOST_BYTES}")
    record = stream.read(size)
    end = 10 + int.from_bytes(record[8:10], "little")
    match = HEADER.fullmatch(record[10:end])
    if len(record) < size or record[:8] != b"\x93NUMPY\x01\x00" or match is None:
        raise ValueError(f"found the record {record[:80]!r}, expected a float64 matrix")
    height, width = int(match[1] or match[3]), int(match[2] or 1)
    values = array("d")
    values.frombytes(record[end:])
    if sys.byteorder == "big":
        values.byteswap()
    if len(values) != height * width:
        raise ValueError(f"found {len(values)} numbers, expected {height} x {width}")
    return [list(values[at : at + width]) for at in range(0, len(values), width or 1)]
