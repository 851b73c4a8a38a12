"""Where commands print."""

import sys

from rich.console import Console

FILE_WIDTH = 160
"""Columns of what is printed without a terminal."""


def open_console() -> Console:
    """Standard output: as wide as its terminal, or as a file where it is none."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
