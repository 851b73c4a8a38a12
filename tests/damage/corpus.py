"""The corpus: each way and each trap on so many edits."""

import random
from dataclasses import dataclass
from functools import cache

from damage.edits import Edit, edits
from damage.traps import TRAPS
from damage.ways import WAYS
from launchers import tree_hash

EACH = 10
"""Cases of a way, where it applies to so many edits."""


@dataclass(frozen=True)
class Case:
    """One damaged answer."""

    way: str
    edit: Edit
    answer: str
    tree: str | None
    """What it must give; None where it must be refused."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.way}: {self.edit.name}"


@cache
def corpus() -> tuple[Case, ...]:
    """All cases, the same ones each time."""
    cases: list[Case] = []
    for way, make in (WAYS | TRAPS).items():
        rng = random.Random(way)
        drawn = rng.sample(edits(), len(edits()))
        # Edits of several files come first: they are few, and more can go wrong with them.
        drawn.sort(key=lambda edit: -len(edit.paths))
        answers = ((edit, make(edit, rng)) for edit in [*drawn[:3], *drawn[5:], *drawn[3:5]])
        made = [(edit, answer) for edit, answer in answers if answer is not None][:EACH]
        for edit, answer in made:
            tree = tree_hash(edit.after) if way in WAYS else None
            cases.append(Case(way, edit, answer, tree))
    return tuple(cases)
