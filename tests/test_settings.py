"""What a `defs.yaml` may say, and what is said about a wrong one."""

import pytest
from conftest import PROJECT, SMALL, write_campaign

from assets.config.settings import CampaignSettings, campaign_names, read_campaign, read_settings
from assets.config.yaml_file import read_yaml
from assets.errors import CampaignError

SHIPPED = PROJECT / "assets" / "campaigns"


@pytest.mark.parametrize("name", campaign_names(SHIPPED))
def test_every_campaign_in_the_repository_loads(name):
    assert read_campaign(SHIPPED, name).epochs >= 1


def test_the_defaults_are_the_papers(tmp_path):
    path = write_campaign(
        tmp_path, profile=None, epochs=None, batch=None, strategy={"kind": "evolution"}
    )
    settings = read_settings(path)
    strategy = settings.strategy
    assert (settings.epochs, settings.batch) == (10, 80)
    assert (strategy.ideas_per_call, strategy.parents, strategy.context) == (10, 100, 100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": "four"}, r"epochs: .*integer.*found 'four'"),
        ({"epochs": 0}, r"epochs: .*greater than or equal to 1.*found 0"),
        ({"batch": 2.5}, r"batch: .*integer.*found 2\.5"),
        ({"profil": "cpu"}, r"profil: unknown key; expected one of environment, profile, epochs"),
        ({"environment": None}, r"environment: Field required"),
        ({"strategy": {"kind": "magic"}}, r"strategy\.kind: .*'evolution', 'best_of_n' or 'rl'"),
        ({"strategy": {"parrents": 3}}, r"strategy\.parrents: unknown key; expected one of kind,"),
        ({"ideators": []}, r"ideators: .*at least 1"),
        (
            {"ideators": [{"model": "catalog", "temp": 1}]},
            r"ideators\.0\.temp: unknown key; expected one of model, name, options, weight",
        ),
        (
            {"providers": {"own": {"protocol": "openai", "timeout": 9}}},
            r"providers\.own\.timeout: unknown key; expected one of protocol, base_url, key,",
        ),
        (
            {"providers": {"own": {"protocol": "openai", "price": {"inputs": 1}}}},
            r"providers\.own\.price\.inputs: unknown key; expected one of input, output, cached",
        ),
        ({"launcher": {"slots": 0}}, r"launcher\.slots: .*greater than or equal to 1"),
        ({"quorum": 1.5}, r"quorum: .*less than or equal to 1"),
        ({"seed": -1}, r"seed: .*greater than or equal to 0"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_expected(tmp_path, changes, said):
    path = write_campaign(tmp_path, **changes)
    with pytest.raises(CampaignError, match=said) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)


OPENAI = {"model": "openai", "name": "gpt-5"}
OWN = {"protocol": "openai_chat", "base_url": "http://127.0.0.1:8000/v1"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ideators": [{"model": "gpt"}]},
         r"ideators\.0: model: found 'gpt', expected one of catalog, recorded, anthropic, openai"),
        ({"ideators": [{"model": "openai"}]}, r"ideators\.0: name: expected the name of a model"),
        ({"implementer": {"model": "recorded"}}, r"implementer: name: expected the campaign"),
        ({"implementer": {"model": "catalog", "options": {"seed": 1}}},
         r"implementer: options: found \['seed'\], catalog takes none"),
        ({"implementer": {"model": "catalog", "diffs": 10}},
         r"implementer: diffs: found 10, catalog gives one answer"),
        ({"ideators": [{"model": "catalog"}, OPENAI]},
         r"implementer: model: found catalog, which has no edits for ideas of ideators\.1 "
         r"\(openai\), expected the name of a provider"),
        ({"ideators": [{"model": "catalog", "name": "a.toml"}, {"model": "catalog"}]},
         r"implementer: name: found the catalog a\.toml, but ideators\.1 draws from the "
         r"environment's own, expected one catalog"),
        ({"implementer": {"model": "catalog", "name": "b.toml"}},
         r"found the catalog b\.toml, but ideators\.0 draws from tests/environments/ridge/cat"),
        ({"implementer": {"model": "catalog", "revisions": 2}},
         r"implementer: revisions: found 2, catalog"),
        ({"ideators": [{"model": "anthropic", "name": "m", "options": {"temperature": 1.0}}]},
         r"options\.temperature: found 1\.0, expected one of max_tokens, thinking, effort"),
        ({"ideators": [OPENAI | {"options": {"max_tokens": "many"}}]},
         r"options\.max_tokens: found 'many'"),
        ({"implementer": OPENAI | {"name": "new-1"}, "budget": {"max_usd": 5.0}},
         r"the price of openai/new-1 is not known"),
        ({"implementer": {"model": "own", "name": "m"},
          "providers": {"own": OWN | {"base_url": "x"}}},
         r"base_url: expected an address"),
        ({"providers": {"own": {"protocol": "smoke signals"}}}, r"providers\.own\.protocol"),
        ({"novelty": {"threshold": 2.0}}, r"novelty\.threshold"),
        ({"budget": {"max_usd": 0.0}}, r"budget\.max_usd"),
    ],
)  # fmt: skip
def test_a_role_that_cannot_be_asked_is_refused_on_load(tmp_path, changes, said):
    with pytest.raises(CampaignError, match=said):
        read_settings(write_campaign(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"ideators": [{"model": "catalog", "name": "a.toml"}] * 2},
        {"ideators": [{"model": "catalog", "name": "a.toml"}],
         "implementer": {"model": "catalog", "name": "a.toml"}},
        {"ideators": [{"model": "catalog", "name": "a.toml"}, {"model": "catalog"}, OPENAI],
         "implementer": OPENAI},
        {"ideators": [{"model": "recorded", "name": "other"}]},
    ],
)  # fmt: skip
def test_roles_that_fit_together_are_taken(tmp_path, changes):
    settings = read_settings(write_campaign(tmp_path, **changes))
    assert len(settings.ideators) == len(changes["ideators"])


def test_samples_and_revisions_are_the_papers_for_language_models_and_one_for_a_catalog(tmp_path):
    asked = read_settings(write_campaign(tmp_path, implementer=OPENAI, ideators=[OPENAI]))
    assert (asked.samples, asked.revisions) == (10, 2)
    drawn = read_settings(write_campaign(tmp_path))
    assert (drawn.samples, drawn.revisions) == (1, 0)


def test_an_own_server_with_a_price_may_have_a_budget(tmp_path):
    settings = read_settings(
        write_campaign(
            tmp_path,
            providers={"own": OWN | {"price": {"input": 0, "output": 0}}},
            implementer={"model": "own", "name": "m", "options": {"temperature": 1.0}},
            budget={"max_usd": 5.0},
        )
    )
    assert settings.connection(settings.implementer).variable is None


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": {"kind": "rl"}},
        {"launcher": {"kind": "sky"}},
    ],
)
def test_keys_of_later_work_are_known_and_refused(tmp_path, changes):
    path = write_campaign(tmp_path, **changes)
    with pytest.raises(CampaignError, match="not available yet"):
        read_settings(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read as YAML"),
        ("- 1", "found 'list'"),
        ("type: something.Else\n", "found 'something.Else', expected 'assets.campaign.Campaign'"),
        ("type: assets.campaign.Campaign\nrequirements: {}\n", "requirements: unknown key"),
        ("type: assets.campaign.Campaign\n", "environment: Field required"),
        (
            "type: assets.campaign.Campaign\nattributes: {epochs: 1, epochs: 2}",
            "'epochs' appears twice",
        ),
        (
            "type: assets.campaign.Campaign\nattributes: {<<: {epochs: 1}, <<: {batch: 2}}",
            "'<<' appears twice",
        ),
        ("type: assets.campaign.Campaign\nattributes: {<<: 3}", "expected a mapping"),
        ("seed: 2026-13-45", "cannot be read as YAML: month must be in"),
        ("seed: 0x_", "cannot be read as YAML: invalid literal"),
        ("seed: !!bool maybe", "cannot be read as YAML"),
        ("seed: !!timestamp x", "cannot be read as YAML"),
        ("a: " + "[" * 3000, "cannot be read as YAML"),
        ("type: assets.campaign.Campaign\n1: 2\nb: 3\n", "1: unknown key"),
    ],
)
def test_a_file_that_is_no_campaign_is_refused(tmp_path, text, said):
    path = tmp_path / "defs.yaml"
    path.write_text(text)
    with pytest.raises(CampaignError, match=said):
        read_settings(path)


TOO_MUCH = {
    "aliases of aliases": "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)),
    "merges of merges": "a0: &a0 {x: 1, y: 2}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 24)),
    "one alias, many times": f"a: [&b x{', *b' * 20_000}]",
    "many keys": "{" + ", ".join(f"a{n}" for n in range(20_000)) + "}",
}
ENDLESS = {
    "in a list": "a: &a [*a]",
    "in a mapping": "a: &a {b: {c: *a}}",
    "merged": "a: &a {<<: *a}",
}
DEEP = {
    "lists": "a: " + "[" * 3000,
    "mappings": "a: " + "{a: " * 3000,
    "blocks": "".join(" " * n + "a:\n" for n in range(300)),
    "by aliases": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40)),
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "more than 10000 values, each alias counted") for text in TOO_MUCH.values()),
        *((text, "an alias inside what it stands for") for text in ENDLESS.values()),
        *((text, "more than 32 levels inside each other") for text in DEEP.values()),
        ("#" * (1 << 20), "found more than 262144 bytes"),
        ("seed: " + ":".join(["59"] * 20_000), "more than 100 characters, but no text"),
        ("seed: 0x" + "f" * 9000, "more than 100 characters, but no text"),
        ("[1]: 2", "a list or a mapping as a key"),
    ],
)  # fmt: skip
def test_what_a_file_may_hold_is_bounded(tmp_path, text, said):
    path = tmp_path / "defs.yaml"
    path.write_text(text)
    with pytest.raises(CampaignError, match=f"cannot be read as YAML: {said}") as caught:
        read_settings(path)
    assert len(str(caught.value)) < 500


def test_a_large_honest_file_is_read(tmp_path):
    template = "{% for message in messages %}" * 4000
    extra = {"chat_template": template, "logit_bias": {str(n): n % 7 for n in range(3000)}}
    role = {"model": "own", "name": "m", "options": {"extra": extra}}
    path = write_campaign(tmp_path, providers={"own": OWN}, implementer=role)
    assert read_settings(path).implementer.options["extra"] == extra


MERGED = """
type: assets.campaign.Campaign
attributes:
  environment: nanogpt
  ideators: [{ model: catalog }]
  implementer: { model: catalog }
  providers:
    slow: &slow { protocol: openai_chat, base_url: http://127.0.0.1:1/v1, tries: 2 }
    again: &again { <<: *slow, tries: 3 }
    both: { <<: [*again, { stream: false }], concurrency: 4 }
"""


def test_what_a_merge_key_names_is_merged_and_what_is_written_out_goes_before_it(tmp_path):
    path = tmp_path / "defs.yaml"
    path.write_text(MERGED)
    found = read_settings(path).providers
    assert [found[name].tries for name in ("slow", "again", "both")] == [2, 3, 3]
    assert found["both"].base_url == "http://127.0.0.1:1/v1"
    assert (found["both"].stream, found["both"].concurrency) == (False, 4)


def test_a_mapping_may_be_merged_before_it_is_read_itself(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: {deep: {er: &m {<<: {x: 1}, x: 2}}}\nb: {<<: *m}\n")
    assert read_yaml(path) == {"a": {"deep": {"er": {"x": 2}}}, "b": {"x": 2}}


def test_an_unknown_campaign_is_answered_with_the_known_ones(tmp_path):
    write_campaign(tmp_path, "one")
    write_campaign(tmp_path, "two")
    with pytest.raises(CampaignError, match="no campaign 'three'; there is one, two"):
        read_campaign(tmp_path, "three")


@pytest.mark.parametrize("name", ["my-campaign", "größe", "two\n", "1st"])
def test_a_folder_that_dagster_could_not_name_is_refused(tmp_path, name):
    write_campaign(tmp_path, name)
    with pytest.raises(CampaignError, match="cannot be a campaign's"):
        read_campaign(tmp_path, name)


def test_dagsters_own_schema_knows_every_key(tmp_path):
    from assets.graph.campaign import Campaign

    schema = Campaign.get_model_cls().model_json_schema()
    assert set(SMALL) <= set(schema["properties"])
    assert set(schema["properties"]) == set(CampaignSettings.model_fields)
