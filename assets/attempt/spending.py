"""What a campaign has spent, and the caps at which no new work starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from assets.config.settings import Budget
from assets.errors import BudgetReached
from lake.costs import Cost
from launchers import Charge

NOTHING = Charge(usd=0.0, gpu_hours=0.0)


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
    reserved: dict[str, Charge] = field(default_factory=dict)
    """Run id -> the most that a running job may cost."""

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

    def reserve(self, run_id: str, most: Charge) -> None:
        """Sets aside what a job may cost at most, until it is settled."""
        self.reserved[run_id] = most

    def settle(self, run_id: str, charge: Charge) -> None:
        """Counts what a job has cost, in place of what was set aside for it."""
        self.reserved.pop(run_id, None)
        self.count(usd=charge.usd, gpu_hours=charge.gpu_hours)

    def check(self, most: Charge = NOTHING) -> None:
        """Lets new work start, or refuses it.

        Args:
            most: what it may cost.

        Raises:
            BudgetReached: a cap is reached or would be, saying which, and how to go on.
        """
        words = self.refusal(most)
        if words is not None:
            raise BudgetReached(words)

    def refusal(self, most: Charge = NOTHING) -> str | None:
        """Why work that may cost so much cannot start; None where it can."""
        if self.reached is not None:
            return self.reached
        aside = [*self.reserved.values(), most]
        usd = sum(charge.usd or 0.0 for charge in aside)
        hours = sum(charge.gpu_hours or 0.0 for charge in aside)
        for key, spent, cap, unit in self._caps():
            wanted = usd if unit == "USD" else hours
            if cap is not None and wanted and spent + wanted > cap:
                more = f", the next job and the running ones may cost {wanted:.4g} more,"
                return self._words(key, spent, cap, f"{unit} are spent{more}")
        return None

    @property
    def reached(self) -> str | None:
        """Which cap is reached, what was spent, and how to go on; None below all of them."""
        for key, spent, cap, unit in self._caps():
            if cap is not None and spent >= cap:
                return self._words(key, spent, cap, f"{unit} are spent")
        return None

    def _words(self, key: str, spent: float, cap: float, what: str) -> str:
        return (
            f"campaign {self.campaign}, epoch {self.epoch:04d}: {spent:.4g} {what} and "
            f"budget.{key} is {cap:g}, so no new work starts. What was paid for is kept: raise the "
            "cap in defs.yaml and run the same command again to go on"
        )

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
