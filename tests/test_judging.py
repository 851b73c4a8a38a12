"""Whether a run's value counts, and what it is worth against the noise."""

import math
import statistics

import pytest
from rows import run

from assets.config.environment import Baseline, Manifest
from assets.graph.metadata import sparkline
from assets.results.baseline import OwnBaseline
from assets.results.noise import pooled_noise
from assets.scores import ComputeRule, judge, reward
from lake.tables import Blame, RunStatus

PROFILE = {"budget_seconds": 1, "outputs": {"m.npy": {"bytes": 1}}}
MANIFEST = Manifest.model_validate(
    {
        "name": "e",
        "summary": "s",
        "editable": ["train.py"],
        "scoring": ["serve.py"],
        "metric": "val_loss",
        "direction": "minimize",
        "floor": 0.1,
        "profiles": {"cpu": PROFILE},
    }
)
MAXIMISE = MANIFEST.model_copy(update={"direction": "maximize", "floor": 0.99})
RULE = ComputeRule(baseline_seconds=[9.0, 10.0, 30.0], baseline_scoring=[1.0, 2.0])


def test_an_honest_run_keeps_its_value():
    judged = judge(run("a", cpu_seconds=12.0, value=2.5), MANIFEST, RULE)
    assert (judged.value, judged.blame, judged.reason) == (2.5, None, None)
    assert judged.verdicts["compute"].startswith("passed: 12.00 CPU-s, 1.20x")


def test_more_than_one_and_a_half_medians_of_compute_is_a_timeout_without_a_value():
    assert judge(run("a", cpu_seconds=15.0, value=2.5), MANIFEST, RULE).value == 2.5
    judged = judge(run("a", cpu_seconds=15.1, value=2.5), MANIFEST, RULE)
    assert (judged.value, judged.blame) == (None, Blame.TIMEOUT)
    assert "1.51x" in judged.reason


def test_a_model_that_goes_on_training_while_it_is_scored_is_a_timeout_too():
    assert judge(run("a", score_cpu_seconds=2.25, value=2.5), MANIFEST, RULE).value == 2.5
    judged = judge(run("a", score_cpu_seconds=2.3, value=2.5), MANIFEST, RULE)
    assert (judged.value, judged.blame) == (None, Blame.TIMEOUT)
    assert judged.reason.startswith("scoring took 2.30 CPU-s, 1.53x")
    assert judged.verdicts["scoring"].startswith("violated")


NO_BASELINE = ComputeRule(baseline_seconds=[], baseline_scoring=[])


@pytest.mark.parametrize(("rule", "cpu"), [(NO_BASELINE, 1.0), (RULE, None)])
def test_compute_that_cannot_be_compared_gives_no_value(rule, cpu):
    judged = judge(run("a", cpu_seconds=cpu, value=2.5), MANIFEST, rule)
    assert (judged.value, judged.blame) == (None, Blame.SETUP)


@pytest.mark.parametrize(
    ("manifest", "value"), [(MANIFEST, 0.0999), (MANIFEST, -1.0), (MAXIMISE, 0.9901)]
)
def test_better_than_the_floor_is_not_believed(manifest, value):
    judged = judge(run("a", value=value), manifest, None)
    assert (judged.value, judged.blame) == (None, Blame.GUARD)
    assert judged.verdicts["floor"].startswith("violated")


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_value_that_is_no_finite_number_is_blamed_on_the_evaluation(value):
    judged = judge(run("a", value=value), MANIFEST, None)
    assert (judged.value, judged.blame) == (None, Blame.EVALUATE)


def test_a_failed_run_keeps_its_own_blame():
    failed = run("a", status=RunStatus.FAILED, blame=Blame.TIMEOUT, reason="killed at 3x")
    judged = judge(failed, MANIFEST, RULE)
    assert (judged.value, judged.blame, judged.reason) == (None, Blame.TIMEOUT, "killed at 3x")


def test_reward_is_higher_for_better():
    assert reward(2.0, minimize=True) == 0.5
    assert reward(0.7, minimize=False) == 0.7


def baseline(*values):
    return OwnBaseline(by_seed=dict(enumerate(values)))


def test_noise_pools_the_manifests_spread_with_the_campaigns_own_runs():
    own = [2.50, 2.52, 2.57]
    noise = pooled_noise(Baseline(mean=9.9, sd=0.01, n=20), baseline(*own))
    expected = math.sqrt((19 * 0.01**2 + 2 * statistics.variance(own)) / 21)
    assert noise.sd == pytest.approx(expected)
    assert noise.mean == pytest.approx(2.53)
    assert noise.n == 23
    mean = noise.gain(2.53 - 2 * expected, seed=None, minimize=True)
    assert (mean.reference, mean.units) == pytest.approx((2.53, 2))
    assert noise.gain(2.53 - 2 * expected, seed=None, minimize=False).units == pytest.approx(-2)
    same = noise.gain(2.50 - 2 * expected, seed=0, minimize=True)
    assert (same.reference, same.seed, same.units) == (2.50, 0, pytest.approx(2))
    other = noise.gain(2.53, seed=7, minimize=True)
    assert (other.reference, other.seed) == (pytest.approx(2.53), None)


def test_without_any_spread_there_is_no_noise_unit():
    assert pooled_noise(None, baseline(2.5)) is None
    assert pooled_noise(None, baseline(2.5, 2.5)) is None
    assert pooled_noise(Baseline(mean=1.0, sd=0.1, n=20), baseline()).mean == 1.0


def test_the_plot_has_a_bar_per_epoch_and_a_gap_where_nothing_is_known():
    assert sparkline([3.0, None, 2.0], minimize=True) == "▁ █"
    assert sparkline([3.0, 2.0], minimize=False) == "█▁"
    assert sparkline([None], minimize=True) == ""
