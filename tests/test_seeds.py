"""A patch that does not use its seed is not confirmed by it, however it hides that."""

import math
import random

import pytest
from campaigns import opened, rows, search_all
from conftest import write_campaign

from assets.results.baseline import OwnBaseline
from assets.results.noise import Noise
from assets.results.seeds import LEAST_CHANCE, chi_square_cdf, unused_seed
from lake import Lake, query
from lake.tables import Blame, Idea, Patch, Run, RunPurpose, Score

NOISE = Noise(mean=2.57, sd=0.01, n=20, mean_n=3, own=OwnBaseline(by_seed={}))


def drawn(count: int, sd: float, draw: random.Random) -> dict[int, float]:
    return {seed: draw.gauss(2.5, sd) for seed in range(count)}


@pytest.mark.parametrize(
    "values",
    [
        {0: 2.5543474684087153, 8: 2.5543474684087153},
        {0: 2.5543474684087153, 8: 2.57, 9: 2.5543474684087153},
        {0: 2.55434, 8: 2.55435, 9: 2.55436, 10: 2.55433},
        {0: 2.5540, 8: 2.5545, 9: 2.5549, 10: 2.5542},
    ],
)
def test_copies_and_near_copies_do_not_come_from_seeds(values):
    assert unused_seed(values, NOISE)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_spread_that_luck_gives_is_believed(count):
    draw = random.Random(count)
    tries = [unused_seed(drawn(count, NOISE.sd, draw), NOISE) for _ in range(20_000)]
    assert sum(why is not None for why in tries) < 2 * LEAST_CHANCE * len(tries)
    assert unused_seed(drawn(count, NOISE.sd / 1000, draw), NOISE)


def test_a_metric_that_counts_meets_by_chance():
    accuracy = Noise(mean=0.48, sd=0.01, n=20, mean_n=3, own=OwnBaseline(by_seed={}))
    assert unused_seed({0: 241 / 500, 8: 241 / 500}, accuracy) is None
    assert unused_seed({0: 241 / 500, 8: 241 / 500, 9: 249 / 500}, accuracy) is None
    assert unused_seed(dict.fromkeys(range(6), 241 / 500), accuracy)


def test_where_the_baseline_has_no_spread_nothing_is_known():
    assert unused_seed({0: 2.5, 8: 2.5}, None) is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 10])
def test_the_chance_of_a_small_spread_is_that_of_many_draws(freedom):
    draw = random.Random(freedom)
    sums = [sum(draw.gauss(0, 1) ** 2 for _ in range(freedom)) for _ in range(20_000)]
    for x in (0.1, 1.0, float(freedom), 3.0 * freedom):
        seen = sum(each <= x for each in sums) / len(sums)
        assert chi_square_cdf(x, freedom) == pytest.approx(seen, abs=0.015)
    assert chi_square_cdf(0.002, 2) == pytest.approx(1 - math.exp(-0.001), rel=1e-9)
    assert chi_square_cdf(1e9, freedom) == 1.0
    assert chi_square_cdf(0.0, freedom) == 0.0


@pytest.mark.trains
def test_an_idea_that_fits_every_point_whatever_its_seed_is_not_confirmed(home):
    write_campaign(home.campaigns, epochs=2, batch=8, confirm={"top": 8, "seeds": 3})
    search_all(home)
    runs = {run.run_id: run for run in rows(home, Run)}
    idea_of = {patch.patch_id: patch.idea_id for patch in rows(home, Patch)}
    ideas = {idea.idea_id: idea for idea in rows(home, Idea)}
    found: dict[bool, int] = {}
    for score in rows(home, Score):
        run = runs[score.run_id]
        if run.purpose is not RunPurpose.CONFIRMATION:
            assert "seed" not in score.verdicts
            continue
        seedless = "all-points" in (ideas[idea_of[run.patch_id]].edits or ())
        found[seedless] = found.get(seedless, 0) + 1
        if seedless:
            assert (score.value, score.blame) == (None, Blame.GUARD)
            assert score.reason.startswith("seed not used: seeds 0 and ")
            assert score.verdicts["seed"].startswith("violated")
        else:
            assert score.value is not None
            assert score.verdicts["seed"].startswith("passed: 4 seeds")
    assert found.keys() == {True, False}
    summary = opened(home).summary()
    assert summary.best is not None
    assert all("all-points" not in (s.idea.edits or ()) for s in summary.ranked)
    told = query(
        Lake.open(home.lake),
        "select distinct value, confirmed from leaderboard where reason like 'seed not used%'",
    )
    assert told.rows == [(None, 0)]
