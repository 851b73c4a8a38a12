"""The corpus of attacks and honest twins: one folder each, read from `corpus/<family>/<name>/`.

README.md beside this file describes the format and the words of the verdicts.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
LEVELS = ("none", "landlock", "bwrap")
VERDICTS = (
    "refused-diff",
    "held",
    "killed",
    "refused-output",
    "no-score",
    "no-gain",
    "open",
)
PLACE = '"@TARGETS@"'
"""Stands in an answer where the runner puts a dict of all that the attack is told."""
ANSWERS = ("patch.txt", "patch.diff")
KEYS = {
    *("summary", "environment", "honest", "stopped_by", "verdict", "user", "gap", "check"),
    *("twin", "gain", "needs", "job", "around", "levels", "seconds", "profile"),
}
MACHINERY = "machinery"
"""The family whose items are plain tests, since no answer of a model could carry them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """One attack, or one honest twin."""

    family: str
    name: str
    summary: str
    """What it tries and what it would gain."""
    environment: str
    """`ridge` or `nanogpt`."""
    answer: str | None
    """What the model answered; None where `check` is the attack."""
    verdict: Mapping[str, str]
    """By level. An honest twin has none: it has the full score everywhere."""
    stopped_by: str
    honest: bool = False
    profile: str = "cpu"
    """Of the environment: the size, and which data."""
    user: Mapping[str, str] = field(default_factory=dict)
    """Verdicts that differ where an ordinary user runs it, by level."""
    gap: Mapping[str, str] = field(default_factory=dict)
    """By level, the first word of the declared gap that lets the attack through."""
    check: str | None = None
    """The test function that carries the attack out, in the family of the machinery."""
    twin: str | None = None
    """Whose value it is compared with; None: that of the family's twin of the same environment."""
    gain: float | None = None
    """Least gain in the scored pass, metric units: an attack that gains nothing proves nothing."""
    needs: str | None = None
    """What the machine must have for the attack to mean something."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the job's specification."""
    around: tuple[str, ...] = ()
    """What it finds around it besides decoys: `neighbour`, `packages`."""
    levels: tuple[str, ...] = LEVELS
    """Those that the tests run it at; at the others the verdict is what follows from these."""
    seconds: float = 60.0
    """Wall clock by which its result must stand."""

    @property
    def id(self) -> str:
        """How tests and tables call it."""
        return f"{self.family}/{self.name}"

    def expected(self, level: str, *, ordinary: bool) -> str:
        """The verdict that must be seen."""
        return (self.user if ordinary and level in self.user else self.verdict)[level]


@cache
def read_corpus() -> tuple[Item, ...]:
    """All items, sorted by family and name.

    Raises:
        ValueError: an item breaks the format; the message names it.
    """
    paths = sorted(FOLDER.glob("*/*/attack.toml"))
    return tuple(read_item(path.parent) for path in paths)


def read_item(folder: Path) -> Item:
    """One item.

    Raises:
        ValueError: it breaks the format.
    """
    with open(folder / "attack.toml", "rb") as file:
        given = tomllib.load(file)
    if not set(given) <= KEYS:
        raise ValueError(f"{folder}: found the keys {set(given) - KEYS}, expected only {KEYS}")
    answers = [folder / name for name in ANSWERS if (folder / name).exists()]
    if len(answers) + ("check" in given) != 1:
        raise ValueError(f"{folder}: expected exactly one of {ANSWERS} or the key `check`")
    lists = {key: tuple(given[key]) for key in ("around", "levels") if key in given}
    item = Item(
        family=folder.parent.name,
        name=folder.name,
        answer=answers[0].read_bytes().decode() if answers else None,
        **{"verdict": {}, "stopped_by": ""} | given | lists,
    )
    _check(item)
    return item


def _check(item: Item) -> None:
    """Raises if the verdicts are not complete, or not in the words that are known.

    Raises:
        ValueError: saying which.
    """
    if item.environment not in ("ridge", "nanogpt"):
        raise ValueError(f"{item.id}: found the environment {item.environment!r}")
    if item.honest:
        if item.verdict or item.user:
            raise ValueError(f"{item.id}: an honest twin has no verdicts: it passes everywhere")
        return
    if tuple(item.verdict) != LEVELS:
        raise ValueError(f"{item.id}: found verdicts for {list(item.verdict)}, expected {LEVELS}")
    for level, word in [*item.verdict.items(), *item.user.items()]:
        if word not in VERDICTS or level not in LEVELS:
            raise ValueError(f"{item.id}: {level}: found {word!r}, expected one of {VERDICTS}")
    if not item.stopped_by:
        raise ValueError(f"{item.id}: expected `stopped_by`, the step that stops it")


def attacks() -> list[Item]:
    """All that are not honest."""
    return [item for item in read_corpus() if not item.honest]


def twin_of(item: Item) -> Item:
    """The honest item that an attack is compared with.

    Raises:
        LookupError: there is none.
    """
    twins = [
        other
        for other in read_corpus()
        if other.honest
        and other.family == item.family
        and other.environment == item.environment
        and item.twin in (None, other.name)
    ]
    if not twins:
        raise LookupError(f"{item.id}: expected an honest twin on {item.environment} beside it")
    return twins[0]
