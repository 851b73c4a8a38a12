"""The campaign's own baseline by seed: what the value of an idea is compared with.

Ideas are screened with one seed. Where the baseline was lucky or unlucky with that seed, every idea
would beat or miss its mean for nothing, so that a run is compared with the baseline's run of the
same seed. A mean over drawn seeds is compared with the baseline's mean.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assets.results.scored import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBaseline:
    """Values of the unpatched environment in one campaign."""

    by_seed: Mapping[int, float]
    """Of the runs whose value counts."""

    @classmethod
    def of(cls, history: Iterable[Scored]) -> "OwnBaseline":
        """What a history holds."""
        return cls(
            by_seed={
                s.run.seed: s.value
                for s in history
                if s.is_baseline and s.run is not None and s.value is not None
            }
        )

    @property
    def mean(self) -> float | None:
        """Over the seeds; None where there is no run."""
        return statistics.fmean(self.by_seed.values()) if self.by_seed else None

    def at(self, seed: int | None) -> float | None:
        """What a value is compared with: the baseline at its seed, else the baseline's mean.

        Args:
            seed: of the run that gave the value; None for a mean over several.
        """
        found = None if seed is None else self.by_seed.get(seed)
        return self.mean if found is None else found
