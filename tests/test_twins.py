"""Work that is the same is done once, whoever asks; work of another scorer is not taken over."""

import json
import re
import shutil

import pytest
from campaigns import PressedAfter, materialize, rows, search_all
from conftest import PROJECT, write_campaign

from assets.attempt.monitor import Hooks, Stop, StopLevel
from assets.config.environment import read_environment
from assets.config.home import Home
from assets.errors import VarveError
from assets.graph.search import Work, open_search
from lake import Lake
from lake.tables import Blame, Completion, Run, RunEvent, RunEventKind, Score, Stage
from launchers import LocalLauncher

pytestmark = pytest.mark.trains

RIDGE = PROJECT / "tests/environments/ridge"
MACHINE = (
    r"6 of the 7 jobs that ended failed because of the machine, 3 of the baseline among them: "
    r".* repair what .*/runs/[0-9a-f]{16} shows and run the same command again"
)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RIDGE, tmp_path / "ridge")


def abandon_runs(home, name: str) -> None:
    """Work on runs until all jobs have ended, and lose the attempt before it is complete."""
    with open_search(home, name, Hooks(), doing="test") as search:
        for work in search.missing()[:1]:
            for stage in (Stage.EVOLUTION, Stage.IDEAS, Stage.PATCHES, Stage.RUNS):
                search.materialize(type(work)(epoch=0, stages=(stage,)))
    shutil.rmtree(home.lake)
    (home.root / "journal" / f"{name}.db").unlink()


def test_jobs_that_ended_without_a_row_are_found_by_their_folders(home):
    abandon_runs(home, "small")
    write_campaign(home.campaigns, "second")
    search_all(home, "second")
    first = [r for r in rows(home, Run, "second") if r.epoch == 0]
    assert all(r.reused_from for r in first)
    adopted = [e for e in rows(home, RunEvent, "second") if e.kind is RunEventKind.ADOPTED]
    assert len(adopted) >= len(first)


def spend(home, name: str, usd: float) -> None:
    """A call of a model that costs so much."""
    call = Completion(
        campaign=name,
        epoch=0,
        n=0,
        completion_id=f"{name}-{usd}",
        stage=Stage.PATCHES,
        role="implementer",
        ordinal=0,
        model="m",
        request="{}",
        finish_reason="stop",
        cost_usd=usd,
    )
    Lake.open(home.lake).append([call])


@pytest.fixture
def spent(home) -> Home:
    """A campaign that has spent all, whose jobs another one has run."""
    abandon_runs(home, "small")
    write_campaign(home.campaigns, "second", epochs=1, budget={"max_usd": 1.0})
    materialize(home, 0, [Stage.EVOLUTION, Stage.IDEAS, Stage.PATCHES], "second")
    spend(home, "second", 2.0)
    return home


def test_where_all_is_spent_jobs_that_somebody_has_run_are_still_taken_over(spent):
    materialize(spent, 0, [Stage.RUNS, Stage.SCORES], "second")
    found = rows(spent, Run, "second")
    assert len(found) >= 4
    assert all(run.reused_from for run in found)


def key_of_first_job(home: Home) -> str:
    """What the first baseline computes."""
    tree = read_environment(RIDGE).tree
    specs = [json.loads(path.read_text()) for path in home.jobs.glob("*/spec.json")]
    (found,) = [
        spec["run_key"]
        for spec in specs
        if spec["tree"] == tree and "--seed 0 " in " ".join(spec["steps"][0]["command"])
    ]
    return found


def test_a_job_that_the_budget_refuses_keeps_no_other_from_being_taken_over(spent):
    keys = spent.jobs / ".keys"
    (keys / key_of_first_job(spent)).unlink()
    with pytest.raises(VarveError, match=r"2 USD are spent and budget\.max_usd is 1"):
        materialize(spent, 0, [Stage.RUNS], "second")
    events = [e for e in rows(spent, RunEvent, "second") if e.kind is RunEventKind.ADOPTED]
    assert {event.run_key for event in events} == {path.name for path in keys.iterdir()}


def test_jobs_scored_by_another_evaluator_are_not_taken_over(home, folder):
    abandon_runs(home, "small")
    evaluate = folder / "evaluate.py"
    evaluate.write_text(evaluate.read_text() + "\n# another evaluator\n")
    write_campaign(home.campaigns, "second", environment=str(folder), epochs=1)
    search_all(home, "second")
    assert not any(r.reused_from for r in rows(home, Run, "second"))


def test_where_compute_is_cpu_time_no_campaign_takes_over_anothers_jobs(home, folder):
    manifest = folder / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('compute = "wall"', 'compute = "cpu"'))
    for name in ("one", "two"):
        write_campaign(home.campaigns, name, environment=str(folder), epochs=1)
        search_all(home, name)
    keys = [{r.run_key for r in rows(home, Run, name)} for name in ("one", "two")]
    assert keys[0].isdisjoint(keys[1])
    assert any(s.verdicts.get("compute") for s in rows(home, Score, "two"))


def test_an_evaluator_that_breaks_stops_the_search_and_burns_no_epochs(home, folder):
    evaluate = folder / "evaluate.py"
    whole = evaluate.read_text()
    evaluate.write_text("raise SystemExit(3)\n")
    write_campaign(home.campaigns, environment=str(folder))
    with pytest.raises(VarveError, match=MACHINE):
        search_all(home)
    log = Lake.open(home.lake).attempts("small")
    assert [a.stage for a in log.open_attempts()] == [Stage.RUNS]
    assert log.epochs() == [0]
    launcher = LocalLauncher(home.jobs, data=home.data)
    blames = {state.result.blame for state in launcher.reconcile().values()}
    assert blames == {"infrastructure", "train"}
    evaluate.write_text(whole)
    with pytest.raises(VarveError, match="environment has changed"):
        search_all(home)


class RemovesData(Stop):
    """Removes the prepared data at the moment that jobs are about to begin."""

    def __init__(self, home: Home) -> None:
        self.links = home.data / "by-hash"

    @property
    def level(self) -> StopLevel:
        shutil.rmtree(self.links, ignore_errors=True)
        return StopLevel.GO


def test_a_machine_that_breaks_in_a_later_epoch_is_told_without_a_baseline(home):
    materialize(home, 0, Stage)
    materialize(home, 1, [Stage.EVOLUTION, Stage.IDEAS, Stage.PATCHES])
    hooks = Hooks(sandbox="none", stop=RemovesData(home))
    with (
        open_search(home, "small", hooks, doing="test") as search,
        pytest.raises(VarveError) as failed,
    ):
        search.materialize(Work(epoch=1, stages=(Stage.RUNS,)))
    said = re.match(
        r"(\d) of the (\d) jobs that ended failed because of the machine: ", str(failed.value)
    )
    assert said is not None, failed.value
    assert said[1] == said[2]


def test_a_small_catalog_gives_fewer_ideas_and_no_error(home, tmp_path):
    catalog = tmp_path / "two.toml"
    parts = (PROJECT / "tests/environments/ridge/catalog.toml").read_text().split("[[ideas]]")
    catalog.write_text("[[ideas]]".join(parts[:3]))
    model = [{"model": "catalog", "name": str(catalog)}]
    write_campaign(home.campaigns, ideators=model, epochs=2)
    search_all(home)
    assert not Lake.open(home.lake).attempts("small").open_attempts()


def test_settings_that_changed_under_an_open_attempt_begin_a_new_one(home):
    stop = Stop()
    with pytest.raises(VarveError):
        search_all(home, hooks=Hooks(monitor=PressedAfter(stop, done=1, times=1), stop=stop))
    assert [a.stage for a in Lake.open(home.lake).attempts("small").open_attempts()] == [Stage.RUNS]
    write_campaign(home.campaigns, remeasure=True)
    search_all(home)
    attempts = Lake.open(home.lake).attempts("small").attempts(0, Stage.RUNS)
    assert [a.state.value for a in attempts] == ["abandoned", "complete"]
    assert "settings have changed" in attempts[0].reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "ideas = []", "no idea"),
        (lambda text: text + text, "twice"),
        (
            lambda text: text.replace("search = '''PRODUCTS = False'''", "search = 3"),
            "else than text",
        ),
        (lambda text: "[[ideas]]\nname = 'a'\n", "KeyError"),
    ],
)
def test_a_malformed_catalog_is_said_before_an_epoch_begins(home, tmp_path, change, said):
    catalog = tmp_path / "bad.toml"
    catalog.write_text(change((PROJECT / "tests/environments/ridge/catalog.toml").read_text()))
    write_campaign(home.campaigns, ideators=[{"model": "catalog", "name": str(catalog)}])
    with pytest.raises(VarveError, match=f"malformed catalog .*{said}"):
        search_all(home)


def test_damaged_results_and_data_are_made_again(home):
    search_all(home)
    for result in home.jobs.glob("*/result.json"):
        result.write_text("{oops")
    for hidden in home.data.glob("*/hidden"):
        shutil.rmtree(hidden)
    write_campaign(home.campaigns, epochs=4)
    search_all(home)
    scored = [s for s in rows(home, Score) if s.epoch == 3]
    assert any(s.value is not None for s in scored)
    assert not any(s.blame is Blame.SETUP for s in scored)
