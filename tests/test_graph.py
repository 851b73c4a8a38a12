"""The asset graph as Dagster sees it: golden, without a cycle, with a sensor that asks the lake."""

import json

import dagster as dg
import pytest
from campaigns import materialize, search_all
from conftest import PROJECT, write_campaign
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from assets.graph.definitions import campaign_or_reason, defs
from assets.graph.instance import open_instance
from assets.quoting import TOLD_CHARACTERS, markdown_block, told
from lake.tables import Stage

GOLDEN = PROJECT / "tests" / "golden" / "asset_graph.json"


def described(definitions: dg.Definitions) -> dict:
    graph = definitions.resolve_asset_graph()
    nodes = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        nodes["/".join(key.path)] = {
            "parents": sorted("/".join(parent.path) for parent in node.parent_keys),
            "group": node.group_name,
            "partitions": node.partitions_def.get_partition_keys(),
            "pools": sorted(node.pools or []),
            "external": node.is_external,
            "checks": sorted(check.name for check in node.check_keys),
            "description": node.description,
        }
    return nodes


def test_the_graph_of_a_campaign_is_the_golden_one(home):
    found = described(campaign_or_reason(home, "small"))
    assert found == json.loads(GOLDEN.read_text()), json.dumps(found, indent=1)


def test_the_graph_can_be_sorted_which_daemon_and_backfills_rely_on(home, monkeypatch):
    write_campaign(home.campaigns, "second", epochs=120)
    write_campaign(home.campaigns, "broken", epochs=0)
    levels = defs().resolve_asset_graph().toposorted_asset_keys_by_level
    order = [key.path for level in levels for key in level]
    for name in ("small", "second"):
        places = [order.index([name, stage.value]) for stage in Stage]
        assert places == sorted(places)


def test_everything_that_ships_loads(monkeypatch):
    monkeypatch.delenv("VARVE_CAMPAIGNS", raising=False)
    groups = {node["group"] for node in described(defs()).values()}
    own = {"demo", "demo_best_of_n"}
    assert groups == own | {"nanogpt_claude", "nanogpt_gpt", "nanogpt_vllm"}
    assert not [key for key in described(defs()) if key.endswith("broken")]


def test_a_broken_campaign_is_one_failing_asset_that_says_why(home):
    write_campaign(home.campaigns, "broken", batch="many")
    definitions = campaign_or_reason(home, "broken")
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "batch: " in event.step_failure_data.user_failure_data.description


@given(st.text(st.characters() | st.sampled_from("`~<>[]()*_#&\\\n\r \x1b\u202e")))
def test_what_a_broken_campaign_says_is_rendered_as_it_is(text):
    tokens = MarkdownIt("commonmark").parse(markdown_block(text))
    assert [(token.type, token.info) for token in tokens] == [("fence", "")]
    assert tokens[0].content == told(text) + "\n"
    assert len(tokens[0].content) < 2 * TOLD_CHARACTERS


HOSTILE = (
    "<img src=x onerror=alert(1)> [a](javascript:b) **c**",
    "x\n```\n# d\n````\n<b>",
    "\x1b[2J\u202eevil\u200b\u2028",
    "e" * 50_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_broken_campaign_is_quoted_as_text_and_not_at_length(home, text):
    write_campaign(home.campaigns, "broken", environment=text)
    definitions = campaign_or_reason(home, "broken")
    said = definitions.resolve_asset_graph().get(dg.AssetKey(["broken", "broken"])).description
    (block,) = MarkdownIt("commonmark").parse(said)
    assert block.type == "fence"
    assert len(said) < 5000
    job = definitions.resolve_implicit_global_asset_job_def()
    (event,) = [
        e for e in job.execute_in_process(raise_on_error=False).all_events if e.is_step_failure
    ]
    failure = event.step_failure_data.user_failure_data.description
    assert failure + "\n" == block.content
    assert failure.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", ["größe", "two words", "1st", "two\nlines"])
def test_a_folder_that_cannot_be_a_group_takes_no_campaign_down(home, name):
    write_campaign(home.campaigns, name)
    graph = defs().resolve_asset_graph()
    assert graph.has(dg.AssetKey(["small", "scores"]))
    (broken,) = [key for key in graph.get_all_asset_keys() if key.path[-1] == "broken"]
    said = graph.get(broken).description
    assert f"the folder name {name!r} cannot be a campaign's" in said


@pytest.mark.trains
def test_the_asset_checks_stand_on_scores(home):
    search_all(home)
    with open_instance(home, ["small"]) as instance:
        for check in ("no_guard_violated", "completion_rate", "baseline_present"):
            key = dg.AssetCheckKey(dg.AssetKey(["small", "scores"]), check)
            (newest, *_) = instance.event_log_storage.get_asset_check_execution_history(
                key, limit=1
            )
            assert newest.status.value == "SUCCEEDED", check


def ask_autopilot(home):
    definitions = campaign_or_reason(home, "small")
    sensor = definitions.resolve_sensor_def("small_autopilot")
    repository = definitions.get_repository_def()
    with open_instance(home, ["small"]) as instance:
        return sensor.evaluate_tick(
            dg.build_sensor_context(instance=instance, repository_def=repository)
        )


@pytest.mark.trains
def test_the_autopilot_asks_the_lake_for_what_is_missing(home):
    (request,) = ask_autopilot(home).run_requests
    assert request.run_key == "small/0000/evolution/0"
    assert request.partition_key == "0000"
    assert [key.path[1] for key in request.asset_selection] == [stage.value for stage in Stage]
    materialize(home, 0, [Stage.EVOLUTION, Stage.IDEAS])
    (request,) = ask_autopilot(home).run_requests
    assert request.run_key == "small/0000/patches/0"
    search_all(home)
    tick = ask_autopilot(home)
    assert not tick.run_requests
    assert tick.skip_message == "all 3 epochs have scores"


@pytest.mark.parametrize("epochs", [11, 1000])
def test_epoch_keys_sort_as_text_like_dagsters_queue(home, epochs):
    write_campaign(home.campaigns, epochs=epochs)
    keys = described(campaign_or_reason(home, "small"))["small/scores"]["partitions"]
    assert keys == sorted(keys)
    assert len(keys) == epochs
