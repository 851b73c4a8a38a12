"""Which settings may change under an open attempt: all but those that decide what it asks."""

import json
from contextlib import closing

import pytest
from conftest import SMALL

from assets.attempt.decisive import abandon_other_settings
from assets.config.settings import CampaignSettings
from assets.work import WORKS
from lake import Journal, Lake, Stage, Writer
from lake.writer import Origin

SERVER = {"protocol": "openai_chat", "base_url": "http://127.0.0.1:1/v1"}
MOVED = SERVER | {"base_url": "http://127.0.0.1:2/v1"}
ASKING = {
    "ideators": [{"model": "dreamer", "name": "m"}, {"model": "catalog"}],
    "implementer": {"model": "writer", "name": "m"},
    "providers": {"dreamer": SERVER, "writer": SERVER, "unused": SERVER},
}


def config(**changes) -> str:
    settings = CampaignSettings.model_validate(SMALL | ASKING | changes)
    return json.dumps({"identity": {"metric": "loss"}, "settings": settings.model_dump()})


def moved(*names: str) -> dict:
    return {"providers": ASKING["providers"] | dict.fromkeys(names, MOVED)}


def reason_under(tmp_path, stage: Stage, now: str) -> str | None:
    """Why an attempt that was opened under `config()` is abandoned; None where it stays open."""
    with closing(Journal.open(tmp_path / "journal.db")) as journal:
        writer = Writer(Lake.open(tmp_path / "lake"), journal, "small")
        begun = writer.begin(0, stage, origin=Origin(config=config())).attempt
        abandon_other_settings(writer, begun, now, WORKS[stage].decided_by)
        (attempt,) = writer.log.attempts(0, stage)
        return attempt.reason if attempt.state.value == "abandoned" else None


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(
    ("provider", "asked_by"),
    [("dreamer", Stage.IDEAS), ("writer", Stage.PATCHES), ("unused", None)],
)
def test_another_provider_counts_where_it_is_asked(tmp_path, stage, provider, asked_by):
    reason = reason_under(tmp_path, stage, config(**moved(provider)))
    if stage is asked_by:
        assert reason is not None
        assert reason.endswith("changed since it was opened: providers")
    else:
        assert reason is None


@pytest.mark.parametrize("stage", Stage)
def test_how_much_at_once_and_for_how_much_never_counts(tmp_path, stage):
    providers = {name: SERVER | {"concurrency": 3, "tries": 9} for name in ASKING["providers"]}
    now = config(providers=providers, launcher={"slots": 7}, budget={"max_gpu_hours": 1.0})
    assert reason_under(tmp_path, stage, now) is None


def test_every_setting_that_decides_is_named(tmp_path):
    now = config(seed=7, implementer={"model": "writer", "name": "other"})
    assert reason_under(tmp_path, Stage.PATCHES, now).endswith(": implementer, seed")
