"""What a campaign measures, fixed by its first attempt so that all its scores can be compared."""

import json
from dataclasses import asdict, dataclass

from assets.config.data import PreparedData
from assets.config.environment import Environment, resolved_profile
from assets.errors import IdentityError
from lake.attempts import AttemptLog
from lake.ids import content_hash
from lake.tables import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything that two scores must share to be compared."""

    environment: str
    """Hash of the pristine tree."""
    profile: str
    """Name and hash."""
    metric: str
    direction: str
    evaluator: str


def evaluator_hash(environment: Environment, data: PreparedData) -> str:
    """Hash of the scoring files, the hidden data, the audit settings and the floor."""
    manifest = environment.manifest
    return content_hash(
        environment.scoring_hash(),
        data.hidden_hash,
        manifest.audit.model_dump(),
        manifest.floor,
    )


def identify(environment: Environment, profile: str, data: PreparedData) -> Identity:
    """The identity of a campaign, given its environment as it is now."""
    manifest = environment.manifest
    return Identity(
        environment=environment.tree,
        profile=f"{profile}:{resolved_profile(manifest.profiles[profile])}",
        metric=manifest.metric,
        direction=manifest.direction,
        evaluator=evaluator_hash(environment, data),
    )


def check_identity(campaign: str, now: Identity, log: AttemptLog) -> None:
    """Compare with what the campaign's first attempt recorded.

    Raises:
        IdentityError: naming both values and the way out.
    """
    attempts = [a for epoch in log.epochs() for stage in Stage for a in log.attempts(epoch, stage)]
    first = next((json.loads(a.config)["identity"] for a in attempts if a.config), None)
    for part, found in asdict(now).items():
        if first is not None and first[part] != found:
            raise IdentityError(
                f"campaign {campaign}: its {part} has changed since its first attempt: "
                f"found {found}, expected {first[part]}. Scores before and after could not "
                "be compared: restore the environment, or go on under a new campaign name"
            )
