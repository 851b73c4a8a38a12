"""What trying a sandbox level gave; preflight tries it, at the cost of a start."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Whether one level works here."""

    level: str
    works: bool
    reason: str
    """What showed it: the words of the program that refused."""
    remedy: str
    """The exact command, or the change, that would make it work; empty where it works."""
