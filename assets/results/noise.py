"""Noise of a baseline, and what a difference is worth against it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.environment import Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Spread of one unpatched measurement over seeds."""

    mean: float
    """Of the campaign's own baseline runs where there are any, else the manifest's."""
    sd: float
    """The noise unit: pooled over the manifest's and the campaign's own runs."""
    n: int
    """Runs behind `sd`."""
    mean_n: int
    """Runs behind `mean`."""

    def units(self, value: float, *, minimize: bool) -> float:
        """Improvement over the mean in noise units; positive is better."""
        return (self.mean - value if minimize else value - self.mean) / self.sd


def pooled_noise(declared: Baseline | None, own: Sequence[float]) -> Noise | None:
    """Pool the manifest's spread with the campaign's own baseline values.

    The variances are pooled with their degrees of freedom, so that a machine whose mean differs
    from the manifest's does not count as noise. None where neither has two values.
    """
    parts = [(declared.sd**2, declared.n)] if declared else []
    if len(own) >= 2:
        parts.append((statistics.variance(own), len(own)))
    freedom = sum(n - 1 for _, n in parts)
    if not freedom:
        return None
    variance = sum(v * (n - 1) for v, n in parts) / freedom
    if not variance:
        return None
    if own:
        mean, mean_n = statistics.fmean(own), len(own)
    else:
        mean, mean_n = (declared.mean, declared.n) if declared else (math.nan, 0)
    return Noise(mean=mean, sd=math.sqrt(variance), n=sum(n for _, n in parts), mean_n=mean_n)
