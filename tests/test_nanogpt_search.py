"""A real search on nanogpt, as small as can be: the baseline, and ideas that cheat on compute."""

import pytest
from campaigns import rows, search_all
from conftest import write_campaign

from lake import query
from lake.tables import Blame, Score, ScoreStatus

pytestmark = pytest.mark.trains

CATALOG = """
[[ideas]]
name = "three-times"
title = "Three times the steps"
text = "More steps, lower loss."
[[ideas.edits]]
file = "train.py"
search = 'STEPS = 500'
replace = 'STEPS = 3 * 500'
"""


@pytest.mark.timeout(600)
def test_three_times_the_steps_gives_no_score_and_the_blame_is_timeout(home):
    catalog = home.root.parent / "catalog.toml"
    catalog.write_text(CATALOG)
    write_campaign(
        home.campaigns,
        environment="nanogpt",
        published=True,
        epochs=1,
        batch=1,
        ideators=[{"model": "catalog", "name": str(catalog)}],
    )
    search_all(home)
    valid = [s for s in rows(home, Score) if s.status is ScoreStatus.VALID]
    (cheat,) = [s for s in rows(home, Score) if s.status is ScoreStatus.INVALID]
    assert len(valid) == 3
    assert all(2.48 < s.value < 2.6 for s in valid)
    assert (cheat.value, cheat.reward, cheat.blame) == (None, None, Blame.TIMEOUT)
    assert "1.5x" in cheat.reason or "CPU" in cheat.reason
    found = query(home.lake, "select kind, value, blame from leaderboard order by kind").rows
    assert [(kind, blame) for kind, _, blame in found] == [("baseline", None), ("fresh", "timeout")]
    sizes = "select distinct parameters, checkpoint_bytes from leaderboard where value is not null"
    ((parameters, checkpoint),) = query(home.lake, sizes).rows
    assert parameters == 118_784
    assert 4 * parameters < checkpoint < 4 * parameters + 4096
