"""Who answers in a campaign: the models of its roles, made from its settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from assets.config.allowed import Allowed
from assets.config.connection import Connection
from assets.config.roles import CATALOG, RECORDED, Role
from assets.config.settings import CampaignSettings
from assets.errors import CampaignError
from assets.models.catalog import read_catalog
from assets.models.language import LanguageModel
from assets.models.providers.client import Client
from assets.models.providers.limits import Limiter
from assets.models.providers.retries import Backoff
from assets.models.providers.secrets import read_key
from assets.models.recorded import Recorded, Recording
from assets.models.requests import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The models of a campaign."""

    ideators: tuple[Model, ...]
    implementer: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Where recorded campaigns are read."""

    settings: Callable[[str], CampaignSettings]
    """Those under which a campaign of this name was recorded; raises VarveError."""
    recording: Callable[[str], Recording]
    """What its models said; raises VarveError."""


def cast(
    settings: CampaignSettings, environment: Path, recordings: Recordings, allowed: Allowed
) -> Cast:
    """The models that a campaign asks.

    Args:
        settings: of the campaign.
        environment: its folder; the catalog in it is the default.
        recordings: for recorded roles.
        allowed: where keys may go.

    Raises:
        VarveError: a catalog or a recording that is not there.
    """
    maker = _Maker(
        settings=settings, environment=environment, recordings=recordings, allowed=allowed
    )
    return Cast(
        ideators=tuple(maker.model(role) for role in settings.ideators),
        implementer=maker.model(settings.implementer),
    )


def check_keys(settings: CampaignSettings) -> None:
    """Check that every key that a campaign needs is set, before anything begins.

    Raises:
        ProviderError: naming the variable that is not set.
    """
    for role in settings.asking:
        read_key(settings.connection(role).variable)


@dataclass(slots=True, kw_only=True)
class _Maker:
    settings: CampaignSettings
    environment: Path
    recordings: Recordings
    allowed: Allowed
    limiters: dict[str, Limiter] = field(default_factory=dict)
    """One per provider, for all roles."""
    repeated: tuple[str, ...] = ()
    """Campaigns whose recordings led here."""

    def model(self, role: Role) -> Model:
        """The model of a role of these settings."""
        if role.model == CATALOG:
            return read_catalog(self.environment, self.settings.catalog_of(role))
        if role.model == RECORDED:
            return self._recorded(role)
        return self._language(self.settings.connection(role))

    def _language(self, connection: Connection) -> LanguageModel:
        provider = self.settings.all_providers[connection.provider]
        limiter = self.limiters.setdefault(
            connection.provider,
            Limiter(concurrency=provider.concurrency, calls_per_minute=provider.calls_per_minute),
        )
        client = Client(
            connection,
            limiter,
            allowed=self.allowed,
            backoff=Backoff(first_seconds=provider.wait_seconds),
        )
        # twice as many: while a call waits for its next try, another one may be sent
        return LanguageModel(
            client,
            name=connection.name,
            at_once=2 * provider.concurrency,
            options=connection.model_dump_json(exclude={"price", "timeout_seconds", "tries"}),
        )

    def _recorded(self, role: Role) -> Recorded:
        source = role.name or ""
        if source in self.repeated:
            raise CampaignError(
                f"model recorded: {source!r} is itself recorded from {source!r}; expected the name "
                "of a campaign whose models were asked"
            )
        settings = self.recordings.settings(source)
        maker = _Maker(
            settings=settings,
            environment=self.environment,
            recordings=self.recordings,
            allowed=self.allowed,
            repeated=(*self.repeated, source),
        )
        original = maker.model(self._recorded_as(role, settings))
        return Recorded(original, lambda: self.recordings.recording(source))

    def _recorded_as(self, role: Role, recorded: CampaignSettings) -> Role:
        """The role of the recorded campaign that a role stands for: the one in the same place."""
        if role is self.settings.implementer:
            return recorded.implementer
        wanted, own = len(recorded.ideators), len(self.settings.ideators)
        if wanted != own:
            raise CampaignError(
                f"ideators: found {own}, expected {wanted} with model recorded and the weights of "
                f"{role.name!r}, which was recorded with {wanted}"
            )
        place = next(n for n, each in enumerate(self.settings.ideators) if each is role)
        return recorded.ideators[place]
