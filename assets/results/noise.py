"""Noise of a baseline, and what a difference is worth against it."""

import math
import statistics
from dataclasses import dataclass

from assets.config.environment import Baseline
from assets.results.baseline import OwnBaseline
from assets.results.scored import Scored


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
    own: OwnBaseline
    """The campaign's runs by seed."""

    def gain(self, value: float, *, seed: int | None, minimize: bool) -> "Gain":
        """What a value is worth against the baseline.

        Args:
            value: of a run, or the mean of several.
            seed: of the run; None for a mean over drawn seeds.
            minimize: whether lower values are better.
        """
        own = self.own.at(seed)
        reference = self.mean if own is None else own
        difference = value - reference
        return Gain(
            reference=reference,
            seed=seed if seed in self.own.by_seed else None,
            difference=difference,
            units=(-difference if minimize else difference) / self.sd,
        )

    def gain_of(self, scored: Scored, *, minimize: bool) -> "Gain | None":
        """What an idea is worth against the baseline; None where it has no value."""
        if scored.value is None:
            return None
        return self.gain(scored.value, seed=scored.seed, minimize=minimize)

    def error_of(self, scored: Scored) -> float | None:
        """Standard error of the difference of a confirmed mean to the baseline's mean."""
        own = scored.error
        return None if own is None else math.hypot(own, self.sd / math.sqrt(self.mean_n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A difference to the baseline."""

    reference: float
    """What is compared with."""
    seed: int | None
    """Of the baseline's run that is compared with; None for the baseline's mean."""
    difference: float
    """Value less reference."""
    units: float
    """The improvement in noise units; positive is better."""


def pooled_noise(declared: Baseline | None, own: OwnBaseline) -> Noise | None:
    """Pool the manifest's spread with the campaign's own baseline values.

    The variances are pooled with their degrees of freedom, so that a machine whose mean differs
    from the manifest's does not count as noise. None where neither has two values.
    """
    values = list(own.by_seed.values())
    parts = [(declared.sd**2, declared.n)] if declared else []
    if len(values) >= 2:
        parts.append((statistics.variance(values), len(values)))
    freedom = sum(n - 1 for _, n in parts)
    if not freedom:
        return None
    variance = sum(v * (n - 1) for v, n in parts) / freedom
    if not variance:
        return None
    if values:
        mean, mean_n = statistics.fmean(values), len(values)
    else:
        mean, mean_n = (declared.mean, declared.n) if declared else (math.nan, 0)
    sd, n = math.sqrt(variance), sum(n for _, n in parts)
    return Noise(mean=mean, sd=sd, n=n, mean_n=mean_n, own=own)
