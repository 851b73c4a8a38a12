"""Evolution: which earlier ideas an epoch starts from. One row per selected idea.

Exploitation varies parents above the baseline, exploration is shown a random context of earlier
ideas, failures included. `best_of_n` is the control that looks at no score.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from assets.attempt.context import Context, Produced
from assets.config.settings import Strategy
from assets.results.history import Scored
from lake.ids import selection_id
from lake.tables import Selection, SelectionRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An earlier idea with the role it plays in the epoch."""

    role: SelectionRole
    scored: Scored
    reason: str


def select(
    history: Sequence[Scored],
    strategy: Strategy,
    *,
    minimize: bool,
    seed: int,
    deep: int,
    confirmations: int = 0,
) -> list[Choice]:
    """Parents above the baseline, best first, then a random context of everything tried.

    Args:
        history: every idea of earlier epochs, baseline rows included.
        strategy: caps on both.
        minimize: whether lower values are better.
        seed: of the draw of the context.
        deep: cuts of the leak audit that a parent's score must rest on.
        confirmations: valid runs with other seeds that a parent must have; its mean is what counts.
    """
    if strategy.kind == "best_of_n":
        return []
    sign = 1 if minimize else -1
    baseline = [s.value for s in history if s.is_baseline and s.value is not None]
    ideas = [s for s in history if not s.is_baseline]
    bar = sum(baseline) / len(baseline) if baseline else None
    above = [
        s
        for s in ideas
        if s.value is not None and bar is not None and sign * (s.value - bar) < 0
        if s.may_win(deep, confirmations)
    ]
    above.sort(key=lambda s: (sign * (s.value or 0.0), s.idea.idea_id))
    parents = [
        Choice(role=SelectionRole.PARENT, scored=s, reason=f"beats the baseline's mean {bar:.4f}")
        for s in above[: strategy.parents]
    ]
    context = random.Random(seed).sample(ideas, min(strategy.context, len(ideas)))
    return parents + [
        Choice(role=SelectionRole.CONTEXT, scored=s, reason=s.reason or "tried before")
        for s in context
    ]


def produce(context: Context) -> Produced:
    """Choose parents and context of the epoch from the scores of all earlier epochs."""
    view = context.view
    choices = select(
        view.history.read_by(view.attempt.reads),
        view.settings.strategy,
        minimize=view.minimize,
        seed=view.seed("evolution"),
        deep=view.environment.manifest.audit.deep,
        confirmations=view.settings.confirm.needed,
    )
    rows = [
        Selection(
            **view.keys,
            selection_id=selection_id(
                **view.keys, role=c.role, ordinal=ordinal, idea_id=c.scored.idea.idea_id
            ),
            ordinal=ordinal,
            role=c.role,
            idea_id=c.scored.idea.idea_id,
            value=c.scored.value,
            reason=c.reason,
        )
        for ordinal, c in enumerate(choices)
    ]
    parents = sum(row.role is SelectionRole.PARENT for row in rows)
    return Produced(rows=rows, counts={"parents": parents, "context": len(rows) - parents})
