"""Settings that decide what an open attempt asks and runs: it is not resumed under others."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ValidationError

from assets.config.roles import Role
from assets.config.settings import CampaignSettings, recorded_settings
from lake.attempts import Attempt
from lake.writer import Writer

WHO = ("protocol", "base_url")
"""The parts of a provider that decide who answers."""


def abandon_other_settings(
    writer: Writer, begun: Attempt, config: str, decided_by: Collection[str]
) -> None:
    """Close an open attempt that was begun under other settings: going on would mix them.

    Args:
        writer: of the campaign.
        begun: the open attempt.
        config: JSON of the settings and the identity as they are now.
        decided_by: settings that decide what its stage asks and runs.
    """
    then, now = (_decisive(each, decided_by) for each in (begun.config or "{}", config))
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if changed:
        what = ", ".join(changed)
        writer.abandon(begun, f"the campaign's settings have changed since it was opened: {what}")


def _decisive(config: str, decided_by: Collection[str]) -> dict[str, Any]:
    """What in a configuration decides what the stage asks and runs, as this version reads it."""
    found: dict[str, Any] = json.loads(config)
    try:
        settings = recorded_settings(config)
    except ValidationError:  # written by a version with other keys
        return found
    told = settings.model_dump(include={"seed", *decided_by})
    providers = settings.all_providers
    asked = {role.model for role in _asked(settings, decided_by)}
    told["providers"] = {
        name: [getattr(providers[name], key) for key in WHO] for name in asked & providers.keys()
    }
    return told | {"identity": found.get("identity")}


def _asked(settings: CampaignSettings, decided_by: Collection[str]) -> Iterator[Role]:
    """The roles whose models a stage asks: those among the settings that decide it."""
    if "ideators" in decided_by:
        yield from settings.ideators
    if "implementer" in decided_by:
        yield settings.implementer
