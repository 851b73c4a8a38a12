"""What a campaign has spent, and the caps at which nothing new starts."""

import pytest
from rows import KEYS

from assets.attempt.spending import Spending
from assets.config.settings import Budget
from assets.errors import BudgetReached
from lake import Cost, Lake, costs
from lake.tables import Completion, RunEvent, RunEventKind, Stage
from launchers import Charge


def spent(budget: Budget, *usd: float, epoch: int = 0, hours: float = 0.0) -> Spending:
    past = {number: Cost(usd=each, gpu_hours=hours) for number, each in enumerate(usd)}
    return Spending.of("small", epoch, budget, past)


def test_below_the_cap_new_work_starts_and_at_the_cap_it_does_not():
    spending = spent(Budget(max_usd=1.0), 0.25, 0.5)
    spending.check()
    spending.count(usd=0.25)
    with pytest.raises(BudgetReached, match=r"1 USD are spent and budget\.max_usd is 1, .* raise"):
        spending.check()


def test_an_epoch_has_a_cap_of_its_own():
    spent(Budget(max_usd_per_epoch=1.0), 5.0, 0.5, epoch=1).check()
    with pytest.raises(BudgetReached, match="max_usd_per_epoch"):
        spent(Budget(max_usd_per_epoch=1.0), 5.0, 0.5, epoch=0).check()


def test_what_has_no_known_price_counts_nothing_and_no_budget_is_no_cap():
    spent(Budget(), 1e9).check()
    spending = spent(Budget(max_usd=1.0))
    spending.count(usd=None)
    spending.check()


def test_gpu_hours_have_caps_too():
    spending = spent(Budget(max_gpu_hours=2.5), 0.0, hours=2.0)
    spending.check()
    spending.count(gpu_hours=0.5)
    with pytest.raises(BudgetReached, match=r"2\.5 GPU-hours are spent and budget\.max_gpu_hours"):
        spending.check()


def completion(number: int, usd: float | None, *, epoch: int) -> Completion:
    return Completion(
        **KEYS | {"epoch": epoch},
        completion_id=f"c{number}",
        stage=Stage.PATCHES,
        role="implementer",
        ordinal=number,
        model="m",
        request="{}",
        finish_reason="stop",
        cost_usd=usd,
    )


def test_costs_are_summed_by_epoch_without_what_was_taken_over(tmp_path):
    lake, campaign, epoch = Lake.open(tmp_path / "lake"), KEYS["campaign"], KEYS["epoch"]
    assert costs(lake, campaign) == {}
    calls = [(0, 0.25, epoch), (1, None, epoch), (2, 0.5, epoch), (3, 2.0, epoch + 1)]
    lake.append([completion(number, usd, epoch=at) for number, usd, at in calls])
    ended = {"stage": Stage.RUNS, "run_key": "k", "ordinal": 0, "kind": RunEventKind.FINISHED}
    lake.append(
        [
            RunEvent(**KEYS, **ended, event_id="a", run_id="r-a", gpu_hours=2.0),
            RunEvent(**KEYS, **ended, event_id="b", run_id="r-b", gpu_hours=None),
        ]
    )
    assert costs(lake, campaign) == {
        epoch: Cost(usd=0.75, gpu_hours=2.0),
        epoch + 1: Cost(usd=2.0, gpu_hours=0.0),
    }


def test_what_running_jobs_may_cost_is_set_aside_and_given_back():
    spending = spent(Budget(max_usd=10.0), 4.0)
    most = Charge(usd=3.0)
    spending.check(most)
    spending.reserve("r-a", most)
    with pytest.raises(BudgetReached, match=r"4 USD are spent, .* may cost 6\.5 more, .* is 10"):
        spending.check(Charge(usd=3.5))
    spending.check(Charge(usd=2.5))
    spending.settle("r-a", Charge(usd=0.5))
    assert spending.total.usd == 4.5
    spending.check(Charge(usd=5.5))
