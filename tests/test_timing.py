"""What looks dear is trained again, beside the unpatched code, before its value is refused."""

import shutil
from pathlib import Path

import pytest
from campaigns import rows, search_all
from conftest import PROJECT, write_campaign

from assets.attempt.monitor import Hooks
from assets.config.home import Home
from lake.tables import Blame, Idea, Patch, Run, RunEvent, Score, Stage

pytestmark = pytest.mark.trains

PAUSE = "time.sleep(PAUSE_SECONDS)\n"
DEAR = """
while time.process_time() < {seconds}:
    pass
"""
ONCE = """
if not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    while time.process_time() < {seconds}:
        pass
"""
CATALOG = """
[[ideas]]
name = "dear"
title = "dear"
text = "Works longer."
[[ideas.edits]]
file = "train.py"
search = '''time.sleep(PAUSE_SECONDS)
'''
replace = '''{lines}'''
"""


def searched(home: Home, tmp_path: Path, lines: str) -> tuple[Score, list[RunEvent]]:
    """The score of the only idea of a campaign that counts processor time, and the stage's jobs."""
    ridge = shutil.copytree(PROJECT / "tests/environments/ridge", tmp_path / "ridge")
    manifest = ridge / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('compute = "wall"', 'compute = "cpu"'))
    train = ridge / "train.py"
    train.write_text(train.read_text().replace(PAUSE, f"{DEAR.format(seconds=0.5)}{PAUSE}"))
    (ridge / "catalog.toml").write_text(CATALOG.format(lines=lines))
    catalog = [{"model": "catalog"}]
    write_campaign(home.campaigns, environment=str(ridge), epochs=1, batch=1, ideators=catalog)
    search_all(home, hooks=Hooks(sandbox="none"))
    idea = next(each for each in rows(home, Idea) if each.title == "dear")
    (patch,) = [each for each in rows(home, Patch) if each.idea_id == idea.idea_id]
    (run,) = [each for each in rows(home, Run) if each.patch_id == patch.patch_id]
    (score,) = [each for each in rows(home, Score) if each.run_id == run.run_id]
    return score, [each for each in rows(home, RunEvent) if each.stage is Stage.SCORES]


def test_what_was_dear_by_chance_counts_when_it_is_timed_again(home, tmp_path):
    mark = str(tmp_path / "it was slow once")
    score, jobs = searched(home, tmp_path, ONCE.format(mark=mark, seconds=0.7))
    assert score.value is not None, score.reason
    assert score.measures["compute"] <= 1.2
    assert score.verdicts["compute"].startswith("passed: timed again, ")
    assert len({each.run_id for each in jobs}) == 2


def test_what_is_dear_again_has_no_value(home, tmp_path):
    score, jobs = searched(home, tmp_path, DEAR.format(seconds=0.7))
    assert (score.value, score.blame) == (None, Blame.TIMEOUT)
    assert score.reason.startswith("timed again, ")
    assert 1.2 < score.measures["compute"] < 1.5
    assert len({each.run_id for each in jobs}) == 2


def test_what_is_far_above_the_limit_is_not_timed_again(home, tmp_path):
    score, jobs = searched(home, tmp_path, DEAR.format(seconds=1.2))
    assert (score.value, score.blame) == (None, Blame.TIMEOUT)
    assert jobs == []


def test_what_is_cheap_is_not_timed_again(home, tmp_path):
    score, jobs = searched(home, tmp_path, "pass\n")
    assert score.value is not None
    assert jobs == []
