"""The deep audit: what becomes a parent or the winner has passed it, and its verdict is stored.

The campaign runs on a copy of the small environment whose evaluate.py counts cuts; asked for more
than a few, it finds a leak in every model that sees sines.
"""

import dataclasses
import json
import shutil
from datetime import datetime

import pytest
from campaigns import PressedAfter, materialize, opened, rows, search_all
from conftest import PROJECT, write_campaign
from hypothesis import given
from hypothesis import strategies as st

from assets.attempt.monitor import Hooks, Stop
from assets.errors import Interrupted, VarveError
from assets.results.better import Better
from assets.scores import audits
from assets.scores.candidates import to_audit
from assets.scores.verdicts import judged
from lake.tables import (
    Blame,
    Idea,
    Patch,
    Run,
    RunEvent,
    RunEventKind,
    Score,
    ScoreStatus,
    Selection,
    SelectionRole,
    Stage,
)
from launchers import Evaluation, JobResult

pytestmark = pytest.mark.trains

CUTS, DEEP = 10, 50
LOW, HIGH = Better(minimize=True), Better(minimize=False)
COUNTING = '''
def audited(report, given, weights_seen):
    """Counts the cuts that were asked for."""
    cuts = int(given["--cuts"])
    report["measures"]["cuts"] = cuts
    report["verdicts"]["causal"] = f"passed: {cuts} cuts"
    if cuts > 10 and "3.0," in open("../env/model/features.py").read().split("WAVES")[1][:40]:
        report |= {"value": None, "blame": "guard", "reason": "answers moved with the future"}
        report["verdicts"]["causal"] = "violated: 3 of 40 rows moved"
    return report


'''


@pytest.fixture
def audited_home(home, tmp_path):
    """A home whose campaign audits the two best of each epoch."""
    environment = shutil.copytree(PROJECT / "tests/environments/ridge", tmp_path / "audited")
    manifest = environment / "pyproject.toml"
    rule = f"floor = 0.99\naudit = {{ cuts = {CUTS}, deep = {DEEP} }}"
    manifest.write_text(manifest.read_text().replace("floor = 0.99", rule))
    evaluate = environment / "evaluate.py"
    text = evaluate.read_text().replace("def main()", f"{COUNTING.lstrip()}def main()")
    whole = 'report | {"verdicts": verdicts, "measures": measures}'
    assert whole in text
    text = text.replace(whole, f"audited({whole}, given, None)")
    evaluate.write_text(text)
    write_campaign(
        home.campaigns,
        environment=str(environment),
        strategy={"kind": "evolution", "ideas_per_call": 2, "parents": 2},
    )
    return home


@pytest.fixture
def searched(audited_home):
    search_all(audited_home)
    return audited_home


def titles(home) -> dict[str, str]:
    """Titles of ideas by run id."""
    ideas = {idea.idea_id: idea.title for idea in rows(home, Idea)}
    patches = {patch.patch_id: ideas[patch.idea_id] for patch in rows(home, Patch)}
    return {run.run_id: patches[run.patch_id] for run in rows(home, Run)}


def test_what_leaks_is_refused_when_it_is_about_to_win_and_its_row_stays(searched):
    named = titles(searched)
    scores = rows(searched, Score)
    caught = [s for s in scores if s.blame is Blame.GUARD]
    assert caught
    for score in caught:
        assert "sines" in named[score.run_id].lower()
        assert score.value is None
        assert score.reward is None
        assert score.status is ScoreStatus.INVALID
        assert score.reason == "deep audit: answers moved with the future"
        assert score.verdicts["audit"] == "violated: answers moved with the future"
        assert score.verdicts["causal"] == f"passed: {CUTS} cuts"


def test_only_audited_ideas_are_parents_and_the_best(searched):
    by_idea = {}
    patches = {patch.patch_id: patch.idea_id for patch in rows(searched, Patch)}
    runs = {run.run_id: patches[run.patch_id] for run in rows(searched, Run)}
    for score in rows(searched, Score):
        by_idea[runs[score.run_id]] = score
    parents = [s for s in rows(searched, Selection) if s.role is SelectionRole.PARENT]
    assert parents
    assert all(by_idea[p.idea_id].measures["cuts"] >= DEEP for p in parents)
    best = opened(searched).summary().best
    assert best.cuts >= DEEP
    assert "passed" in best.score.verdicts["audit"]


def test_baselines_and_the_also_rans_are_not_audited(searched):
    plain = [s for s in rows(searched, Score) if s.value is not None and "audit" not in s.verdicts]
    assert any(titles(searched)[s.run_id] == "Baseline" for s in plain)
    assert all(s.measures["cuts"] == CUTS for s in plain)


def test_a_rerun_takes_over_the_verdict_of_the_same_outputs(searched):
    before = {s.run_id: s for s in rows(searched, Score)}
    materialize(searched, 0, list(Stage)[2:])
    again = [r for r in rows(searched, Run) if r.epoch == 0 and r.n == 1 and r.reused_from]
    scores = {s.run_id: s for s in rows(searched, Score)}
    carried = [r for r in again if "audit" in before[r.reused_from].verdicts]
    assert carried
    for run in carried:
        now, then = scores[run.run_id], before[run.reused_from]
        assert (now.value, now.measures["cuts"]) == (then.value, then.measures["cuts"])
        assert (now.reason, now.blame) == (then.reason, then.blame)
        assert now.verdicts["audit"] == then.verdicts["audit"]
        assert now.verdicts["audit_level"] == then.verdicts["audit_level"] == "bwrap"


def test_an_audit_is_intended_in_the_lake_before_anything_is_submitted(searched):
    events = [e for e in rows(searched, RunEvent) if e.stage is Stage.SCORES]
    begun = {e.run_id: e.created_at for e in events if e.kind is RunEventKind.INTENDED}
    ended = {e.run_id for e in events if e.kind in (RunEventKind.FINISHED, RunEventKind.FAILED)}
    assert begun
    assert begun.keys() == ended
    for run_id, intended in begun.items():
        first = (searched.jobs / run_id / "events.jsonl").read_text().splitlines()[0]
        assert intended <= datetime.fromisoformat(json.loads(first)["at"])


values = st.lists(st.floats(0, 10, allow_nan=False), min_size=0, max_size=8)


@given(now=values, earlier=values, bar=st.none() | st.floats(0, 10), places=st.integers(1, 4))
def test_the_first_is_always_audited_and_never_more_than_there_are_places(
    now, earlier, bar, places
):
    named = {f"{i:02}": value for i, value in enumerate(now)}
    chosen = to_audit(named, earlier, bars=dict.fromkeys(named, bar), places=places, better=LOW)
    assert len(chosen) <= max(places, 1)
    assert chosen == sorted(chosen, key=lambda run: (named[run], run))
    if now and all(min(now) < other for other in earlier):
        assert min(named, key=lambda run: (named[run], run)) in chosen
    for run in chosen:
        assert sum(other < named[run] for other in [*now, *earlier]) < places
        best_of_all = min([*now, *earlier])
        assert named[run] == best_of_all or (bar is not None and named[run] < bar)


def test_the_direction_of_the_metric_counts():
    named = {"a": 1.0, "b": 2.0, "c": 3.0}
    bars = dict.fromkeys(named, 1.5)
    assert to_audit(named, [], bars=bars, places=2, better=LOW) == ["a"]
    assert to_audit(named, [], bars=bars, places=2, better=HIGH) == ["c", "b"]
    assert to_audit(named, [2.5], bars=dict.fromkeys(named), places=2, better=HIGH) == ["c"]


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_the_audits_leaves_the_stage_open_and_nothing_is_decided(audited_home, times):
    stop = Stop()
    hooks = Hooks(monitor=PressedAfter(stop, done=0, times=times, what="audits"), stop=stop)
    with pytest.raises(Interrupted):
        search_all(audited_home, hooks=hooks)
    assert not rows(audited_home, Score)
    search_all(audited_home)
    best = opened(audited_home).summary().best
    assert best.cuts >= DEEP


def test_an_audit_that_the_machine_fails_leaves_the_stage_open(audited_home, monkeypatch):
    """The outputs are other bytes than those that were scored: a fault of the disk."""
    real = audits.audit_spec

    def damaged(context, one):
        spec = real(context, one)
        take = dataclasses.replace(spec.steps[0], hashes={"weights.json": "0" * 64})
        return dataclasses.replace(spec, steps=(take, *spec.steps[1:]))

    monkeypatch.setattr(audits, "audit_spec", damaged)
    said = r"audit of run .* failed more than once .*: .* repair what .*/runs/[0-9a-f]{16} shows"
    with pytest.raises(VarveError, match=said):
        search_all(audited_home)
    assert not rows(audited_home, Score)
    monkeypatch.undo()
    search_all(audited_home)
    assert all("not audited" not in s.verdicts.get("audit", "") for s in rows(audited_home, Score))


def test_what_cannot_be_audited_leaves_its_place_to_the_next(audited_home, monkeypatch):
    monkeypatch.setattr(audits, "audit_spec", lambda context, one: None)
    search_all(audited_home)
    first = [s for s in rows(audited_home, Score) if s.epoch == 0 and "audit" in s.verdicts]
    assert len(first) >= 3
    assert {s.verdicts["audit"] for s in first} == {"not audited: the outputs of its run are gone"}
    assert not [s for s in rows(audited_home, Selection) if s.role is SelectionRole.PARENT]
    assert opened(audited_home).summary().best is None


def test_fewer_cuts_than_were_asked_for_are_no_pass(searched):
    score = next(s for s in rows(searched, Score) if s.value is not None)
    again = result(score.value, measures={"cuts": 3}, verdicts={"causal": "passed"})
    found = judged(score, again, deep=10**6)
    assert found.verdicts["audit"].startswith("not audited: found")
    assert found.value == score.value


def test_another_value_the_second_time_is_refused(searched):
    score = next(s for s in rows(searched, Score) if s.value is not None)
    found = judged(score, result(score.value + 0.1, measures={"cuts": 10**6}), deep=1)
    assert (found.value, found.blame) == (None, Blame.GUARD)


def result(value: float, **told) -> JobResult:
    """What an audit came to."""
    evaluation = Evaluation(metric="r2", value=value, **told)
    return JobResult(
        run_id="audit",
        run_key="k",
        status="finished",
        evaluations={"score": evaluation},
        sandbox_level="bwrap",
    )
