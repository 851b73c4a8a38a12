"""Evolution: which earlier ideas an epoch starts from. One row per selected idea.

The paper's schedule: a first epoch of fresh ideas, then a share of `min(0.5 + 0.1 * (epoch // 2),
0.8)` that exploits parents above the baseline, rounded down to whole calls, and the rest explores
against a random context of earlier ideas, failures included. `best_of_n` is the control that looks
at no score: every epoch is fresh.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from assets.history import Scored
from assets.settings import Strategy
from assets.stage import Context, Produced
from lake.ids import selection_id
from lake.tables import IdeaKind, Selection, SelectionRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How many ideas of an epoch are asked for in which way."""

    fresh: int = 0
    exploit: int = 0
    explore: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An earlier idea with the role it plays in the epoch."""

    role: SelectionRole
    scored: Scored
    reason: str


def exploit_share(epoch: int) -> float:
    """Share of an epoch that exploits. Source: the paper's code, epochs counted from 0."""
    return min(0.5 + 0.1 * (epoch // 2), 0.8)


def exploit_count(epoch: int, *, batch: int, ideas_per_call: int) -> int:
    """Ideas of the epoch that exploit, rounded down to whole calls.

    A batch too small for one whole call is rounded to ideas instead, so that it still exploits.
    """
    wanted = int(exploit_share(epoch) * batch + 1e-9)
    return (wanted // ideas_per_call) * ideas_per_call or wanted


def schedule(strategy: Strategy, *, epoch: int, batch: int, parents: int) -> Schedule:
    """The epoch's plan, given how many parents there are."""
    if strategy.kind == "best_of_n" or epoch == 0:
        return Schedule(fresh=batch)
    exploit = exploit_count(epoch, batch=batch, ideas_per_call=strategy.ideas_per_call)
    exploit = exploit if parents else 0
    return Schedule(exploit=exploit, explore=batch - exploit)


def select(
    history: Sequence[Scored], strategy: Strategy, *, minimize: bool, seed: int
) -> list[Choice]:
    """Parents above the baseline, best first, then a random context of everything tried.

    Args:
        history: every idea of earlier epochs, baseline rows included.
        strategy: caps on both.
        minimize: whether lower values are better.
        seed: of the draw of the context.
    """
    if strategy.kind == "best_of_n":
        return []
    sign = 1 if minimize else -1
    baseline = [s.value for s in history if s.is_baseline and s.value is not None]
    ideas = [s for s in history if not s.is_baseline]
    bar = sum(baseline) / len(baseline) if baseline else None
    above = [
        s for s in ideas if s.value is not None and bar is not None and sign * (s.value - bar) < 0
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
    choices = select(
        context.history.before(context.epoch),
        context.settings.strategy,
        minimize=context.environment.manifest.direction == "minimize",
        seed=context.seed("evolution"),
    )
    rows = [
        Selection(
            **context.keys,
            selection_id=selection_id(
                **context.keys, role=c.role, ordinal=ordinal, idea_id=c.scored.idea.idea_id
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
    plan = schedule(
        context.settings.strategy,
        epoch=context.epoch,
        batch=context.settings.batch,
        parents=parents,
    )
    counts = {
        "parents": parents,
        "context": len(rows) - parents,
        IdeaKind.FRESH.value: plan.fresh,
        IdeaKind.EXPLOIT.value: plan.exploit,
        IdeaKind.EXPLORE.value: plan.explore,
    }
    return Produced(rows=rows, counts=counts)
