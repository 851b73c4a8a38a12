"""Whether a wall let every program begin: a letter when it is being put up, one when it stands.

A program that does not answer and a wall that does not stand look alike from outside, and must not
be blamed on each other. The file is written by trusted code alone, before the program runs, and is
closed to it.
"""

import os

from launchers.sandbox.view import View

STATUS = "status"
RAISING, STANDING = "r", "s"


def status_path(view: View) -> str:
    """Where the letters of a view's starts stand."""
    return os.path.join(view.wall, STATUS)


def clear_status(view: View) -> None:
    """Forgets earlier starts."""
    os.makedirs(view.wall, exist_ok=True)
    with open(status_path(view), "wb"):
        pass


def has_failed(view: View) -> bool:
    """Whether some start so far never reached its program."""
    with open(status_path(view), encoding="utf-8") as file:
        letters = file.read()
    return letters.count(RAISING) > letters.count(STANDING)
