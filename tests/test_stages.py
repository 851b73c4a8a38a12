"""One more stage is one more entry: order, reads, graph, chains and SQL follow from it.

The stage `patches` plays the part of one that learns from all scores and is read by `ideas` beside
`evolution`, as a policy under reinforcement learning would be.
"""

from dataclasses import replace
from typing import get_args

import pytest
from conftest import write_campaign
from hypothesis import given, settings
from hypothesis import strategies as st
from test_graph import described
from test_lake_attempts import event

from assets.attempt.order import missing_stages, reads_of
from assets.config.settings import StrategySettings, read_campaign
from assets.errors import OrderError
from assets.graph.campaign import campaign_definitions
from assets.graph.search import all_stages
from lake import DEFINITIONS, TABLES, AttemptLog, Lake, Read, StageDefinition, connect
from lake.columns import SEQ, stored_columns
from lake.stages import (
    STAGE_TABLES,
    after,
    definition_of,
    of_strategy,
    stage_of,
    stages_of,
    upstream_of,
)
from lake.tables import AttemptEvent, AttemptKind, Patch, Stage
from lake.views import CURRENT, current_attempts

LEARNED = StageDefinition(
    stage=Stage.PATCHES,
    rows=Patch,
    description="One row per policy.",
    read_by=(Stage.IDEAS,),
    rests_on=Stage.SCORES,
    only_for=frozenset({"best_of_n"}),
)
WITHOUT = tuple(
    replace(each, read_by=(Stage.RUNS,)) if each.stage is Stage.IDEAS else each
    for each in DEFINITIONS
    if each.stage is not Stage.PATCHES
)
WITH = (WITHOUT[0], LEARNED, *WITHOUT[1:])
KINDS = get_args(StrategySettings.model_fields["kind"].annotation)


def complete(stage: Stage, n: int, *reads: str, epoch: int = 0) -> list[AttemptEvent]:
    """The events of an attempt that was done."""
    kinds = (AttemptKind.OPENED, AttemptKind.COMPLETED)
    return [event(stage, n, seq, kind, reads, epoch) for seq, kind in enumerate(kinds)]


def test_the_order_and_what_is_read_follow():
    assert stages_of(WITH) == (
        Stage.EVOLUTION, Stage.PATCHES, Stage.IDEAS, Stage.RUNS, Stage.SCORES,
    )  # fmt: skip
    assert upstream_of(Stage.IDEAS, WITH) == (Stage.EVOLUTION, Stage.PATCHES)
    assert after(Stage.PATCHES, WITH) == (Stage.PATCHES, Stage.IDEAS, Stage.RUNS, Stage.SCORES)
    assert upstream_of(Stage.IDEAS) == (Stage.EVOLUTION,)
    assert after(Stage.EVOLUTION) == stages_of()


def test_a_stage_rests_on_what_it_reads_in_its_epoch_and_on_the_scores_of_all_earlier_ones():
    scored = [*complete(Stage.SCORES, 0), *complete(Stage.SCORES, 0, epoch=1)]
    log = AttemptLog([*scored, *complete(Stage.EVOLUTION, 0, epoch=2)], WITH)
    assert reads_of("c", Stage.PATCHES, 2, log, WITH) == ("scores/0000/0/1", "scores/0001/0/1")
    with pytest.raises(OrderError, match="ideas needs patches"):
        reads_of("c", Stage.IDEAS, 2, log, WITH)
    for each in complete(Stage.PATCHES, 0, epoch=2):
        log.add(each)
    reads = reads_of("c", Stage.IDEAS, 2, log, WITH)
    assert reads == ("evolution/0002/0/1", "patches/0002/0/1")
    assert missing_stages(2, log, WITH) == [Stage.IDEAS, Stage.RUNS, Stage.SCORES]


def test_a_campaign_that_lacks_the_stage_keeps_the_chain_behind_it():
    events = [
        *complete(Stage.EVOLUTION, 0),
        *complete(Stage.EVOLUTION, 1),
        *complete(Stage.IDEAS, 0, "evolution/0000/0/1"),
        *complete(Stage.RUNS, 0, "ideas/0000/0/1"),
        *complete(Stage.SCORES, 0, "runs/0000/0/1"),
    ]
    chain = AttemptLog(events, WITH).current(0)
    assert {stage: attempt.n for stage, attempt in chain.items()} == {
        Stage.EVOLUTION: 0, Stage.IDEAS: 0, Stage.RUNS: 0, Stage.SCORES: 0,
    }  # fmt: skip


def test_a_campaign_that_lacks_the_stage_neither_waits_for_it_nor_misses_it():
    log = AttemptLog(complete(Stage.EVOLUTION, 0), WITH)
    had = of_strategy("evolution", WITH)
    assert had == WITHOUT
    assert of_strategy("best_of_n", WITH) == WITH
    assert reads_of("c", Stage.IDEAS, 0, log, had) == ("evolution/0000/0/1",)
    assert missing_stages(0, log, had) == [Stage.IDEAS, Stage.RUNS, Stage.SCORES]
    assert missing_stages(0, log, WITH)[0] is Stage.PATCHES


def test_an_open_stage_that_a_campaign_no_longer_has_stops_no_epoch():
    had = of_strategy("evolution", WITH)
    done = [each for stage in stages_of(had) for each in complete(stage, 0)]
    log = AttemptLog([*done, *complete(Stage.PATCHES, 0)[:1]], WITH)
    assert missing_stages(0, log, had) == []
    assert reads_of("c", Stage.EVOLUTION, 1, log, had) == ("scores/0000/0/1",)
    with pytest.raises(OrderError):
        reads_of("c", Stage.EVOLUTION, 1, log, WITH)


def test_a_campaign_has_the_stages_of_all_campaigns_and_those_of_its_strategy(home):
    small = read_campaign(home.campaigns, "small")
    assert small.stages() == DEFINITIONS
    assert small.stages(WITH) == WITHOUT
    (work,) = all_stages(small, [3])
    assert (work.epoch, work.stages) == (3, stages_of())


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_stage_is_read_by_comes_after_it_in_every_kind_of_campaign(kind):
    order = stages_of(of_strategy(kind))
    for each in of_strategy(kind):
        later = order[order.index(each.stage) + 1 :]
        assert not {stage for stage in each.read_by if stage in order} - set(later)
        assert each.read_by or each is DEFINITIONS[-1]
    assert order[-1] is Stage.SCORES


def test_only_kinds_of_strategy_that_exist_are_named():
    assert not {kind for each in DEFINITIONS for kind in each.only_for} - set(KINDS)


def test_after_an_interrupted_rerun_no_open_stage_is_left_out():
    log = AttemptLog(
        [
            *complete(Stage.EVOLUTION, 0),
            *complete(Stage.EVOLUTION, 1),
            *complete(Stage.PATCHES, 0),
            *complete(Stage.PATCHES, 1)[:1],
            *complete(Stage.IDEAS, 0, "evolution/0000/0/1", "patches/0000/0/1"),
            *complete(Stage.IDEAS, 1, "evolution/0000/1/1", "patches/0000/0/1")[:1],
            *complete(Stage.RUNS, 0, "ideas/0000/0/1"),
            *complete(Stage.SCORES, 0, "runs/0000/0/1"),
        ],
        WITH,
    )
    assert log.current(0)[Stage.EVOLUTION].n == 0
    assert missing_stages(0, log, WITH) == [
        Stage.PATCHES, Stage.IDEAS, Stage.RUNS, Stage.SCORES,
    ]  # fmt: skip


def test_runs_of_later_epochs_compare_with_the_first_commit_of_the_baselines():
    extended = [*complete(Stage.RUNS, 0), event(Stage.RUNS, 0, 2, AttemptKind.EXTENDED)]
    log = AttemptLog([*extended, *complete(Stage.PATCHES, 0, epoch=1)])
    assert reads_of("c", Stage.RUNS, 1, log) == ("patches/0001/0/1", "runs/0000/0/1")


def test_the_graph_follows(home):
    write_campaign(home.campaigns, strategy={"kind": "best_of_n"})
    campaign = read_campaign(home.campaigns, "small")
    found = described(campaign_definitions("small", campaign, home=home, definitions=WITH))
    parents = {name.removeprefix("small/"): node["parents"] for name, node in found.items()}
    assert parents == {
        "score_log": [],
        "evolution": ["small/score_log"],
        "patches": ["small/score_log"],
        "ideas": ["small/evolution", "small/patches"],
        "runs": ["small/ideas"],
        "scores": ["small/runs"],
    }
    assert found["small/patches"]["description"] == "One row per policy."


def test_the_graph_of_a_campaign_that_lacks_the_stage_is_as_if_it_were_not_declared(home):
    campaign = read_campaign(home.campaigns, "small")
    found, without = (
        described(campaign_definitions("small", campaign, home=home, definitions=definitions))
        for definitions in (WITH, WITHOUT)
    )
    assert found == without
    assert found["small/ideas"]["parents"] == ["small/evolution"]


def test_every_definition_has_its_table_its_view_and_the_column_of_its_events():
    for each in DEFINITIONS:
        assert TABLES[each.table] is each.rows
        assert each.table in CURRENT
        assert each.table in STAGE_TABLES
        assert stored_columns(each.rows)[-1].name == SEQ
        assert stage_of(each.rows) is each.stage
        assert definition_of(each.stage) is each


@st.composite
def histories(draw) -> list[AttemptEvent]:
    """Events of one epoch of the larger graph; some attempts are open, some read nothing."""
    events: list[AttemptEvent] = []
    numbers = dict.fromkeys(stages_of(WITH), 0)
    for stage in draw(st.lists(st.sampled_from(stages_of(WITH)), max_size=14)):
        n = numbers[stage]
        numbers[stage] += 1
        reads = [
            str(Read(each, 0, draw(st.integers(0, numbers[each])), 1))
            for each in upstream_of(stage, WITH)
            if draw(st.booleans())
        ]
        whole = complete(stage, n, *reads)
        events += whole if draw(st.booleans()) else whole[:1]
    return events


@settings(max_examples=20, deadline=None)
@given(histories())
def test_the_chain_in_sql_is_the_chain_of_the_log_in_any_graph(tmp_path_factory, events):
    store = Lake.open(tmp_path_factory.mktemp("chain"))
    store.append(events)
    chain = AttemptLog(events, WITH).current(0)
    connection = connect(store, views={"scores"})
    connection.execute(current_attempts(WITH).replace("TABLE current_attempts", "TABLE found", 1))
    found = connection.execute("select stage, n, seq from found").fetchall()
    connection.close()
    assert sorted(found) == sorted((s.value, a.n, a.seq) for s, a in chain.items())
