"""The loop through Dagster on the small environment: order, attempts, adoption, determinism."""

import dataclasses
import json
import shutil
from collections import Counter
from contextlib import closing

import dagster as dg
import pytest
from campaigns import PressedAfter, facts, materialize, opened, rows, search_all
from conftest import PROJECT, trust, write_campaign

from assets.attempt.lock import held
from assets.attempt.monitor import Hooks, Stop
from assets.errors import Interrupted, VarveError
from assets.graph.instance import open_instance
from assets.graph.search import Work, open_search
from lake import App, Journal, Lake, Writer, query
from lake.tables import (
    AttemptEvent,
    Idea,
    IdeaKind,
    Patch,
    PatchStatus,
    Run,
    RunEvent,
    RunEventKind,
    Score,
    ScoreStatus,
    Selection,
    SelectionRole,
    Stage,
)

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A home whose small campaign has run to its end; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("searched")
        patch.setenv("VARVE_HOME", str(folder / "home"))
        patch.setenv("VARVE_CAMPAIGNS", str(folder / "campaigns"))
        write_campaign(folder / "campaigns")
        from assets.config.home import find_home

        home = find_home()
        search_all(home)
        yield home


@pytest.fixture
def copy(searched, tmp_path):
    """A copy of the searched home that a test may change."""
    shutil.copytree(searched.root, tmp_path / "home")
    return dataclasses.replace(
        searched,
        root=tmp_path / "home",
        lake=str(tmp_path / "home" / "lake"),
        campaigns=shutil.copytree(searched.campaigns, tmp_path / "campaigns"),
    )


def test_every_epoch_has_its_batch_and_the_first_the_baseline_with_three_seeds(searched):
    ideas = rows(searched, Idea)
    assert Counter(i.epoch for i in ideas if i.kind is not IdeaKind.BASELINE) == {0: 4, 1: 4, 2: 4}
    (baseline,) = [i for i in ideas if i.kind is IdeaKind.BASELINE]
    assert baseline.epoch == 0
    (patch,) = [p for p in rows(searched, Patch) if p.idea_id == baseline.idea_id]
    assert sorted(r.seed for r in rows(searched, Run) if r.patch_id == patch.patch_id) == [0, 1, 2]
    assert patch.diff == ""


def test_each_stage_of_each_epoch_is_one_complete_attempt(searched):
    log = Lake.open(searched.lake).attempts("small")
    for epoch in range(3):
        current = log.current(epoch)
        assert [current[stage].n for stage in Stage] == [0] * 5
        assert not log.open_attempts()


def test_later_epochs_exploit_ideas_that_beat_the_baseline(searched):
    exploits = [i for i in rows(searched, Idea) if i.kind is IdeaKind.EXPLOIT]
    parents = {s.idea_id for s in rows(searched, Selection) if s.role == "parent"}
    assert exploits
    assert all(set(i.parents) <= parents and i.parents for i in exploits)


def test_a_failed_patch_has_a_reason_and_no_run(searched):
    failed = [p for p in rows(searched, Patch) if p.status is PatchStatus.FAILED]
    assert failed
    ran = {r.patch_id for r in rows(searched, Run)}
    assert all(p.reason and p.patch_id not in ran for p in failed)


def test_a_value_is_either_there_or_blamed(searched):
    for score in rows(searched, Score):
        valid = score.status is ScoreStatus.VALID
        assert valid == (score.value is not None) == (score.reward is not None)
        assert valid == (score.blame is None) == (score.reason is None)


def test_headless_runs_stand_in_dagsters_history(searched):
    with open_instance(searched, ["small"]) as instance:
        runs = instance.get_runs()
        assert len(runs) == 3
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        scores = dg.AssetKey(["small", "scores"])
        assert instance.get_materialized_partitions(scores) == {"0000", "0001", "0002"}
        event = instance.get_latest_materialization_event(scores)
        metadata = event.asset_materialization.metadata
        assert {"best", "baseline", "noise_sd", "noise_n", "completion_rate"} <= set(metadata)
        seen = instance.fetch_observations(dg.AssetKey(["small", "score_log"]), limit=10).records
        assert {record.partition_key for record in seen} == {"0000", "0001", "0002"}
        limits = {limit.name: limit for limit in instance.event_log_storage.get_pool_limits()}
        assert limits["campaign_small"].limit == 1
        assert not limits["campaign_small"].from_default


def test_an_attempt_records_what_it_read_and_what_it_measures(searched):
    log = Lake.open(searched.lake).attempts("small")
    assert log.current(2)[Stage.EVOLUTION].reads == ("scores/0000/0/1", "scores/0001/0/1")
    config = json.loads(log.current(0)[Stage.SCORES].config)
    assert set(config["identity"]) == {"environment", "profile", "metric", "direction", "evaluator"}
    assert config["settings"]["batch"] == 4


def test_the_same_campaign_into_two_lakes_gives_the_same_ids_and_the_same_bits(searched, home):
    search_all(home)
    assert facts(home) == facts(searched)


def test_a_finished_campaign_has_nothing_missing(searched):
    assert opened(searched).missing() == []


def test_rerunning_one_stage_alone_leaves_current_where_the_scores_are(copy):
    before = {i.idea_id for i in Lake.open(copy.lake).current(Idea, "small", epoch=1)}
    materialize(copy, 1, [Stage.IDEAS])
    log = Lake.open(copy.lake).attempts("small")
    assert log.newest(1, Stage.IDEAS).n == 1
    assert log.current(1)[Stage.IDEAS].n == 0
    after = {i.idea_id for i in Lake.open(copy.lake).current(Idea, "small", epoch=1)}
    assert after == before
    count = "select count(*), count(distinct n) from ideas_history where epoch = 1"
    assert query(copy.lake, count).rows == [(8, 2)]
    materialize(copy, 1, [Stage.PATCHES, Stage.RUNS, Stage.SCORES])
    current = Lake.open(copy.lake).attempts("small").current(1)
    assert [current[stage].n for stage in Stage] == [0, 1, 1, 1, 1]


def test_a_rerun_draws_anew_and_takes_over_what_was_run_before(copy):
    materialize(copy, 0, Stage)
    again = [r for r in rows(copy, Run) if r.epoch == 0 and r.n == 1]
    baselines = [r for r in again if r.reused_from]
    assert len(baselines) >= 3
    first = {r.run_id: r for r in rows(copy, Run) if r.n == 0}
    for row in baselines:
        before = first[row.reused_from]
        assert (row.value, row.verdicts, row.measures) == (
            before.value,
            before.verdicts,
            before.measures,
        )
        assert row.run_key == first[row.reused_from].run_key
    texts = [{i.text for i in rows(copy, Idea) if i.epoch == 0 and i.n == n} for n in (0, 1)]
    assert texts[0] != texts[1]


def test_one_stage_alone_works_after_an_earlier_epoch_was_run_again(copy):
    materialize(copy, 0, Stage)
    materialize(copy, 1, [Stage.IDEAS])
    known = {i.idea_id for i in rows(copy, Idea)}
    again = [i for i in rows(copy, Idea) if i.epoch == 1 and i.n == 1]
    assert len(again) == 4
    assert all(set(i.parents) <= known for i in again)


def test_an_interrupted_rerun_of_an_epoch_is_completed_by_the_search(copy):
    stop = Stop()
    hooks = Hooks(monitor=PressedAfter(stop, done=1, times=1), stop=stop)
    write_campaign(copy.campaigns, launcher={"kind": "local", "slots": 1}, remeasure=True)
    with (
        open_search(copy, "small", hooks, doing="test") as search,
        pytest.raises(Interrupted),
    ):
        search.materialize(Work(epoch=2, stages=tuple(Stage)))
    (missing,) = opened(copy).missing()
    assert (missing.epoch, missing.stages) == (2, [Stage.RUNS, Stage.SCORES])
    search_all(copy)
    current = Lake.open(copy.lake).attempts("small").current(2)
    assert {current[stage].n for stage in Stage} == {1}


def test_a_death_between_the_commits_of_evolution_costs_no_idea(home):
    materialize(home, 0, Stage)
    lake = Lake.open(home.lake)
    best = lake.current(Score, "small", epoch=0)
    parent = next(i for i in lake.current(Idea, "small", epoch=0) if i.kind is IdeaKind.FRESH)
    with closing(Journal.open(home.journal("small"))) as journal:
        writer = Writer(lake, journal, "small")
        attempt = writer.begin(1, Stage.EVOLUTION, reads=["scores/0000/0/1"]).attempt
        row = Selection(
            campaign="small",
            epoch=1,
            n=0,
            selection_id="s",
            ordinal=0,
            role=SelectionRole.PARENT,
            idea_id=parent.idea_id,
            value=best[0].value,
            reason="for the test",
        )
        assert attempt.n == 0
        lake.append([row], app=App("rows/small/0001/evolution/0", 1), seq=1)
    search_all(home)
    kinds = Counter(i.kind for i in rows(home, Idea) if i.epoch == 1)
    assert kinds == {IdeaKind.EXPLOIT: 2, IdeaKind.EXPLORE: 2}


def test_measuring_again_buys_every_job_again(copy):
    write_campaign(copy.campaigns, remeasure=True)
    materialize(copy, 0, Stage)
    again = [r for r in rows(copy, Run) if r.epoch == 0 and r.n == 1]
    assert again
    assert not any(r.reused_from for r in again)


def test_an_epoch_waits_for_the_scores_of_all_earlier_ones(home):
    materialize(home, 0, [Stage.EVOLUTION, Stage.IDEAS])
    with pytest.raises(VarveError, match="epoch 0001 needs the scores of every earlier epoch"):
        materialize(home, 1, [Stage.EVOLUTION])
    with pytest.raises(VarveError, match="runs needs patches, which has no complete attempt"):
        materialize(home, 0, [Stage.RUNS])


def test_a_second_campaign_takes_over_what_the_first_one_ran(copy):
    write_campaign(copy.campaigns, "other", strategy={"kind": "best_of_n", "ideas_per_call": 2})
    search_all(copy, "other")
    first_epoch = [r for r in rows(copy, Run, "other") if r.epoch == 0]
    assert len(first_epoch) >= 4
    assert all(r.reused_from for r in first_epoch)
    kinds = Counter(i.kind for i in rows(copy, Idea, "other"))
    assert kinds == {IdeaKind.BASELINE: 1, IdeaKind.FRESH: 12}
    assert rows(copy, Selection, "other") == []


def test_an_environment_that_changed_under_its_campaign_is_refused(copy, tmp_path):
    folder = shutil.copytree(PROJECT / "tests/environments/ridge", tmp_path / "ridge")
    train = folder / "train.py"
    train.write_text(train.read_text() + "\n# another line\n")
    write_campaign(copy.campaigns, environment=str(folder))
    trust(copy, folder)
    with pytest.raises(
        VarveError, match=r"its environment has changed.*found .*expected .*new camp"
    ):
        materialize(copy, 2, [Stage.SCORES])


def test_a_second_search_of_the_same_campaign_is_told_who_holds_it(home):
    with (
        held(home.lock("small"), doing="varve search small"),
        held(home.lock("small"), doing="its own step") as first,
    ):
        assert not first
    import subprocess
    import sys

    from conftest import VARVE, child_environment

    with held(home.lock("small"), doing="a long search"):
        command = [sys.executable, str(VARVE), "search", "small"]
        done = subprocess.run(command, env=child_environment(home), capture_output=True, text=True)
    assert done.returncode == 1
    assert "held already by" in done.stderr
    assert "a long search" in done.stderr


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_what_ended_and_the_same_command_goes_on(home, searched, times):
    stop = Stop()
    hooks = Hooks(monitor=PressedAfter(stop, done=2, times=times), stop=stop)
    with (
        open_search(home, "small", hooks, doing="test") as search,
        pytest.raises(Interrupted, match="goes on where this stopped"),
    ):
        search.materialize(search.missing()[0])
    log = Lake.open(home.lake).attempts("small")
    assert [a.stage for a in log.open_attempts()] == [Stage.RUNS]
    ended = Counter(e.kind for e in rows(home, RunEvent))
    assert 2 <= ended[RunEventKind.FINISHED] + ended[RunEventKind.FAILED] < 7
    search_all(home)
    assert facts(home) == facts(searched)
    assert not_repeated(home)


def not_repeated(home) -> bool:
    """Whether no job ended twice in the same attempt."""
    ends = [
        e for e in rows(home, RunEvent) if e.kind in (RunEventKind.FINISHED, RunEventKind.FAILED)
    ]
    return len({e.run_id for e in ends}) == len(ends)


def test_nothing_of_a_jobs_folder_but_its_record_is_kept_after_scoring(searched):
    kept = {r.name for r in searched.jobs.iterdir() if (r / "out").exists()}
    assert 3 <= len(kept) <= 6
    assert not any((r / "env").exists() for r in searched.jobs.iterdir())
    assert all((r / "result.json").exists() for r in searched.jobs.glob("[!.]*"))


def test_attempts_are_events_not_states(searched):
    kinds = Counter(e.kind.value for e in rows(searched, AttemptEvent))
    assert kinds == {"opened": 15, "completed": 15}
