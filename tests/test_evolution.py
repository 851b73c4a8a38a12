"""Which ideas an epoch starts from, and how many of which kind."""

import pytest
from rows import scored

from assets.config.settings import StrategySettings
from assets.ideas.turns import share_out
from assets.results.better import Better
from assets.strategies import Choice, Proof, strategy_of
from assets.strategies.evolutionary import exploit_count
from lake.tables import IdeaKind, SelectionRole


def calls(*, epoch: int, parents: int, **settings) -> dict[IdeaKind, int]:
    """Ideas of an epoch of 80 by their kind."""
    strategy = strategy_of(StrategySettings(**settings), Better(minimize=True))
    counted: dict[IdeaKind, int] = {}
    for kind, count in strategy.calls(epoch=epoch, batch=80, parents=parents):
        assert count <= 10
        counted[kind] = counted.get(kind, 0) + count
    return counted


NO_PROOF = Proof(deep=0)


def select(history, *, minimize: bool = True, seed: int = 0, proof=NO_PROOF, **settings):
    """What a strategy chooses."""
    strategy = strategy_of(StrategySettings(**settings), Better(minimize=minimize))
    chosen: list[Choice] = strategy.select(history, proof, seed=seed)
    return chosen


@pytest.mark.parametrize(
    ("batch", "exploited"),
    [
        (50, [20, 30, 30, 30, 30, 40, 40, 40, 40]),
        (80, [40, 40, 40, 50, 50, 60, 60, 60, 60]),
    ],
)
def test_the_papers_counts_come_out_with_ten_ideas_a_call(batch, exploited):
    assert [exploit_count(e, batch=batch, ideas_per_call=10) for e in range(1, 10)] == exploited


@pytest.mark.parametrize("batch", range(2, 20))
@pytest.mark.parametrize("epoch", [1, 2, 5, 9])
def test_a_small_batch_still_exploits_and_still_explores(batch, epoch):
    assert 0 < exploit_count(epoch, batch=batch, ideas_per_call=10) < batch


def test_the_first_epoch_is_fresh_and_every_epoch_of_best_of_n_too():
    assert calls(epoch=0, parents=0) == {IdeaKind.FRESH: 80}
    assert calls(epoch=7, parents=9, kind="best_of_n") == {IdeaKind.FRESH: 80}


def test_without_a_parent_the_whole_epoch_explores():
    assert calls(epoch=3, parents=0) == {IdeaKind.EXPLORE: 80}
    assert calls(epoch=3, parents=1) == {IdeaKind.EXPLOIT: 40, IdeaKind.EXPLORE: 40}


def history():
    baselines = [
        scored("baseline", value=v, kind="baseline", seed=s) for s, v in enumerate((2.4, 2.6))
    ]
    return [
        *baselines,
        scored("better", value=2.3),
        scored("best", value=2.0),
        scored("worse", value=2.9),
        scored("failed", value=None, reason="it crashed"),
    ]


def test_parents_beat_the_baseline_with_the_same_seed_and_the_best_comes_first():
    lucky = [scored("lucky seed", value=2.45), scored("its mean", value=2.45, seed=7)]
    chosen = select([*history(), *lucky])
    parents = [c.scored.idea.title for c in chosen if c.role is SelectionRole.PARENT]
    assert parents == ["best", "better", "its mean"]


def test_a_confirmed_mean_is_compared_with_the_mean_of_the_baselines():
    chosen = select([*history(), scored("confirmed", value=2.3, confirmed=(2.45, 2.47))])
    parents = [c.scored.idea.title for c in chosen if c.role is SelectionRole.PARENT]
    assert parents == ["best", "better", "confirmed"]


def test_a_parents_score_rests_on_the_deep_audit():
    known = [*history(), scored("audited", value=2.2, measures={"cuts": 8192.0})]
    chosen = select(known, proof=Proof(deep=8192))
    parents = [c.scored.idea.title for c in chosen if c.role is SelectionRole.PARENT]
    assert parents == ["audited"]


def test_a_parent_is_confirmed_and_the_mean_without_the_screening_ranks_it():
    known = [
        *history(),
        scored("lucky", value=1.0, confirmed=(2.3, 2.4)),
        scored("steady", value=2.1, confirmed=(2.1, 2.2)),
        scored("crashes", value=1.9, confirmed=(1.9, None)),
        scored("was luck", value=1.8, confirmed=(2.6, 2.7)),
    ]
    chosen = select(known, proof=Proof(deep=0, confirmations=2))
    parents = [c.scored for c in chosen if c.role is SelectionRole.PARENT]
    assert [s.idea.title for s in parents] == ["steady", "lucky"]
    assert [s.value for s in parents] == pytest.approx([2.15, 2.35])
    assert parents[0].error == pytest.approx(0.05)


def test_a_screening_that_does_not_count_takes_the_confirmations_with_it():
    assert scored("cheat", value=None, confirmed=(2.0, 2.0)).value is None


@pytest.mark.parametrize(
    ("weights", "counts"), [([1, 1], [40, 40]), ([3, 1], [60, 20]), ([0.1, 0.2, 0.7], [8, 16, 56])]
)
def test_calls_are_shared_out_by_weight_also_across_epochs(weights, counts):
    turns = [turn for epoch in range(10) for turn in share_out(weights, 8 * epoch, 8)]
    assert [turns.count(i) for i in range(len(weights))] == counts
    assert turns == share_out(weights, 0, 80)


def test_when_maximising_parents_lie_above():
    chosen = select(history(), minimize=False)
    parents = [c.scored.idea.title for c in chosen if c.role is SelectionRole.PARENT]
    assert parents == ["worse"]


def test_the_context_shows_failures_as_failures_and_never_the_baseline():
    chosen = select(history())
    context = {c.scored.idea.title: c for c in chosen if c.role is SelectionRole.CONTEXT}
    assert set(context) == {"better", "best", "worse", "failed"}
    assert context["failed"].scored.value is None
    assert context["failed"].reason == "it crashed"


def test_caps_hold_and_the_draw_is_seeded():
    draws = [
        [c.scored.idea.title for c in select(history(), parents=1, context=2, seed=s)]
        for s in (1, 1, 2, 3, 4)
    ]
    assert all(len(draw) == 3 and draw[0] == "best" for draw in draws)
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) > 1


def test_best_of_n_looks_at_no_score():
    assert select(history(), kind="best_of_n") == []
