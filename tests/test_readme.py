"""The READMEs are true: their commands parse, their paths, links and anchors exist, SQL answers."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from conftest import PROJECT, RIDGE, VARVE, child_environment, trust, write_campaign
from readmes import PAGES, README, ROOMS, TOP_LEVEL

from assets.cli import main, ui
from assets.config.home import Home
from assets.config.settings import read_settings
from lake import query

MOST_BYTES = 12 * 1024
OUTPUT = [line.strip() for line in README.blocks("text")[-1].splitlines()]
CALLS = {shlex.join(call): call for page in PAGES for call in page.varve_calls()}
FILE = re.compile(r"[\w./-]+\.(py|md|toml|yaml|j2|lock)")


def test_the_readme_stays_short():
    assert len(README.text.encode()) <= MOST_BYTES


def test_every_room_has_a_readme():
    assert {f"{room}/README.md" for room in ROOMS} <= {page.name for page in PAGES}


# ---------------------------------------------------------------------------- paths and links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    by_path = {each.path: each for each in PAGES}
    for link in page.links:
        target, anchor = page.target(link), link.partition("#")[2]
        assert target.exists(), link
        if anchor:
            assert anchor in by_path[target].anchors, link


def test_every_readme_is_reached_by_links_from_the_first():
    by_path = {page.path: page for page in PAGES}
    reached, new = set(), [README]
    while new:
        page = new.pop()
        reached.add(page.path)
        for link in page.links:
            target = page.target(link)
            found = by_path.get(target / "README.md" if target.is_dir() else target)
            if found is not None and found.path not in reached:
                new.append(found)
    assert reached == set(by_path)


def test_every_path_that_is_named_exists():
    named = {(page.name, path) for page in PAGES for path in page.named_paths()}
    assert len({path for _, path in named}) > 30
    assert [each for each in sorted(named) if not (PROJECT / each[1]).exists()] == []


def test_every_file_that_is_named_is_one_of_the_project():
    files = {
        "/" + path.relative_to(PROJECT).as_posix()
        for top in TOP_LEVEL
        for path in ((PROJECT / top).rglob("*") if (PROJECT / top).is_dir() else [PROJECT / top])
    }
    for page in PAGES:
        for span in filter(FILE.fullmatch, page.spans):
            assert any(path.endswith(f"/{span}") for path in files), f"{page.name}: {span}"


# ---------------------------------------------------------------------------- commands


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for page in PAGES for line in (*page.shell, *page.printed, *page.spans)]
    named = {word for line in lines if line.startswith("make ") for word in line.split()[1:]}
    named = {word for word in named if "=" not in word}
    assert named >= {"demo", "test", "ui", "bench", "lint"}
    assert named <= targets


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS.keys())
def test_every_varve_command_line_parses(arguments):
    if "--help" in arguments:
        assert CliRunner().invoke(main, arguments).exit_code == 0
    elif len(arguments) == 1 and arguments[0] != "campaigns":
        assert arguments[0] in main.commands
    else:
        main.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def test_every_command_of_varve_is_named():
    assert {call[0] for call in README.varve_calls()} >= set(main.commands) - {"ui"}
    (port,) = [option.default for option in ui.params if option.name == "port"]
    assert f"http://127.0.0.1:{port}" in README.text


def test_the_campaign_that_is_shown_is_the_one_of_the_demo(tmp_path):
    (shown,) = README.blocks("yaml")
    demo = PROJECT / "assets/campaigns/demo/defs.yaml"
    assert yaml.safe_load(shown) == yaml.safe_load(demo.read_text())
    (tmp_path / "defs.yaml").write_text(shown)
    assert read_settings(tmp_path / "defs.yaml") == read_settings(demo)


# ---------------------------------------------------------------------------- what a search leaves


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Home, list[str]]:
    """A home in which the small campaign was searched, and what that printed."""
    folder = tmp_path_factory.mktemp("readme")
    write_campaign(folder / "campaigns")
    root = folder / "home"
    home = Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")
    trust(home, RIDGE)
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
    questions = [call[1] for call in CALLS.values() if call[0] == "sql" and len(call) > 1]
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


def test_the_reader_finds_what_is_in_a_readme(tmp_path):
    """The checks above look at what `readmes` finds: they are worth what it finds."""
    path = Path(tmp_path, "README.md")
    path.write_text(
        "# Of `a-b`, and c\n[x](y.md#z) [w](https://w)\n```sh\n# no heading\nvarve sql 'q' \\\n"
        "  --format csv\n```\n`varve ui`\n|h|\n|---|\n| `1` | 2 |\n"
    )
    page = type(README)(path=path)
    assert page.anchors == {"of-a-b-and-c"}
    assert page.links == ["y.md#z"]
    assert list(page.varve_calls()) == [["sql", "q", "--format", "csv"], ["ui"]]
    assert page.table("|h|") == [["1", "2"]]
