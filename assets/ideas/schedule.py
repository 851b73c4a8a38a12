"""How many ideas of an epoch are asked for in which way.

Source: the paper's code. The first epoch is fresh; later a share of `min(0.5 + 0.1 * (epoch // 2),
0.8)` exploits, rounded down to whole calls, and the rest explores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.settings import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Ideas of an epoch by the way they are asked for."""

    fresh: int = 0
    exploit: int = 0
    explore: int = 0


def exploit_share(epoch: int) -> float:
    """Share of an epoch that exploits, epochs counted from 0."""
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


def share_out(weights: Sequence[float], start: int, count: int) -> list[int]:
    """Who of several is asked, call by call, in proportion to their weights.

    Each call goes to whoever is furthest behind its share, so that no draw of luck is in it.

    Args:
        weights: of each, above 0.
        start: calls of the campaign before these.
        count: calls to be shared out.

    Returns:
        Indexes into `weights`.
    """
    asked = [0] * len(weights)
    turns = []
    for call in range(1, start + count + 1):
        behind = [call * w / sum(weights) - n for w, n in zip(weights, asked, strict=True)]
        turn = behind.index(max(behind))
        asked[turn] += 1
        turns.append(turn)
    return turns[start:]
