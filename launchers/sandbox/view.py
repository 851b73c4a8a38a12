"""What one program of a job may see and use, whatever wall is put around it."""

from collections.abc import Mapping
from typing import NamedTuple

ENV = "env"
OUT = "out"
"""Names inside: the working directory, and the one folder whose content outlives the program."""
GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps")
"""Device nodes that every user of a GPU needs beside that of the GPU."""


class WallError(OSError):
    """The wall could not be put up; says nothing of the program."""


class View(NamedTuple):
    """All that a program gets; what is not named here is not there."""

    python: str
    """The interpreter that runs the program; its folders are readable."""
    folder: str
    """Working directory, readable: the tree of the environment."""
    readable: Mapping[str, str]
    """Name inside -> folder outside, read only: `data` or `checkpoint`."""
    work: str | None
    """Private folder outside that holds home/, tmp/ and out/; None where the program has nothing
    to write to. Behind bubblewrap they live in memory instead, and nothing outside is writable."""
    wall: str
    """Folder outside where the wall keeps what it needs; never visible inside."""
    lock: str | None
    """File that the supervisor holds locked as long as it lives; None where nobody supervises."""
    masked: tuple[str, ...]
    """Paths below a folder of installed packages that must not be readable, in any copy."""
    out_bytes: int
    """Most that `out` may hold; 0 where the program has no such folder."""
    scratch_bytes: int
    """Most that each of temporary files and shared memory may hold."""
    processes: int
    """Most processes and threads at once."""
    gpus: tuple[int, ...]
    """Numbers of the GPUs that the job was given."""
    environment: Mapping[str, str]
    """The whole process environment, but for HOME and TMPDIR."""
