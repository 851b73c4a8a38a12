"""Arrays as frames: what evaluate.py and serve.py say to each other, both ends of it.

A frame is an 8-byte little-endian unsigned length and one .npy record of that many bytes, without
pickles. What the other side sent is never believed: `parse_record` takes one form of array and
refuses everything else.

Source: the contract, environments/README.md.
"""

import io
import math
from typing import NamedTuple

import numpy as np

LENGTH_BYTES = 8
GREETING = np.zeros(1, np.uint8)
"""A server's first frame, which answers nothing: it is ready to run patched code."""
HEADER_BYTES = 4096
"""More than the header of any .npy record that is expected here."""


class FrameError(ValueError):
    """What came is not the frame that was expected; the message quotes nothing of it."""


class FormError(FrameError):
    """A proper record, but of another form."""


class Form(NamedTuple):
    """What an array has to be, in C order."""

    dtype: str
    """As numpy spells it, with its byte order: `<f4`."""
    shape: tuple[int, ...]

    def __str__(self):
        return f"{self.dtype} {self.shape}"

    @property
    def nbytes(self):
        """Bytes of the array alone."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    @property
    def most_bytes(self):
        """Largest record that is read where this form is expected; a wrong one may be named."""
        return 4 * self.nbytes + HEADER_BYTES


def frame_head(array):
    """All of a frame except the array's own bytes, which follow in C order."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    size = header.tell() + array.nbytes
    return size.to_bytes(LENGTH_BYTES, "little") + header.getvalue()


def frame(array):
    """One array as the bytes of a frame."""
    array = np.asarray(array, order="C")
    return frame_head(array) + array.tobytes()


def write_frame(stream, array):
    """Sends one array, without copying it if it lies in C order."""
    array = np.asarray(array, order="C")
    stream.write(frame_head(array))
    stream.write(array.data)
    stream.flush()


def read_frame(stream):
    """The next array from a side that is trusted, or None at the end of the stream."""
    length = stream.read(LENGTH_BYTES)
    if not length:
        return None
    record = io.BytesIO(stream.read(int.from_bytes(length, "little")))
    return np.lib.format.read_array(record, allow_pickle=False)


def parse_record(record, form):
    """The array of a record, not copied.

    Args:
        record: The bytes of a frame after its length.
        form: The only one that is taken.

    Raises:
        FormError: an array of another type, shape or order.
        FrameError: no .npy record, or one of another length than its header says.
    """
    stream = io.BytesIO(record[:HEADER_BYTES])
    if _header(stream) != str(form):
        raise FormError(f"an array of another type or shape than {form} in C order")
    if len(record) - stream.tell() != form.nbytes:
        raise FrameError(f"a frame of another length than {form} has")
    return np.frombuffer(record, form.dtype, offset=stream.tell()).reshape(form.shape)


def _header(stream):
    """What the header of a record says, as a form."""
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        return f"{dtype.str} {shape}" + " in Fortran order" * fortran
    except Exception as error:  # whatever numpy stumbles over, the other side sent it
        raise FrameError("a frame that is no .npy record") from error
