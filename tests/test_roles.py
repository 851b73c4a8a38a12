"""Who answers in a campaign: catalogs that are read, and roles that find theirs."""

import asyncio

import pytest
from conftest import PROJECT, SMALL

from assets.config.allowed import Allowed
from assets.config.settings import CampaignSettings
from assets.errors import CampaignError
from assets.models.catalog import read_catalog
from assets.models.recorded import Recording
from assets.models.requests import EnvironmentBrief, PatchRequest, Place
from assets.models.roles import Recordings, cast
from lake.tables import Stage

RIDGE = PROJECT / "tests/environments/ridge"
CATALOG = "tests/environments/ridge/catalog.toml"
OWN = {"model": "catalog"}
OTHER = {"model": "catalog", "name": "environments/nanogpt/catalog.toml"}
ASKED = {"model": "openai", "name": "gpt-5"}
HEAD = "[[ideas]]\nname = 'a'\ntitle = 'A'\ntext = 'Do a.'\n"


def settings(**changes) -> CampaignSettings:
    return CampaignSettings.model_validate(SMALL | changes)


def recordings(recorded: CampaignSettings) -> Recordings:
    return Recordings(
        settings=lambda name: recorded,
        recording=lambda name: Recording(campaign=name, completions={}),
    )


@pytest.mark.parametrize("ideators", [[OTHER, OWN, OTHER], [OWN, OTHER]])
def test_a_repeated_campaign_has_the_models_of_the_original(ideators):
    original = settings(ideators=ideators, implementer=ASKED)
    recorded = {"model": "recorded", "name": "original"}
    again = settings(ideators=[recorded] * len(ideators), implementer=recorded)
    then = cast(original, RIDGE, recordings(original), Allowed())
    now = cast(again, RIDGE, recordings(original), Allowed())
    assert [model.name for model in now.ideators] == [model.name for model in then.ideators]
    assert {model.name for model in then.ideators} == {"catalog/ridge", "catalog/nanogpt"}
    assert now.implementer.name == then.implementer.name


@pytest.mark.parametrize("recorded", [False, True])
def test_an_implementer_that_names_no_catalog_has_the_first_ideators(recorded):
    asked = settings(ideators=[OTHER])
    again = {"model": "recorded", "name": "original"}
    now = settings(ideators=[again], implementer=again) if recorded else asked
    assert cast(now, RIDGE, recordings(asked), Allowed()).implementer.name == "catalog/nanogpt"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "edits = ['oops']\n", "edits of a hold something else than tables"),
        (HEAD + "edits = 'oops'\n", "edits of a is not a list with an edit"),
        (HEAD + "[[ideas.edits]]\nfile = 'x'\nsearch = 'y'\n", "replace"),
        (HEAD + "[[ideas.edits]]\nfile = 'x'\nsearch = 'y'\nreplace = 3\n", "else than text"),
        ("ideas = ['oops']\n", "TypeError"),
        ("ideas = [", "TOMLDecodeError"),
    ],
)
def test_a_malformed_catalog_is_named_with_what_is_wrong(tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(CampaignError, match=f"bad.toml: malformed catalog .*{said}.* expected"):
        read_catalog(RIDGE, str(path))


def test_a_catalog_that_is_not_there_may_be_any_roles(tmp_path):
    with pytest.raises(CampaignError) as caught:
        read_catalog(RIDGE, str(tmp_path / "none.toml"))
    assert "none.toml: no such catalog" in str(caught.value)
    assert "a `name` of the role" in str(caught.value)
    assert "ideators" not in str(caught.value)


def test_an_idea_that_left_its_catalog_is_named():
    brief = EnvironmentBrief(
        name="ridge", summary="", metric="loss", direction="minimize", editable=(), files={}
    )
    request = PatchRequest(environment=brief, title="Gone", text="", edits=("gone",), seed=0)
    call = read_catalog(RIDGE, CATALOG).implement(request)
    place = Place(epoch=0, stage=Stage.PATCHES, role="i", ordinal=0, revision=0, key="k")
    with pytest.raises(
        CampaignError, match="catalog/ridge: has no idea 'gone', whose edits 'Gone'"
    ):
        asyncio.run(call.send(place))
