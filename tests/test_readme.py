"""README.md is true: its commands parse, its paths exist, its tables are those of the code."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from click.testing import CliRunner
from conftest import PROJECT, VARVE, child_environment, write_campaign
from pydantic import BaseModel

from assets.cli import main, ui
from assets.config.environment import Manifest, Profile, find_environment, read_environment
from assets.config.home import Home
from assets.config.settings import CampaignSettings
from assets.models.catalog import read_catalog
from lake import query

README = (PROJECT / "README.md").read_text()
ENVIRONMENTS = (PROJECT / "environments" / "README.md").read_text()
TOP_LEVEL = {path.name for path in PROJECT.iterdir() if not path.name.startswith(".")}
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = [line.strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
OUTPUT = [line.strip() for kind, text in BLOCKS if kind == "text" for line in text.splitlines()]
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.DOTALL))


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the one table that has this heading line, code marks and comments taken off."""
    _, found, rest = text.partition(heading + "\n")
    assert found, f"no table {heading}"
    rows = []
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            break
        bare = re.sub(r"<!--.*?-->|`", "", line)
        rows.append([cell.strip() for cell in bare.strip("|").split("|")])
    return rows


def varve_calls() -> list[list[str]]:
    """The arguments of each `varve` command line, in code blocks and in running text."""
    calls = []
    for line in (*SHELL, *OUTPUT, *SPANS):
        if "varve " not in line:
            continue
        words = shlex.split(line)
        while "=" in words[0]:
            words.pop(0)
        if words[0] in ("varve", ".venv/bin/varve"):
            calls.append(words[1:])
    return calls


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = [line.split()[1:] for line in (*SHELL, *OUTPUT, *SPANS) if line.startswith("make ")]
    named = {word for words in named for word in words if "=" not in word}
    assert named >= {"demo", "test", "ui", "bench", "lint"}
    assert named <= targets


@pytest.mark.parametrize("arguments", varve_calls(), ids=shlex.join)
def test_every_varve_command_line_parses(arguments):
    if "--help" in arguments:
        assert CliRunner().invoke(main, arguments).exit_code == 0
    elif len(arguments) == 1 and arguments[0] != "campaigns":
        assert arguments[0] in main.commands
    else:
        main.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def test_every_command_of_varve_is_named():
    assert {call[0] for call in varve_calls()} >= set(main.commands) - {"ui"}
    (port,) = [option.default for option in ui.params if option.name == "port"]
    assert f"http://127.0.0.1:{port}" in README


def named_paths() -> Iterator[str]:
    for text in (
        *SPANS,
        *re.findall(r"\]\(([^)#]+)", README),
        *(w for s in SHELL for w in s.split()),
    ):
        if re.fullmatch(r"[\w./-]+", text) and text.split("/")[0] in TOP_LEVEL:
            yield text


def test_every_path_that_is_named_exists():
    paths = set(named_paths())
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (PROJECT / path).exists()] == []


def test_the_variables_are_those_that_are_read():
    known = set(re.findall(r"\bVARVE_\w+", (PROJECT / "assets" / "config" / "home.py").read_text()))
    assert {row[0] for row in table(README, "| variable | what lies there | default |")} == known
    assert "TORCH_INDEX ?=" in (PROJECT / "Makefile").read_text()


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Home, list[str]]:
    """A home in which the small campaign was searched, and what that printed."""
    folder = tmp_path_factory.mktemp("readme")
    write_campaign(folder / "campaigns")
    root = folder / "home"
    home = Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")
    done = subprocess.run(
        [sys.executable, str(VARVE), "search", "small"],
        env=child_environment(home) | {"COLUMNS": "160", "VARVE_LAKE": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return home, [line.strip() for line in done.stdout.splitlines()]


@pytest.mark.trains
def test_every_question_to_the_lake_has_an_answer(searched):
    home, _ = searched
    questions = [call[1] for call in varve_calls() if call[0] == "sql" and len(call) > 1]
    assert len(questions) >= 4
    for question in questions:
        result = query(home.lake, question.replace("'demo'", "'small'"))
        assert result.columns
        assert result.rows or "failed" in question, question


def test_the_output_that_is_shown_has_the_form_of_a_real_one(searched):
    _, printed = searched
    shown = [re.sub(r"\bdemo\b", "small", line.replace("val_loss", "r2")) for line in OUTPUT]
    after = shown[shown.index("Try next:") :]
    assert [form(line) for line in after] == [form(line) for line in printed[-len(after) :]]
    for beginning in (r"epoch \d+ done", "Best ideas", "#"):
        forms = {form(line) for line in shown if re.match(beginning, line)}
        assert forms == {form(line) for line in printed if re.match(beginning, line)}
    (rate,) = [line for line in shown if "valid score" in line]
    assert form(rate) in {form(line) for line in printed}


def form(line: str) -> str:
    """A line without its figures and its spacing."""
    return " ".join(re.sub(r"[+-]?\d+(\.\d+)?", "0", line).split())


def test_the_results_are_those_of_the_output_and_add_up():
    rows = [row for row in table(README, RESULTS) if row[0].startswith("demo")]
    assert [row[0] for row in rows] == ["demo", "demo_best_of_n"]
    for _, _, baseline, unit, best, difference, units, valid, *_ in rows:
        assert float(best) - float(baseline) == pytest.approx(float(difference), abs=2e-4)
        assert -float(difference) / float(unit) == pytest.approx(float(units), abs=0.2)
        assert re.fullmatch(r"\d+ of 32", valid)
    _, _, baseline, unit, best, difference, units, valid, *_ = rows[0]
    assert f"best so far: val_loss {best} ({difference}, +{units} noise units)" in README
    assert f"baseline {baseline} (mean of 3) ± {unit} (sd of 23)" in README
    assert f"{valid} ideas have a valid score" in README


RESULTS = (
    "| campaign | ideas (different ones) | baseline mean | noise unit | best | difference, nats "
    "| noise units | valid scores | CPU seconds of training | wall time |"
)


def test_the_keys_of_a_campaign_are_those_of_the_schema_with_their_defaults():
    told = {row[0]: row[1] for row in table(README, "| key | default | meaning |")}
    least = {
        "environment": "nanogpt",
        "ideators": [{"model": "catalog"}],
        "implementer": {"model": "catalog"},
    }
    known = dict(keys_of(CampaignSettings.model_validate(least)))
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


def test_the_keys_of_a_manifest_are_those_of_the_schema():
    manifest, profile = (
        [row[0] for row in rows]
        for rows in (
            table(part, "| key | meaning |")
            for part in ENVIRONMENTS.split("Keys of a profile", maxsplit=1)
        )
    )
    assert set(manifest) == set(Manifest.model_fields) - {"profiles"}
    assert set(profile) == set(Profile.model_fields)


def test_the_baseline_and_the_catalog_are_the_measured_ones():
    nanogpt = read_environment(find_environment("nanogpt"))
    baseline = nanogpt.profile("cpu").baseline
    assert f"mean {baseline.mean}, sd {baseline.sd}, n={baseline.n}" in README
    row = f"| {baseline.mean} | {baseline.sd} | {baseline.n} | {baseline.cpu_seconds} |"
    assert row in (nanogpt.path / "README.md").read_text()
    assert f"catalog of {len(read_catalog(nanogpt.path, None).ideas)} known ideas" in README


def test_the_pinned_torch_is_the_one_that_is_told():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (pin,) = [
        requirement.removeprefix("torch==")
        for requirement in project["optional-dependencies"]["cpu"]
        if requirement.startswith("torch")
    ]
    assert f"torch is pinned to {pin}" in README
