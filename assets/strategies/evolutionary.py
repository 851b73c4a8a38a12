"""Evolutionary search: exploitation varies parents above the baseline, exploration keeps away.

Source: the paper's code. The first epoch is fresh; later a share of `min(0.5 + 0.1 * (epoch // 2),
0.8)` exploits, rounded down to whole calls, and the rest explores, shown a random context of
earlier ideas, failures included.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.settings import StrategySettings
from assets.results.baseline import OwnBaseline
from assets.results.better import Better
from assets.results.scored import Scored
from assets.strategies.strategy import Calls, Choice, Proof, split_calls
from lake.tables import IdeaKind, SelectionRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolutionary:
    """Varies what was good, and looks for what is different."""

    settings: StrategySettings
    better: Better

    calls_at_once = 1

    @property
    def places(self) -> int:
        """As many as exploitation varies."""
        return self.settings.parents

    def select(self, history: Sequence[Scored], proof: Proof, *, seed: int) -> list[Choice]:
        """Parents above the baseline, best first, then a random context of everything tried."""
        ideas = [s for s in history if not s.is_baseline]
        parents = self._parents(ideas, proof, OwnBaseline.of(history))
        shown = random.Random(seed).sample(ideas, min(self.settings.context, len(ideas)))
        return parents + [
            Choice(role=SelectionRole.CONTEXT, scored=s, reason=s.reason or "tried before")
            for s in shown
        ]

    def _parents(
        self, ideas: Sequence[Scored], proof: Proof, baseline: OwnBaseline
    ) -> list[Choice]:
        above = [
            (self.better.rank(s.value), s.idea.idea_id, s, bar)
            for s in ideas
            if s.value is not None and (bar := baseline.at(s.seed)) is not None
            if self.better.beats(s.value, bar) and s.may_win(proof.deep, proof.confirmations)
        ]
        return [
            Choice(role=SelectionRole.PARENT, scored=s, reason=f"beats the baseline's {bar:.4f}")
            for _, _, s, bar in sorted(above, key=lambda one: one[:2])[: self.settings.parents]
        ]

    def calls(self, *, epoch: int, batch: int, parents: int) -> Calls:
        """Fresh at first; then those that exploit before those that explore."""
        per_call = self.settings.ideas_per_call
        if epoch == 0:
            return split_calls([(IdeaKind.FRESH, batch)], per_call=per_call)
        exploit = exploit_count(epoch, batch=batch, ideas_per_call=per_call) if parents else 0
        plan = [(IdeaKind.EXPLOIT, exploit), (IdeaKind.EXPLORE, batch - exploit)]
        return split_calls(plan, per_call=per_call)


def exploit_share(epoch: int) -> float:
    """Share of an epoch that exploits, epochs counted from 0."""
    return min(0.5 + 0.1 * (epoch // 2), 0.8)


def exploit_count(epoch: int, *, batch: int, ideas_per_call: int) -> int:
    """Ideas of the epoch that exploit, rounded down to whole calls.

    A batch too small for one whole call is rounded to ideas instead, so that it still exploits.
    """
    wanted = int(exploit_share(epoch) * batch + 1e-9)
    return (wanted // ideas_per_call) * ideas_per_call or wanted
