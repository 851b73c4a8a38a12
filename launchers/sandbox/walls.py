"""The walls by level: how a program is put behind each, and how its results come out."""

import os
from collections.abc import Sequence
from typing import Protocol

from launchers.sandbox.bwrap import Bubblewrap
from launchers.sandbox.landlock import landlock_command
from launchers.sandbox.status import clear_status, has_failed
from launchers.sandbox.view import ENV, OUT, View


class Wall(Protocol):
    """What every level can do."""

    watches_disk: bool
    """Whether the private folder lies on a disk that the wall leaves without a limit."""

    def path(self, view: View, name: str) -> str:
        """What the program calls a folder of its view: `env`, `out`, or a name of `readable`."""

    def prepare(self, view: View) -> None:
        """Writes what the wall needs, before the first command of this view."""

    def command(self, view: View, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` behind the wall, in the view's folder.

        Raises:
            WallError: this machine lacks a part of the wall.
        """

    def open_out(self, view: View, pid: int) -> int:
        """Opens the `out` of a program just started and lets it begin.

        Raises:
            WallError: the program did not reach its start.
        """

    def failed(self, view: View) -> bool:
        """Whether the wall itself failed at some start so far, so that no program ran."""


class NoWall:
    """The level `none`: the program runs as whoever started the search."""

    watches_disk = False

    def path(self, view: View, name: str) -> str:
        """The folder's own path."""
        if name == ENV:
            return view.folder
        return view.readable[name] if name != OUT else os.path.join(view.work or "", OUT)

    def prepare(self, view: View) -> None:
        """Nothing is needed: the supervisor makes the private folders."""

    def command(self, view: View, command: Sequence[str]) -> list[str]:
        """Only changes to the folder, without the variables that a shell adds."""
        enter = 'cd "$0" && unset PWD OLDPWD && exec "$@"'
        return ["/bin/sh", "-c", enter, view.folder, *command]

    def open_out(self, view: View, pid: int) -> int:
        """The folder in the private one, which is there from the start."""
        del pid
        return os.open(os.path.join(view.work or "", OUT), os.O_RDONLY | os.O_DIRECTORY)

    def failed(self, view: View) -> bool:
        """There is no wall that could fail."""
        del view
        return False


class Landlock(NoWall):
    """The level `landlock`: the kernel refuses to open what is not allowed; see landlock.py."""

    watches_disk = True

    def prepare(self, view: View) -> None:
        """Begins the record of which starts reached their program."""
        clear_status(view)

    def failed(self, view: View) -> bool:
        """Whether some start so far never reached its program."""
        return has_failed(view)

    def command(self, view: View, command: Sequence[str]) -> list[str]:
        """Puts the confining program in front."""
        return landlock_command(view, command)


WALLS: dict[str, Wall] = {"none": NoWall(), "landlock": Landlock(), "bwrap": Bubblewrap()}
"""By the name of the level."""
