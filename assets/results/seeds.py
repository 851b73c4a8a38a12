"""Whether a patch uses the seed that it is given: pure rules over its values for different seeds.

A patch that seeds itself repeats one run, luck included, and its confirmations confirm nothing. It
may hide that by moving the weights a little with the seed it is given: then its values lie closer
together than luck lets them. Not found here: a patch that has a list of lucky seeds and chooses
from it by the given one. Only what the seed decides outside of the patch could stop that.
"""

import math
import statistics
from collections.abc import Collection, Mapping
from fractions import Fraction

from assets.results.noise import Noise

LEAST_CHANCE = 1e-3
"""A spread that is so small by chance this rarely is not believed to come from the seeds."""
ALL_OF_IT = 100.0
"""So far above its middle a sum of squares practically always lies below."""
MOST_PARTS = 10_000
"""A value that is a fraction with a denominator up to this is a share of so many questions; another
number of 64 bits is one with a chance of about one in a hundred million."""


def unused_seed(values: Mapping[int, float], noise: Noise | None) -> str | None:
    """Why the values of one patch cannot come from the seeds; None where they may.

    Args:
        values: by the seed that the patch was given; at least two.
        noise: of the baseline, whose spread over seeds is what luck is worth. Where it has none,
            values tell nothing.
    """
    if noise is None:
        return None
    step = _step(values.values())
    twice = _same(values)
    if twice and not step:
        first, second = twice
        return f"seeds {first} and {second} gave the very same value {values[first]:.6g}"
    variance = statistics.variance(values.values()) + step**2 / 12
    chance = chi_square_cdf((len(values) - 1) * variance / noise.sd**2, len(values) - 1)
    if chance >= LEAST_CHANCE:
        return None
    return (
        f"the values for {len(values)} seeds have a standard deviation of "
        f"{math.sqrt(variance):.2g}, the baseline's {noise.sd:.2g}: by chance once in "
        f"{1 / max(chance, 1e-9):,.0f} times"
    )


def chi_square_cdf(x: float, freedom: int) -> float:
    """How often a sum of `freedom` squared standard normal numbers is at most `x`.

    Source: the power series of the lower incomplete gamma function.
    """
    half, y = freedom / 2, x / 2
    if y > half + ALL_OF_IT:
        return 1.0
    term = total = 1 / math.gamma(half + 1)
    n = 1
    while term > 1e-12 * total:
        term *= y / (half + n)
        total += term
        n += 1
    return float(min(1.0, total * y**half * math.exp(-y)))


def _same(values: Mapping[int, float]) -> tuple[int, int] | None:
    """Two seeds with one value."""
    found: dict[float, int] = {}
    for seed, value in values.items():
        if value in found:
            return found[value], seed
        found[value] = seed
    return None


def _step(values: Collection[float]) -> float:
    """The step of a metric that counts, such as an accuracy, and so meets by chance; else 0."""
    shares = [Fraction(value).limit_denominator(MOST_PARTS) for value in values]
    counts = all(float(share) == value for share, value in zip(shares, values, strict=True))
    return 1 / max(share.denominator for share in shares) if counts else 0.0
