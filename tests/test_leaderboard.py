"""The leaderboard of SQL says of an idea what the search itself knows, and ranks as it does."""

import random
from dataclasses import replace

import pytest
from conftest import PROJECT
from rows import KEYS, idea, patch, run, scored

from assets.config.environment import Environment, read_environment
from assets.results.history import History
from assets.results.judging import reward
from assets.results.scored import Scored
from assets.results.summary import summarize
from lake import Journal, Lake, Writer, query
from lake.tables import Blame, Row, RunPurpose, Stage

CAMPAIGN = KEYS["campaign"]


def environment(*, minimize: bool) -> Environment:
    ridge = read_environment(PROJECT / "tests/environments/ridge")
    told = {"direction": "minimize" if minimize else "maximize", "floor": 0.01 if minimize else 9.0}
    return replace(ridge, manifest=ridge.manifest.model_copy(update=told))


def rows_of(ideas: list[Scored], *, minimize: bool) -> dict[Stage, list[Row]]:
    """What the stages would have committed of these ideas."""
    made: dict[Stage, list[Row]] = {stage: [] for stage in Stage}
    for ordinal, each in enumerate(ideas):
        title = each.idea.title
        made[Stage.IDEAS].append(replace(idea(title, kind=each.idea.kind), ordinal=ordinal))
        made[Stage.PATCHES].append(patch(title))
        for score in (each.score, *each.confirmations):
            seed = int(score.run_id.rpartition("-")[2])
            purpose = RunPurpose.CONFIRMATION if seed else RunPurpose.SCREENING
            made[Stage.RUNS].append(run(title, seed=seed, purpose=purpose, value=score.value))
            worth = None if score.value is None else reward(score.value, minimize=minimize)
            made[Stage.SCORES].append(replace(score, reward=worth))
    return made


@pytest.fixture
def searched(tmp_path):
    """Makes a lake in which one epoch with these ideas is complete."""

    def make(ideas: list[Scored], *, minimize: bool) -> Lake:
        journal = Journal.open(tmp_path / "journal.db")
        writer = Writer(Lake.open(tmp_path / "lake"), journal, CAMPAIGN)
        reads: list[str] = []
        for stage, rows in rows_of(ideas, minimize=minimize).items():
            attempt = writer.begin(0, stage, reads=reads).attempt
            reads = [str(writer.complete(attempt, rows).read)]
        journal.close()
        return writer.lake

    return make


def board(lake: Lake, columns: str) -> list[tuple]:
    return query(lake, f"select {columns} from leaderboard order by reward desc nulls last").rows


def known(lake: Lake) -> list[Scored]:
    return History(lake, lake.attempts(CAMPAIGN), CAMPAIGN).before(1)


def test_the_mean_of_the_values_ranks_and_not_the_mean_of_their_inverses(searched):
    spread = scored("spread", value=1.0, confirmed=(2.0, 3.0))
    steady = scored("steady", value=1.0, confirmed=(2.45, 2.45))
    lake = searched([spread, steady], minimize=True)
    assert board(lake, "title, value, reward, confirmed, screened") == [
        ("steady", 2.45, pytest.approx(1 / 2.45), 2, 1.0),
        ("spread", 2.5, pytest.approx(1 / 2.5), 2, 1.0),
    ]


def drawn(count: int) -> list[Scored]:
    """Ideas with two confirmations each, of very different spread."""
    draw = random.Random(5).uniform
    values = [tuple(draw(0.5, 5.0) for _ in range(3)) for _ in range(count)]
    return [
        scored(f"{i}", value=first, confirmed=tuple(others))
        for i, (first, *others) in enumerate(values)
    ]


@pytest.mark.parametrize("minimize", [True, False])
def test_confirmed_ideas_are_ranked_as_the_search_ranks_them(searched, minimize):
    lake = searched(drawn(40), minimize=minimize)
    summary = summarize(known(lake), environment(minimize=minimize), "cpu", confirmations=2)
    assert [title for (title,) in board(lake, "title")] == [s.idea.title for s in summary.ranked]
    assert len(summary.ranked) == 40


@pytest.mark.parametrize("minimize", [True, False])
def test_every_idea_has_the_value_that_the_search_knows(searched, minimize):
    lost = scored("machine", value=2.0, confirmed=(2.2, None, 2.4))
    machine = [
        replace(each, blame=Blame.INFRASTRUCTURE) if each.value is None else each
        for each in lost.confirmations
    ]
    ideas = [
        replace(lost, confirmations=tuple(machine)),
        scored("screened", value=1.0),
        scored("one", value=1.0, confirmed=(1.0, 1.0)),
        scored("fails", value=1.5, confirmed=(1.5, None)),
        scored("refused", value=None, reason="no", confirmed=(1.1, 1.2)),
    ]
    lake = searched(ideas, minimize=minimize)
    told = {
        s.idea.title: (
            s.value,
            s.screened,
            len(s.confirmed),
            None if s.value is None else reward(s.value, minimize=minimize),
        )
        for s in known(lake)
    }
    found = {row[0]: row[1:] for row in board(lake, "title, value, screened, confirmed, reward")}
    assert found == {title: pytest.approx(each) for title, each in told.items()}
    assert {title for title, each in told.items() if each[0] is None} == {"fails", "refused"}
