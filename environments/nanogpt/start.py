"""Start a training: import what every one needs, say so, and run the program.

    python start.py train.py --profile cpu --seed 0 ...

What comes before the first line of the program is the start of Python and torch, which differs
between machines and hours and is nobody's work: whoever measures it does so when READY is printed.
The program is patched code, and finds everything as if it had been started by itself.
"""

import os
import runpy
import sys

import numpy as np  # noqa: F401
import safetensors.torch  # noqa: F401
import torch

READY = b"\0ready\n"
"""Printed by itself, before anything else."""


def main():
    """Makes an optimizer once, which brings in most of what torch imports late."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)
    os.write(1, READY)
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
