"""What a campaign was recorded under, and what its models said, read from the lake."""

from pydantic import ValidationError

from assets.config.settings import CampaignSettings, recorded_settings
from assets.errors import CampaignError
from assets.models.recorded import Recording
from assets.models.requests import Finish
from assets.models.roles import Recordings
from lake.delta import Lake
from lake.tables import Completion, Stage


def recordings_of(lake: Lake) -> Recordings:
    """The recorded campaigns of a lake."""
    return Recordings(
        settings=lambda campaign: _settings(lake, campaign),
        recording=lambda campaign: _recording(lake, campaign),
    )


def _settings(lake: Lake, campaign: str) -> CampaignSettings:
    """The settings of the campaign's newest ideas attempt."""
    log = lake.attempts(campaign)
    attempts = [log.newest(epoch, Stage.IDEAS) for epoch in log.epochs()]
    configs = [attempt.config for attempt in attempts if attempt and attempt.config]
    if not configs:
        raise CampaignError(
            f"{lake.uri}: campaign {campaign!r} has no complete ideas; expected the name of a "
            "campaign that was run, for a recorded model to repeat"
        )
    try:
        return recorded_settings(configs[-1])
    except ValidationError as error:
        raise CampaignError(
            f"{lake.uri}: the settings under which {campaign!r} was recorded cannot be read by "
            f"this version: {error.errors(include_url=False, include_input=False)[0]['msg']}"
        ) from error


def _recording(lake: Lake, campaign: str) -> Recording:
    """The completions of the campaign's current attempts; an answer goes before failed calls."""
    log = lake.attempts(campaign)
    current = {
        (epoch, stage): attempt.n
        for epoch in log.epochs()
        for stage, attempt in log.current(epoch).items()
    }
    rows = lake.read(Completion, campaign=campaign)
    rows.sort(key=lambda row: row.finish_reason != Finish.ERROR)
    return Recording(
        campaign=campaign,
        completions={
            (row.epoch, row.stage, row.role, row.ordinal, row.revision): row
            for row in rows
            if current.get((row.epoch, row.stage)) == row.n
        },
    )
