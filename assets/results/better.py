"""What counts as better: the direction of the metric, in one place."""

from collections.abc import Iterable
from dataclasses import dataclass

from assets.config.environment import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """Compares values of one metric."""

    minimize: bool

    @classmethod
    def of(cls, manifest: Manifest) -> "Better":
        """By the direction of an environment's metric."""
        return cls(minimize=manifest.direction == "minimize")

    def rank(self, value: float) -> float:
        """A number to sort by: the lower, the better."""
        return value if self.minimize else -value

    def beats(self, value: float, other: float) -> bool:
        """Whether a value is better than another one; equal ones are not."""
        return self.rank(value) < self.rank(other)

    def best(self, values: Iterable[float]) -> float | None:
        """The best of the values; None where there is none."""
        return min(values, key=self.rank, default=None)
