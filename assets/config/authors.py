"""Who writes the patches of a campaign, and what follows from it for the data.

A language model may know by heart whatever was published. Where it writes patches, hidden data that
were published measure what it remembers, so they are used only where the campaign's file says so.
"""

from assets.config.environment import CATALOG_FILE, Environment, find_environment
from assets.config.home import PROJECT
from assets.config.settings import CampaignSettings
from assets.errors import CampaignError

OURS = "catalog"
"""The model whose patches are code of this repository, if its file is in one of OUR_ROOMS."""
OUR_ROOMS = ("environments", "tests")
"""Folders of the checkout whose catalogs come with it."""


def writes_own_code(settings: CampaignSettings) -> bool:
    """Whether all patches of a campaign are code of this repository."""
    own = str(find_environment(settings.environment) / CATALOG_FILE)
    writers = (settings.implementer, *settings.ideators)
    return all(one.model == OURS and _lies_here(settings.catalog_of(one) or own) for one in writers)


def _lies_here(catalog: str) -> bool:
    """Whether a catalog is of this repository, and not a clone or a campaign laid inside it."""
    path = (PROJECT / catalog).resolve()
    return any(path.is_relative_to(PROJECT / room) for room in OUR_ROOMS)


def check_published(campaign: str, settings: CampaignSettings, environment: Environment) -> None:
    """Whether the hidden data can be unknown to whoever writes the patches.

    Raises:
        CampaignError: they were published, a model writes the patches, and the file does not say
            that this is wanted.
    """
    chosen = environment.profile(settings.profile)
    if not chosen.published or settings.published or writes_own_code(settings):
        return
    profiles = environment.manifest.profiles
    others = [name for name, profile in profiles.items() if not profile.published]
    known = f"a profile whose hidden data were not ({', '.join(others)})" if others else ""
    raise CampaignError(
        f"campaign {campaign}: profile: found {settings.profile!r}, whose hidden data were "
        f"published, and patches that a model writes, which may know them by heart; expected "
        f"{known or 'other hidden data'}, or `published: true` if that is wanted"
    )
