"""The tables and figures of the READMEs are those of the schemas, the manifests and the corpus."""

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from conftest import PROJECT
from pydantic import BaseModel
from readmes import README, page
from redteam.corpus import KEYS, VERDICTS, attacks

from assets.config.connection import OPTIONS
from assets.config.environment import Manifest, Profile, find_environment, read_environment
from assets.config.settings import CampaignSettings, ProviderSettings
from assets.models.catalog import read_catalog
from lake import STAGE_TABLE, TABLES, VIEWS
from launchers.sandbox.levels import LEVELS

CAMPAIGNS, NANOGPT = page("assets/campaigns"), page("environments/nanogpt")
KEY_TABLE = "| key | default | meaning |"
RESULTS = (
    "| campaign | ideas (different ones) | baseline mean | at seed 0 | noise unit | best "
    "| difference, nats | noise units | valid scores | CPU seconds of training | wall time |"
)


# ---------------------------------------------------------------------------- figures


def test_the_results_are_those_of_the_output_and_add_up():
    rows = [row for row in README.table(RESULTS) if row[0].startswith("demo")]
    assert [row[0] for row in rows] == ["demo", "demo_best_of_n"]
    for _, _, _, same_seed, unit, best, difference, units, valid, *_ in rows:
        assert float(best) - float(same_seed) == pytest.approx(float(difference), abs=2e-4)
        assert -float(difference) / float(unit) == pytest.approx(float(units), abs=0.2)
        assert re.fullmatch(r"\d+ of 32", valid)
    _, _, baseline, same_seed, unit, best, difference, units, valid, *_, wall = rows[0]
    shown = README.blocks("text")[-1]
    assert f"best so far: val_loss {best} ({difference}, +{units} noise units)" in shown
    assert f"baseline {baseline} (mean of 3) ± {unit} (sd of 23), {same_seed} at seed 0" in shown
    assert f"{valid} ideas have a valid score" in shown
    assert f"4 epoch(s) in {wall}\n" in shown
    assert f"{wall} of search" in README.text


def test_the_baseline_and_the_catalog_are_the_measured_ones():
    nanogpt = read_environment(find_environment("nanogpt"))
    baseline = nanogpt.profile("cpu").baseline
    assert f"mean {baseline.mean}, sd {baseline.sd}, n={baseline.n}" in README.text
    row = f"| {baseline.mean} | {baseline.sd} | {baseline.n} | {baseline.cpu_seconds} |"
    assert row in NANOGPT.text
    assert f"catalog of {len(read_catalog(nanogpt.path, None).ideas)} known ideas" in README.text


def test_the_cuts_of_the_deep_audit_are_those_of_the_manifest():
    deep = read_environment(find_environment("nanogpt")).manifest.audit.deep
    assert f"at least {deep:,} cuts in all" in page("environments").text


def test_the_attacks_that_are_counted_are_those_of_the_corpus():
    families = {item.family for item in attacks()}
    assert f"{len(attacks())} attacks in {len(families)} families" in README.text
    still_open = {item.name for item in attacks() if item.verdict["bwrap"] == "open"}
    (line,) = re.findall(r"^- \*\*Behind `bwrap`.*", page("tests/redteam").text, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", line)) == still_open | {"bwrap"}


def test_the_pinned_torch_is_the_one_that_is_told():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (pin,) = [
        requirement.removeprefix("torch==")
        for requirement in project["optional-dependencies"]["cpu"]
        if requirement.startswith("torch")
    ]
    assert f"torch is pinned to {pin}" in NANOGPT.text
    assert "TORCH_INDEX ?=" in (PROJECT / "Makefile").read_text()


def test_the_benchmarks_are_those_of_make_bench():
    recipe = (PROJECT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
    run = re.findall(r"tests[/.](\w+)", recipe)
    told = [row[0] for row in page("tests").table("| command | measures |")]
    assert told == [f"tests/{name}.py" for name in run]


# ---------------------------------------------------------------------------- schemas


def test_the_variables_are_those_that_are_read():
    known = set(re.findall(r"\bVARVE_\w+", (PROJECT / "assets" / "config" / "home.py").read_text()))
    told = page("lake").table("| variable | what lies there | default |")
    assert {row[0] for row in told} == known


def test_the_keys_of_a_campaign_are_those_of_the_schema_with_their_defaults():
    told, _ = CAMPAIGNS.tables(KEY_TABLE)
    least = {
        "environment": "nanogpt",
        "ideators": [{"model": "catalog"}],
        "implementer": {"model": "catalog"},
    }
    compare(told, CampaignSettings.model_validate(least))


def test_the_keys_of_a_provider_are_those_of_the_schema_with_their_defaults():
    _, told = CAMPAIGNS.tables(KEY_TABLE)
    compare(told, ProviderSettings(protocol="openai"))


def compare(rows: list[list[str]], section: BaseModel) -> None:
    told, known = {row[0]: row[1] for row in rows}, dict(keys_of(section))
    assert list(told) == list(known)
    for key, default in known.items():
        found = told[key] if told[key] == "required" else yaml.safe_load(told[key])
        assert found == default, key


def keys_of(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys with the default, or `required`; `[]` marks the entries of a list."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from keys_of(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from keys_of(value[0], f"{prefix}{name}[].")
        else:
            yield f"{prefix}{name}", "required" if field.is_required() else value


def test_the_options_of_a_protocol_are_those_of_the_schema():
    told = CAMPAIGNS.table("| protocol | `options` of a role |")
    assert [row[0] for row in told] == list(OPTIONS)
    for protocol, options in told:
        bare = re.sub(r"\([^)]*\)", "", options)
        assert [word.strip() for word in bare.split(",")] == list(OPTIONS[protocol].model_fields)


def test_the_keys_of_a_manifest_are_those_of_the_schema():
    manifest, profile = page("environments").tables("| key | meaning |")
    assert {row[0] for row in manifest} == set(Manifest.model_fields) - {"profiles"}
    assert {row[0] for row in profile} == set(Profile.model_fields)


def test_the_tables_and_views_of_the_lake_are_those_that_exist():
    lake = page("lake")
    assert [row[0] for row in lake.table("| table | one row per |")] == list(TABLES)
    views = [name for row in lake.table("| view | shows |") for name in row[0].split(", ")]
    assert sorted(views) == sorted(VIEWS)
    assert set(STAGE_TABLE.values()) <= set(views)


def test_the_levels_of_the_sandbox_are_those_that_exist():
    told = page("launchers").table("| level | what it is | what it does not hold against |")
    assert [row[0] for row in told] == list(reversed(LEVELS))


def test_the_keys_and_verdicts_of_an_attack_are_those_that_are_read():
    redteam = page("tests/redteam")
    keys = {row[0].strip("[]") for row in redteam.table("| key | meaning |")}
    assert keys == KEYS
    assert [row[0] for row in redteam.table("| verdict | what was seen |")] == list(VERDICTS)
