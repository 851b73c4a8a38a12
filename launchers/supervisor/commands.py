"""The words of a step's command: the names of mounts, outputs and the server are filled in."""

import re
from collections.abc import Iterable, Mapping, Sequence

NAME = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
REPORT, SERVER = "report", "server"
"""Names that are no mounts, as is that of the output folder: see `launchers.steps`."""
SERVER_WORD = f"{{{SERVER}}}"


def filled(words: Iterable[str], paths: Mapping[str, str], server: Sequence[str] = ()) -> list[str]:
    """The words with every `{name}` replaced by its path.

    Args:
        words: a program and its arguments.
        paths: of every name that they use.
        server: what the one word for the server stands for; it is taken as it is.
    """
    found: list[str] = []
    for word in words:
        if word == SERVER_WORD:
            found += server
        else:
            found.append(NAME.sub(lambda name: paths[name[1]], word))
    return found


def names_in(words: Iterable[str]) -> set[str]:
    """Every name that some word uses."""
    return {name for word in words for name in NAME.findall(word)}
