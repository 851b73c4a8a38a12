"""Best of N: the control of every search. It rests on no score."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.results.better import Better
from assets.results.scored import Scored
from assets.strategies.strategy import Calls, Choice, Proof, split_calls
from lake.tables import IdeaKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN:
    """Fresh ideas in every epoch."""

    ideas_per_call: int
    better: Better

    places = 1
    calls_at_once = 1

    def select(self, history: Sequence[Scored], proof: Proof, *, seed: int) -> list[Choice]:
        """Nothing."""
        return []

    def calls(self, *, epoch: int, batch: int, parents: int) -> Calls:
        """All of the batch, fresh."""
        return split_calls([(IdeaKind.FRESH, batch)], per_call=self.ideas_per_call)
