"""Who answers in a campaign, as its `defs.yaml` names them: roles, and the providers of models."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from assets.config.connection import Connection, ProtocolName, StrictModel
from assets.config.prices import Rates

CATALOG, RECORDED = "catalog", "recorded"
WITHOUT_PROVIDER = (CATALOG, RECORDED)
"""Models that need no provider."""
DIFFS, REVISIONS = 10, 2
"""For a language model as implementer, unless the file says otherwise."""


class Role(StrictModel):
    """Who answers in a role."""

    model: Annotated[str, Field(min_length=1)]
    """`catalog`, `recorded`, or the name of a provider."""
    name: str | None = None
    """Which model of the provider; for `recorded` the campaign whose completions are used again;
    for `catalog` a catalog file, see `CampaignSettings.catalog_of`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For sampling, as the provider's protocol defines them; see `assets.config.connection`."""


class Ideator(Role):
    """A model that proposes ideas."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of the calls, if there are several ideators."""


class Implementer(Role):
    """The model that turns ideas into patches."""

    diffs: Annotated[int, Field(ge=1, le=100)] | None = None
    """Samples of each idea; None is 10, or 1 for `catalog`."""
    revisions: Annotated[int, Field(ge=0, le=10)] | None = None
    """How often samples are given back if all of them failed; None is 2, or 0 for `catalog`."""


class ProviderSettings(StrictModel):
    """How a provider is reached, and how many calls it gets at once."""

    protocol: ProtocolName
    base_url: str | None = None
    """None is the vendor's own address."""
    key: str | None = None
    """Environment variable of the key; None is the vendor's usual one; other servers have none."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 40
    """Most calls in flight."""
    calls_per_minute: Annotated[float, Field(gt=0)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Longest silence."""
    tries: Annotated[int, Field(ge=1, le=100)] = 6
    wait_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Longest wait before the second try; it doubles before each further one, up to 60."""
    stream: bool = True
    price: Rates | None = None
    """US dollars per million tokens; None takes the price table's."""


PROVIDERS: Mapping[str, ProviderSettings] = {
    "anthropic": ProviderSettings(protocol="anthropic"),
    "openai": ProviderSettings(protocol="openai"),
}
"""Available without being named in `providers`."""


def connection_of(role: Role, provider: ProviderSettings) -> Connection:
    """How the model of a role is reached at its provider.

    Raises:
        ValueError: it has no name, or cannot be asked like this.
    """
    if role.name is None:
        raise ValueError(f"name: expected the name of a model of {role.model}")
    return Connection.model_validate(
        {
            "provider": role.model,
            "protocol": provider.protocol,
            "model": role.name,
            "base_url": provider.base_url,
            "key_variable": provider.key,
            "timeout_seconds": provider.timeout_seconds,
            "tries": provider.tries,
            "stream": provider.stream,
            "options": role.options,
            "price": provider.price,
        }
    )
