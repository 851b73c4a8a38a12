"""Whether a run's value counts, and what it is worth against the noise."""

import math
import statistics
from dataclasses import replace

import pytest
from rows import run

from assets.config.environment import Baseline, Manifest, Profile
from assets.graph.metadata import sparkline
from assets.results.baseline import OwnBaseline
from assets.results.better import Better
from assets.results.compute import ComputeRule, Spent
from assets.results.judging import judge, reward
from assets.results.memory import MemoryRule
from assets.results.noise import pooled_noise
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
STARTING, ANSWERING = "starting_cpu_seconds", "answering_cpu_seconds"
TOLD = {STARTING: 4.0, ANSWERING: 2.0, "audit_passes": 1}


def spent(training, scoring=2.0, start=2.0):
    return Spent(training=training, scoring=scoring, start=start)


RULE = ComputeRule(baseline=[spent(9.0), spent(10.0), spent(30.0)])
"""Its sum is 12 CPU seconds, 10 of them work."""


def dear(training, scoring=2.0, rule=RULE):
    """The judgement on a run."""
    measures = TOLD | {ANSWERING: scoring}
    made = run("a", cpu_seconds=training, score_cpu_seconds=9.0, measures=measures, value=2.5)
    return judge(made, MANIFEST, [rule])


def test_an_honest_run_keeps_its_value_and_tells_its_share_of_compute():
    judged = dear(11.0)
    assert (judged.value, judged.blame, judged.reason) == (2.5, None, None)
    assert judged.verdicts["compute"].startswith("passed: 11.00 CPU-s of training and 2.00")
    assert judged.measures == {"compute": 1.1}


@pytest.mark.parametrize(
    ("training", "scoring"), [(12.1, 2.0), (10.0, 4.1), (11.0, 3.1), (1.0, 13.1)]
)
def test_training_and_what_patched_code_does_in_the_server_are_one_sum(training, scoring):
    judged = dear(training, scoring)
    assert (judged.value, judged.blame) == (None, Blame.TIMEOUT)
    assert "1.21x its work; at most 1.2x counts" in judged.reason
    assert dear(training - 0.2, scoring).value == 2.5


def test_a_dear_start_of_the_server_is_nobodys_training():
    slow = run("a", cpu_seconds=10.0, score_cpu_seconds=30.0, measures=TOLD | {STARTING: 20.0})
    assert judge(replace(slow, value=2.5), MANIFEST, [RULE]).value == 2.5


def test_where_an_evaluator_does_not_tell_all_of_scoring_counts():
    untold = run("a", cpu_seconds=10.0, score_cpu_seconds=4.1, value=2.5)
    assert judge(untold, MANIFEST, [RULE]).blame is Blame.TIMEOUT
    rule = ComputeRule.of([untold])
    assert rule.judge(untold).measures == {"compute": 1.0}


def test_jobs_that_hardly_work_differ_by_the_clock_alone():
    tiny = ComputeRule(baseline=[spent(0.03, 0.02, 0.0)])
    assert dear(0.08, 0.02, rule=tiny).value == 2.5
    assert dear(0.1, 0.02, rule=tiny).blame is Blame.TIMEOUT


NO_BASELINE = ComputeRule(baseline=[])


@pytest.mark.parametrize(("rule", "cpu"), [(NO_BASELINE, 1.0), (RULE, None)])
def test_compute_that_cannot_be_compared_gives_no_value(rule, cpu):
    judged = judge(run("a", cpu_seconds=cpu, value=2.5), MANIFEST, [rule])
    assert (judged.value, judged.blame) == (None, Blame.SETUP)


MEMORY = MemoryRule(
    values=[2.55, 2.59], leads=[-0.11, -0.09], sd=0.004, better=Better(minimize=True)
)


def test_a_run_that_is_ahead_on_the_hidden_text_alone_is_refused():
    def known(value, second):
        made = run("a", value=value, measures={"second": second})
        return judge(made, MANIFEST, [MEMORY])

    assert known(2.40, 2.29).value == 2.40
    assert known(2.40, 2.323).value == 2.40
    refused = known(2.40, 2.325)
    assert (refused.value, refused.blame) == (None, Blame.GUARD)
    assert "+0.025 better than by the baseline; at most +0.024" in refused.reason
    assert refused.verdicts["memory"].startswith("violated")
    weak = known(2.9, 2.89)
    assert weak.value == 2.9
    assert weak.verdicts["memory"].startswith("passed: no better than the baseline")
    assert judge(run("a", value=2.4), MANIFEST, [MEMORY]).value == 2.4


def test_when_maximising_memory_shows_the_other_way():
    rule = MemoryRule(values=[0.5], leads=[0.01], sd=0.004, better=Better(minimize=False))
    for second, blame in ((0.58, None), (0.56, Blame.GUARD)):
        made = run("a", value=0.6, measures={"second": second})
        assert judge(made, MAXIMISE, [rule]).blame is blame


def test_the_rule_of_memory_rests_on_the_baselines_and_the_manifest():
    runs = [
        run("b", seed=s, value=v, measures={"second": v - 0.1}) for s, v in ((0, 2.5), (1, 2.6))
    ]
    profile = Profile.model_validate(PROFILE | {"baseline": {"mean": 2.5, "sd": 0.1, "n": 20}})
    assert MemoryRule.of(runs, MANIFEST, profile) is None
    measured = profile.model_copy(
        update={"baseline": profile.baseline.model_copy(update={"lead_sd": 0.004})}
    )
    rule = MemoryRule.of(runs, MANIFEST, measured)
    assert (rule.leads, rule.sd) == (pytest.approx((-0.1, -0.1)), 0.004)
    assert MemoryRule.of([run("b", value=2.5)], MANIFEST, measured) is None


@pytest.mark.parametrize(
    ("manifest", "value"), [(MANIFEST, 0.0999), (MANIFEST, -1.0), (MAXIMISE, 0.9901)]
)
def test_better_than_the_floor_is_not_believed(manifest, value):
    judged = judge(run("a", value=value), manifest, [])
    assert (judged.value, judged.blame) == (None, Blame.GUARD)
    assert judged.verdicts["floor"].startswith("violated")


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_value_that_is_no_finite_number_is_blamed_on_the_evaluation(value):
    judged = judge(run("a", value=value), MANIFEST, [])
    assert (judged.value, judged.blame) == (None, Blame.EVALUATE)


def test_a_failed_run_keeps_its_own_blame():
    failed = run("a", status=RunStatus.FAILED, blame=Blame.TIMEOUT, reason="killed at 3x")
    judged = judge(failed, MANIFEST, [RULE])
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
