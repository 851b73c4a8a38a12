"""Published hidden data and patches that a model writes go together only where the file says so."""

import pytest
from conftest import PROJECT, SMALL, write_campaign

from assets.config.authors import check_published
from assets.config.environment import find_environment, read_environment, resolved_profile
from assets.config.settings import CampaignSettings, campaign_names, read_campaign
from assets.config.setup import survey
from assets.errors import CampaignError

SHIPPED = PROJECT / "assets" / "campaigns"
MODEL = {"model": "anthropic", "name": "claude-opus-4-5"}
BY_MODEL = {"ideators": [MODEL], "implementer": MODEL}
RECORDED = {"model": "recorded", "name": "other"}
NANOGPT = read_environment(find_environment("nanogpt"))


def settings(**changes) -> CampaignSettings:
    return CampaignSettings.model_validate(SMALL | {"environment": "nanogpt"} | changes)


@pytest.mark.parametrize("profile", ["cpu", "smoke", "h100x8"])
@pytest.mark.parametrize(
    "authors",
    [
        BY_MODEL,
        {"ideators": [RECORDED], "implementer": RECORDED},
        {"ideators": [{"model": "catalog"}], "implementer": MODEL},
        {"ideators": [{"model": "catalog", "name": "/tmp/c.toml"}]},
    ],
)
def test_a_model_may_not_be_asked_about_what_it_may_have_read(authors, profile):
    asked = settings(profile=profile, **authors)
    said = rf"found '{profile}', whose hidden data were published.*were not \(secret\).*published:"
    with pytest.raises(CampaignError, match=said):
        check_published("c", asked, NANOGPT)
    check_published("c", asked.model_copy(update={"published": True}), NANOGPT)
    check_published("c", asked.model_copy(update={"profile": "secret"}), NANOGPT)


def test_our_own_patches_may_be_scored_on_published_text():
    check_published("c", settings(ideators=[{"model": "catalog"}]), NANOGPT)


@pytest.mark.parametrize("name", campaign_names(SHIPPED))
def test_every_campaign_in_the_repository_has_text_that_its_authors_do_not_know(name):
    asked = read_campaign(SHIPPED, name)
    check_published(name, asked, read_environment(find_environment(asked.environment)))
    assert not asked.published


def test_it_is_said_before_any_data_is_prepared(home):
    write_campaign(home.campaigns, environment="nanogpt", **BY_MODEL)
    with pytest.raises(CampaignError, match=r"campaign small: profile: found 'cpu'"):
        survey(home, "small")
    assert not home.data.exists()


def test_saying_that_data_were_published_changes_no_identity():
    profile = NANOGPT.profile("cpu")
    assert profile.published
    other = profile.model_copy(update={"published": False})
    assert resolved_profile(other) == resolved_profile(profile)
