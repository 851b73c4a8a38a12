"""What a campaign stands on, read and checked: settings, environment, data, where jobs run."""

import json
from dataclasses import asdict, dataclass

from assets.config.allowed import Allowed, read_allowed
from assets.config.authors import check_published
from assets.config.data import PreparedData, prepare_data
from assets.config.environment import Environment, Profile, find_environment, read_environment
from assets.config.git import find_git
from assets.config.home import Home
from assets.config.identity import Identity, identify
from assets.config.keys import check_key
from assets.config.settings import CampaignSettings, read_campaign
from assets.config.site import launcher_of, site_of
from assets.config.trust import check_trusted
from launchers import Launcher, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A campaign as it is on disk now."""

    settings: CampaignSettings
    environment: Environment
    profile: Profile
    allowed: Allowed
    data: PreparedData
    identity: Identity
    launcher: Launcher
    site: Site
    """Where jobs of the profile run, as the launcher says."""

    @property
    def evaluator(self) -> str:
        """Hash of what decides a score: scoring files, hidden data, audit settings, floor."""
        return self.identity.evaluator

    @property
    def config(self) -> str:
        """JSON that an attempt records."""
        return json.dumps(
            {"identity": asdict(self.identity), "settings": self.settings.model_dump()}
        )


def check_allowed(
    campaign: str, settings: CampaignSettings, environment: Environment, allowed: Allowed
) -> None:
    """Check that the user has allowed what a campaign would run outside the sandbox and send.

    Raises:
        NotAllowedError: naming the code or the key, with the line to type.
    """
    check_trusted(environment, allowed.code, campaign=campaign)
    for role in settings.asking:
        check_key(settings.connection(role), allowed.keys, campaign=campaign)


def survey(home: Home, campaign: str) -> Setup:
    """Read and check everything that a campaign stands on; data is prepared on first use.

    Raises:
        VarveError: naming what cannot be used.
    """
    settings = read_campaign(home.campaigns, campaign)
    environment = read_environment(find_environment(settings.environment))
    check_published(campaign, settings, environment)
    allowed = read_allowed(home)
    check_allowed(campaign, settings, environment, allowed)
    launcher = launcher_of(home, settings.launcher)
    site = site_of(launcher, environment, settings.profile)
    find_git()  # before ideas are paid for that nobody could patch
    data = prepare_data(environment, settings.profile, folder=home.data)
    return Setup(
        settings=settings,
        environment=environment,
        profile=environment.profile(settings.profile),
        allowed=allowed,
        data=data,
        identity=identify(environment, settings.profile, data),
        launcher=launcher,
        site=site,
    )
