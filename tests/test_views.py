"""An attempt as it can be looked at, open or closed; and what the site of a job decides."""

import shutil
from dataclasses import replace

import pytest
from campaigns import materialize, search_all
from conftest import PROJECT, write_campaign

from assets.attempt.monitor import Hooks
from assets.attempt.view import AttemptView, view_of
from assets.config.home import Home
from assets.config.setup import Setup, survey
from assets.runs.plan import run_key
from lake import Lake
from lake.tables import Idea, Patch, Run, Score, Stage

pytestmark = pytest.mark.trains


@pytest.fixture
def searched(home) -> Home:
    write_campaign(home.campaigns, epochs=2, batch=3)
    search_all(home, hooks=Hooks(sandbox="none"))
    return home


def looked_at(home: Home, stage: Stage, epoch: int) -> AttemptView:
    setup, lake = survey(home, "small"), Lake.open(home.lake)
    log = lake.attempts("small")
    return view_of(setup, lake, log, log.newest(epoch, stage))


def test_a_closed_attempt_is_seen_with_the_settings_and_rows_that_it_had(searched):
    before = looked_at(searched, Stage.SCORES, 1)
    write_campaign(searched.campaigns, epochs=2, batch=7, seed=5)
    view = looked_at(searched, Stage.SCORES, 1)
    assert (view.settings.batch, view.settings.seed) == (3, 0)
    assert view.setup.settings == before.settings
    assert view.seed("x") == before.seed("x")
    assert list(view.chain) == [Stage.RUNS, Stage.PATCHES, Stage.IDEAS, Stage.EVOLUTION]
    assert len(view.rows(Idea)) == len(view.rows(Patch)) == len(view.rows(Run)) == 3
    scores = {score.run_id: score.value for score in view.rows(Score)}
    assert scores == {run.run_id: run.value for run in view.rows(Run)}


def test_rows_are_read_once(searched):
    view = looked_at(searched, Stage.SCORES, 0)
    assert view.rows(Run) is view.rows(Run)


def test_a_closed_attempt_keeps_the_baselines_that_it_recorded_to_have_read(home, tmp_path):
    ridge = shutil.copytree(PROJECT / "tests/environments/ridge", tmp_path / "ridge")
    manifest = ridge / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('compute = "wall"', 'compute = "cpu"'))
    told = {"environment": str(ridge), "epochs": 2, "batch": 2}
    write_campaign(home.campaigns, **told)
    search_all(home, hooks=Hooks(sandbox="none"))
    rule = looked_at(home, Stage.RUNS, 1).compute_rule(())
    assert len(rule.baseline) == 3
    write_campaign(home.campaigns, **told, remeasure=True)
    materialize(home, 0, Stage)
    for stage in (Stage.RUNS, Stage.SCORES):
        view = looked_at(home, stage, 1)
        assert view.compute_rule(()) == rule
        assert [run.n for run in view.baselines] == [0, 0, 0]
        assert [run.n for run in view.history.baseline_runs()] == [1, 1, 1]


def test_an_attempt_that_recorded_no_read_of_baselines_sees_the_current_ones(searched):
    view = looked_at(searched, Stage.IDEAS, 1)
    assert view.baselines == view.history.baseline_runs()
    assert len(view.baselines) == 3


def key(setup: Setup) -> str:
    return run_key(setup.environment.files, setup, seed=0)


def test_what_a_run_is_follows_from_where_it_runs(home):
    setup = survey(home, "small")
    elsewhere = replace(setup, site=replace(setup.site, torch="9.9", device_class="H100"))
    assert len({key(setup), key(elsewhere), key(replace(setup, site=elsewhere.site))}) == 2
    bigger = replace(setup, site=replace(setup.site, device_class="cpu-other"))
    assert key(bigger) not in {key(setup), key(elsewhere)}


def test_what_a_run_is_does_not_follow_from_where_it_is_asked_for(home, monkeypatch):
    setup = survey(home, "small")
    before = key(setup)
    monkeypatch.setattr("platform.machine", lambda: "of another kind")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")
    assert key(setup) == before
