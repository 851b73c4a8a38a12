"""What a campaign has spent, and the caps at which no new work starts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assets.config.environment import Profile
from assets.config.settings import Budget
from assets.errors import BudgetReached
from lake.costs import Cost


@dataclass(slots=True)
class Bill:
    """Money and GPU time."""

    usd: float = 0.0
    """Of calls and jobs whose price is known."""
    gpu_hours: float = 0.0

    def count(self, usd: float | None, gpu_hours: float | None) -> None:
        """Adds what is known."""
        self.usd += usd or 0.0
        self.gpu_hours += gpu_hours or 0.0


@dataclass(slots=True)
class Spending:
    """A campaign's bills against its budget, kept up to date while an attempt goes on."""

    campaign: str
    epoch: int
    budget: Budget
    total: Bill = field(default_factory=Bill)
    of_epoch: Bill = field(default_factory=Bill)

    @classmethod
    def of(cls, campaign: str, epoch: int, budget: Budget, past: Mapping[int, Cost]) -> "Spending":
        """From what each epoch of the campaign has cost so far."""
        spending = cls(campaign, epoch, budget)
        for number, cost in past.items():
            spending.total.count(cost.usd, cost.gpu_hours)
            if number == epoch:
                spending.of_epoch.count(cost.usd, cost.gpu_hours)
        return spending

    def count(self, *, usd: float | None = None, gpu_hours: float | None = None) -> None:
        """Adds what a call or a job of this epoch has cost."""
        self.total.count(usd, gpu_hours)
        self.of_epoch.count(usd, gpu_hours)

    def check(self) -> None:
        """Lets new work start.

        Raises:
            BudgetReached: a cap is reached, saying which, what was spent, and how to go on.
        """
        if self.reached is not None:
            raise BudgetReached(self.reached)

    @property
    def reached(self) -> str | None:
        """Which cap is reached, what was spent, and how to go on; None below all of them."""
        for key, spent, cap, unit in self._caps():
            if cap is not None and spent >= cap:
                return (
                    f"campaign {self.campaign}, epoch {self.epoch:04d}: {spent:.4g} {unit} are spent "
                    f"and budget.{key} is {cap:g}, so no new work starts. What was paid for is kept: "
                    "raise the cap in defs.yaml and run the same command again to go on"
                )
        return None

    def _caps(self) -> Iterator[tuple[str, float, float | None, str]]:
        budget, total, epoch = self.budget, self.total, self.of_epoch
        yield "max_usd", total.usd, budget.max_usd, "USD"
        yield "max_usd_per_epoch", epoch.usd, budget.max_usd_per_epoch, "USD"
        yield "max_gpu_hours", total.gpu_hours, budget.max_gpu_hours, "GPU-hours"
        yield (
            "max_gpu_hours_per_epoch",
            epoch.gpu_hours,
            budget.max_gpu_hours_per_epoch,
            "GPU-hours",
        )


def gpu_hours(result: Mapping[str, Any], profile: Profile) -> float | None:
    """GPUs of the profile times the wall clock of a job; None where the clock is not known."""
    seconds = [result.get(name) for name in ("wall_seconds", "score_wall_seconds")]
    known = [second for second in seconds if second is not None]
    return gpus(profile.accelerators) * sum(known) / 3600 if known else None


def gpus(accelerators: str | None) -> int:
    """How many GPUs `H100:8` names; 0 for none, 1 where no number stands."""
    if accelerators is None:
        return 0
    found = re.search(r":(\d+)$", accelerators)
    return int(found[1]) if found else 1
