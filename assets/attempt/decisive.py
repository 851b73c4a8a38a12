"""Settings that decide what an open attempt asks and runs: under others it is not gone on with."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assets.config.settings import recorded_settings
from lake.tables import Stage
from lake.writer import Writer

DECIDES: Mapping[Stage, tuple[str, ...]] = {
    Stage.EVOLUTION: ("strategy",),
    Stage.IDEAS: ("strategy", "batch", "ideators", "novelty"),
    Stage.PATCHES: ("implementer",),
    Stage.RUNS: ("confirm", "remeasure"),
    Stage.SCORES: ("strategy", "confirm"),
}
"""The others may change while an attempt is open: how much at once and how much money, or what
another stage does."""
WHO = ("protocol", "base_url")
"""Of a provider, what decides who answers."""


def abandon_other_settings(writer: Writer, stage: Stage, epoch: int, config: str) -> None:
    """Close an open attempt that was begun under other settings: going on would mix them.

    Args:
        writer: of the campaign.
        stage: of the attempt.
        epoch: of the attempt.
        config: JSON of the settings and the identity as they are now.
    """
    begun = writer.log.open(epoch, stage)
    if begun is None:
        return
    then, now = _decisive(stage, begun.config or "{}"), _decisive(stage, config)
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if changed:
        what = ", ".join(changed)
        writer.abandon(begun, f"the campaign's settings have changed since it was opened: {what}")


def _decisive(stage: Stage, config: str) -> dict[str, Any]:
    """What of a configuration decides what the stage asks and runs; as this version reads it."""
    found: dict[str, Any] = json.loads(config)
    try:
        settings = recorded_settings(config)
    except ValidationError:  # of a version with other keys
        return found
    told = settings.model_dump(include={"seed", *DECIDES[stage]})
    asked = {role.model for role in (*settings.ideators, settings.implementer)}
    providers = settings.all_providers
    told["providers"] = {
        name: [getattr(providers[name], key) for key in WHO] for name in asked & providers.keys()
    }
    return told | {"identity": found.get("identity")}
