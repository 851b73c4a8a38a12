"""The words of a step's command: what stands for a mount, outputs or the server is filled in."""

import re
from collections.abc import Iterable, Mapping, Sequence

NAME = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
OUT, REPORT, SERVER = "out", "report", "server"
"""Names that are no mounts: see `launchers.steps`."""
SERVER_WORD = f"{{{SERVER}}}"


def filled(words: Iterable[str], paths: Mapping[str, str]) -> list[str]:
    """The words with every `{name}` replaced by its path.

    Args:
        words: a program and its arguments.
        paths: of every name that they use.
    """
    return [NAME.sub(lambda found: paths[found[1]], word) for word in words]


def with_server(words: Sequence[str], server: Sequence[str]) -> list[str]:
    """The words, with the one that stands for the server replaced by all of its command."""
    return [one for word in words for one in (server if word == SERVER_WORD else [word])]


def names_in(words: Iterable[str]) -> set[str]:
    """Every name that some word uses."""
    return {name for word in words for name in NAME.findall(word)}
