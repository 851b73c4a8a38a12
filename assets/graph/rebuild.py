"""Dagster's history made again from the lake, where the old one is damaged or lost.

What people see of a campaign in the UI, which epochs have which stages, is in the lake too; logs of
runs, ticks and backfills are not, and stay in the folder that is set aside. Nothing is started.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets.attempt.lock import held
from assets.config.home import Home
from assets.config.settings import campaign_names
from assets.graph.campaign import (
    DATA_VERSION_TAG,
    asset_key,
    epoch_key,
    read_attempts,
    score_observation,
)
from assets.graph.instance import open_instance
from lake.attempts import Attempt, AttemptState
from lake.stages import stages_of
from lake.tables import Stage, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What became of a history."""

    aside: Path | None
    """Where the old one lies; None where there was none."""
    attempts: int
    """Complete attempts that the new one shows."""


def rebuild_history(home: Home) -> Rebuilt:
    """Set the history aside and make it again; nobody may work on a campaign meanwhile.

    Raises:
        HeldError: a search or a UI of this home is running.
        StorageError: the lake cannot be read.
    """
    doing = "varve rebuild-history"
    campaigns = campaign_names(home.campaigns)
    with ExitStack() as locks:
        for name in (".ui", *campaigns):
            locks.enter_context(held(home.lock(name), doing=doing))
        attempts = [attempt for name in campaigns for attempt in _complete(home, name)]
        aside = _set_aside(home.dagster)
        with open_instance(home, campaigns) as instance:
            for attempt in attempts:
                instance.report_runless_asset_event(_materialized(attempt))
                if attempt.stage is Stage.SCORES:
                    instance.report_runless_asset_event(score_observation(attempt))
    return Rebuilt(aside=aside, attempts=len(attempts))


def _set_aside(folder: Path) -> Path | None:
    if not folder.exists():
        return None
    aside = folder.with_name(f"{folder.name}.{now():%Y%m%dT%H%M%S}")
    folder.rename(aside)
    return aside


def _complete(home: Home, campaign: str) -> Iterator[Attempt]:
    """The complete attempts of a campaign, in the order of the work."""
    log = read_attempts(home, campaign)
    for epoch in log.epochs():
        for stage in stages_of():
            found = log.attempts(epoch, stage)
            yield from (each for each in found if each.state is AttemptState.COMPLETE)


def _materialized(attempt: Attempt) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key(attempt.campaign, attempt.stage),
        partition=epoch_key(attempt.epoch),
        description="Made again from the lake.",
        metadata={"attempt": attempt.n, **attempt.counts},
        tags={DATA_VERSION_TAG: str(attempt.read)},
    )
