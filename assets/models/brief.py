"""What models are told about an environment; all of it is in its manifest and its files."""

from assets.config.environment import Environment
from assets.models.requests import EnvironmentBrief


def brief_of(environment: Environment, profile: str) -> EnvironmentBrief:
    """What models are told about an environment at one size."""
    manifest, size = environment.manifest, environment.manifest.profiles[profile]
    return EnvironmentBrief(
        name=manifest.name,
        profile=profile,
        summary=manifest.summary,
        metric=manifest.metric,
        direction=manifest.direction,
        editable=tuple(manifest.editable),
        files={path: environment.files[path].decode() for path in environment.editable},
        frozen=environment.frozen,
        budget=size.cost_rule,
        baseline=size.baseline.in_words if size.baseline else "",
    )
