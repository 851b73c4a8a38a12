"""`varve show`: find a row by its id, gather what belongs to it, and print its story."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeVar

import click

from assets.config.environment import find_environment, read_environment
from assets.config.home import Home
from assets.config.settings import read_campaign
from assets.errors import VarveError
from assets.results.baseline import OwnBaseline
from assets.results.better import Better
from assets.results.history import History
from assets.results.noise import Noise, pooled_noise
from assets.terminal.story import Story, tell
from lake import Lake, query
from lake.ids import DIGITS
from lake.tables import Idea, Patch, Row, Run, Score

R = TypeVar("R", bound=Row)

LEAST_DIGITS = 6
MOST_MATCHES = 20
SHOWN: tuple[type[Row], ...] = (Idea, Patch, Run, Score)
ABOVE: Mapping[str, tuple[type[Row], str]] = {
    "score_id": (Score, "run_id"),
    "run_id": (Run, "patch_id"),
    "patch_id": (Patch, "idea_id"),
}
"""The table of an id, and the column of it that leads one row nearer to the idea."""


class Found(NamedTuple):
    """Where a row is."""

    key: str
    """Column of its id: idea_id, patch_id, run_id or score_id."""
    identity: str
    campaign: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.key} {self.identity} (campaign {self.campaign}, epoch {self.epoch:04d})"

    def of(self, row_type: type[Row]) -> set[str]:
        """The id, if it is one of this table."""
        return {self.identity} if self.key == row_type.key else set()


class Reference(NamedTuple):
    """What values of a campaign are compared with."""

    noise: Noise | None
    minimize: bool


def show(home: Home, identity: str, *, diff: bool) -> None:
    """Print what became of the idea behind an id, or the part of it that the id is about.

    Args:
        home: where the lake is.
        identity: an id of an idea, patch, run or score, or its beginning.
        diff: whether diffs are shown.

    Raises:
        VarveError: if nothing or more than one thing has such an id.
    """
    lake = Lake.open(home.lake)
    found = find_row(lake, identity)
    for line in tell(gather(home, lake, found), diff=diff):
        click.echo(line)


def find_row(lake: Lake, identity: str) -> Found:
    """The one row that has this id, in any attempt.

    Raises:
        VarveError: if there is none or several, or the id is too short.
    """
    prefix = identity.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{LEAST_DIGITS},{DIGITS}}}", prefix):
        raise VarveError(
            f"found the id {identity!r}, expected {LEAST_DIGITS} to {DIGITS} hexadecimal digits: "
            "the idea_id, patch_id, run_id or score_id that `varve sql` shows, or its beginning"
        )
    places = [f"{row_type.table}_history" for row_type in SHOWN]
    each = (
        f"SELECT '{row_type.key}', {row_type.key}, campaign, epoch FROM {place} "
        f"WHERE starts_with({row_type.key}, '{prefix}')"
        for row_type, place in zip(SHOWN, places, strict=True)
    )
    rows = query(lake, f"{' UNION '.join(each)} ORDER BY ALL LIMIT {MOST_MATCHES + 1}").rows
    if not rows:
        raise VarveError(
            f"{lake.uri}: no id begins with {prefix!r}; searched {', '.join(places)}. Expected an "
            'id such as `varve sql "select idea_id, run_id, title from leaderboard"` shows'
        )
    if len(rows) > 1:
        matches = "".join(f"\n  {Found(*row)}" for row in rows[:MOST_MATCHES])
        more = "\n  and more" if len(rows) > MOST_MATCHES else ""
        raise VarveError(f"several ids begin with {prefix!r}; give more digits:{matches}{more}")
    return Found(*rows[0])


def idea_above(lake: Lake, found: Found) -> str:
    """The id of the idea that a row belongs to."""
    key, identity = found.key, found.identity
    while key in ABOVE:
        row_type, above = ABOVE[key]
        at = (found.campaign, found.epoch)
        row = lake.read(row_type, campaign=at[0], epoch=at[1], where={key: {identity}})[0]
        key, identity = above, getattr(row, above)
    return identity


def gather(home: Home, lake: Lake, found: Found) -> Story:
    """The idea above a row and all that is below it, without the other branches."""

    def rows(row_type: type[R], column: str, ids: Collection[str]) -> list[R]:
        at = (found.campaign, found.epoch)
        return lake.read(row_type, campaign=at[0], epoch=at[1], where={column: ids}) if ids else []

    scores = rows(Score, "score_id", found.of(Score))
    runs = rows(Run, "run_id", found.of(Run) | {score.run_id for score in scores})
    patches = rows(Patch, "patch_id", found.of(Patch) | {run.patch_id for run in runs})
    ideas = rows(Idea, "idea_id", found.of(Idea) | {patch.idea_id for patch in patches})
    patches = patches or rows(Patch, "idea_id", {idea.idea_id for idea in ideas})
    runs = runs or rows(Run, "patch_id", {patch.patch_id for patch in patches})
    scores = scores or rows(Score, "run_id", {run.run_id for run in runs})
    reference = _reference(home, lake, found.campaign)
    return Story(
        idea=ideas[0],
        parents=lake.read(Idea, campaign=found.campaign, where={"idea_id": ideas[0].parents}),
        patches=patches,
        runs=runs,
        scores=scores,
        current=_current(lake, found),
        noise=reference.noise,
        minimize=reference.minimize,
    )


def _current(lake: Lake, found: Found) -> frozenset[tuple[str, int]]:
    """Id and attempt of the current rows of an epoch."""
    return frozenset(
        (getattr(row, row_type.key), row.n)
        for row_type in SHOWN
        for row in lake.current(row_type, found.campaign, epoch=found.epoch)
    )


def _reference(home: Home, lake: Lake, campaign: str) -> Reference:
    """The campaign's baseline; unknown where its settings or its environment cannot be read."""
    try:
        settings = read_campaign(home.campaigns, campaign)
        environment = read_environment(find_environment(settings.environment))
        profile = environment.profile(settings.profile)
    except VarveError:
        return Reference(noise=None, minimize=True)
    layer = History(lake, lake.attempts(campaign), campaign).layer(0)
    own = OwnBaseline.of(layer)
    better = Better.of(environment.manifest)
    return Reference(noise=pooled_noise(profile.baseline, own), minimize=better.minimize)
