"""What a strategy answers. It is pure: from scores and seeds to choices, no lake and no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assets.results.better import Better
from assets.results.scored import Scored
from lake.tables import IdeaKind, SelectionRole

Calls = Sequence[tuple[IdeaKind, int]]
"""Kind of the ideas that a call of an ideator asks for, and how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An earlier idea with the role it plays in the epoch."""

    role: SelectionRole
    scored: Scored
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a value must rest on before its idea may be a parent or the winner."""

    deep: int
    """Cuts of the leak audit."""
    confirmations: int = 0
    """Valid runs with seeds that were drawn after the patch; their mean is what counts."""


class Strategy(Protocol):
    """How a campaign searches."""

    @property
    def better(self) -> Better:
        """What counts as better."""

    @property
    def places(self) -> int:
        """How many ideas of all epochs may be parents, and must have passed the deep audit."""

    @property
    def calls_at_once(self) -> int:
        """Calls of the ideators side by side; 1 where each is told of the ideas before it."""

    def select(self, history: Sequence[Scored], proof: Proof, *, seed: int) -> list[Choice]:
        """Parents, best first, and what else an epoch is shown.

        Args:
            history: every idea of earlier epochs, baseline rows included.
            proof: what a parent's value must rest on.
            seed: of every draw.
        """

    def calls(self, *, epoch: int, batch: int, parents: int) -> Calls:
        """What the ideators are asked for, call by call.

        Args:
            epoch: from 0.
            batch: ideas of the epoch.
            parents: how many were selected.
        """


def split_calls(plan: Calls, *, per_call: int) -> list[tuple[IdeaKind, int]]:
    """Cut a plan into calls of at most `per_call` ideas, in order."""
    return [
        (kind, min(per_call, count - start))
        for kind, count in plan
        for start in range(0, count, per_call)
    ]
