"""Who of several ideators is asked, call by call."""

from collections.abc import Sequence


def share_out(weights: Sequence[float], start: int, count: int) -> list[int]:
    """Who is asked, call by call, in proportion to their weights.

    Each call goes to whoever is furthest behind its share, so that chance plays no part.

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
