"""The attacks that run on the small environment: at every level, as whoever runs the tests and,
where that is root, behind every wall as an ordinary user too.
"""

import pytest
from redteam import accounts, field
from redteam.corpus import read_corpus
from redteam.world import MYSELF, Account

pytestmark = pytest.mark.trains

RUNS = [
    pytest.param(item, level, account, id=f"{item.id}-{level}-{account.name}")
    for item in read_corpus()
    if item.environment == "ridge"
    and item.answer is not None
    and set(item.verdict.values()) != {"refused-diff"}
    for level in item.levels
    for account in accounts.accounts()
    if account is MYSELF or level != "none" or level in item.user
]


def require(level: str, account: Account) -> None:
    """Skips where the machine cannot have the level; fails where it could and has not."""
    if (why := accounts.lacks(account)) is not None:
        pytest.skip(why)
    works, said = accounts.finding(level, account)
    if not works and level == "landlock":
        pytest.skip(f"level landlock does not work here: {said}")
    assert works, f"level {level} does not work as {account.name}: {said}"


@pytest.mark.parametrize(("item", "level", "account"), RUNS)
def test_what_comes_of_it(item, level, account):
    require(level, account)
    expected = (
        "full-score"
        if item.honest
        else item.expected(level, ordinary=accounts.is_ordinary(account))
    )
    if expected == "open" and item.needs and (why := accounts.missing(item.needs, account)):
        pytest.skip(why)
    seen = field.run_item(item, level, account)
    if expected == "open" and seen.verdict != expected:
        # what only shows that an attack is real may fail once by noise, such as the limit on
        # the tenth of a second that scoring takes here; a verdict that guards has one try
        seen = field.run_item(item, level, account)
    assert seen.verdict == expected, f"{item.summary}\n{seen}"
    if item.honest:
        assert seen.value == field.baseline_value(account)
