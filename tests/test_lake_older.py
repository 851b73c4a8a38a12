"""A lake that was made before this version is read as if it had been made by it.

`golden/lakes/schema_3.tar.gz` was made by the code whose tables had the evaluator's report as one
text: two epochs of the small campaign, with confirmations, and a rerun of the second one's runs and
scores.
"""

import json
import tarfile
from dataclasses import replace

import pytest
from conftest import PROJECT

from lake import Lake, query
from lake.tables import Run, RunStatus, Score
from launchers import JobResult

MADE = PROJECT / "tests" / "golden" / "lakes" / "schema_3.tar.gz"


@pytest.fixture
def old(tmp_path) -> Lake:
    with tarfile.open(MADE) as packed:
        packed.extractall(tmp_path, filter="data")
    return Lake.open(tmp_path / "lake")


def test_old_runs_have_the_value_and_the_measures_that_their_scores_have(old):
    assert old.version(Run) == 3
    scores = {score.run_id: score for score in old.read(Score)}
    runs = old.read(Run)
    assert len(runs) == len(scores) == 18
    for run in runs:
        score = scores[run.run_id]
        assert run.value == score.value
        assert (run.value is None) == (run.status is RunStatus.FAILED)
        assert run.measures == score.measures
        assert run.verdicts.items() <= score.verdicts.items()


def test_sql_sees_the_same_as_the_rows(old):
    told = query(old, "select run_id, value, measures, verdicts from runs_history").rows
    read = {run.run_id: (run.value, run.measures, run.verdicts) for run in old.read(Run)}
    assert {run_id: (value, m or {}, v or {}) for run_id, value, m, v in told} == read
    best = query(old, "select title, value, confirmed from leaderboard order by reward desc").rows
    assert best[0][2] == 2
    assert len(best) == 7


def test_rows_of_both_schemas_stand_side_by_side(old):
    run = old.read(Run)[0]
    told = {"value": 0.5, "measures": {"points": 1.0}, "step_cpu_seconds": {"train": 0.25}}
    old.append([replace(run, run_id="new", **told)])
    old.append([replace(run, run_id="newer", value=None)])
    again = Lake.open(old.uri)
    again.append([replace(run, run_id="newest", value=0.75)])
    assert again.version(Run) == 4
    found = {row.run_id: row for row in again.read(Run)}
    assert (found["new"].value, found["new"].measures) == (0.5, {"points": 1.0})
    assert found["new"].step_cpu_seconds == {"train": 0.25}
    assert (found["newer"].value, found["newest"].value) == (None, 0.75)
    assert found[run.run_id] == run
    asked = "select run_id, value from runs_history where run_id like 'new%'"
    assert dict(query(again, asked).rows) == {"new": 0.5, "newer": None, "newest": 0.75}


def test_an_end_that_was_recorded_before_jobs_had_steps_is_read(old):
    details = query(old, "select detail from run_events where kind = 'finished'").rows
    assert len(details) == 12
    for (detail,) in details:
        told = json.loads(detail)["result"]
        result = JobResult.from_json(json.dumps(told))
        assert result.evaluation.value == told["evaluation"]["value"]
        assert result.cpu_seconds("train") == told["cpu_seconds"]
        assert result.wall_seconds("score") == told["score_wall_seconds"]
