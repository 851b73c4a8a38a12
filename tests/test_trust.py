"""Code of a folder that its user has not named does not run, by any command."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import materialize, search_all
from click.testing import CliRunner
from conftest import PROJECT, RIDGE, VARVE, child_environment, trust, write_campaign

from assets.attempt.monitor import Hooks
from assets.cli import main
from assets.config.allowed import read_allowed
from assets.config.data import prepare_data
from assets.config.environment import find_environment, read_environment
from assets.config.preparing import prepare_environment
from assets.config.trust import check_trusted
from assets.errors import NotAllowedError
from assets.graph.definitions import campaign_or_reason
from assets.work import work
from lake.tables import Stage

NONE = Hooks(sandbox="none")
MARK = """
try:
    open({place!r}, "a").write({name!r})
except OSError:  # behind a wall
    pass
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """An environment from elsewhere: each of its programs leaves a mark when it runs."""
    folder = shutil.copytree(RIDGE, tmp_path / "some where" / "environment")
    for name in ("prepare.py", "evaluate.py", "serve.py", "train.py", "model/features.py"):
        path = folder / name
        mark = MARK.format(place=str(tmp_path / "mark"), name=name)
        parts = re.split(r"(?m)^(?=import|from)", path.read_text(), maxsplit=1)
        path.write_text(f"{parts[0]}{mark}{''.join(parts[1:])}")
    (folder / "spare.py").write_text("")
    return folder


@pytest.fixture
def unseen(home, folder, tmp_path, monkeypatch):
    """A home with a campaign of it, of which the user has said nothing."""
    with monkeypatch.context() as without:
        without.delenv("VARVE_HOME")
        write_campaign(home.campaigns, "foreign", environment=str(folder), epochs=1)
    return home


COMMANDS = [
    ("search", "foreign"),
    ("search", "foreign", "--sandbox", "none"),
    ("backfill", "foreign", "--epochs", "0"),
    ("campaigns",),
    ("show", "123456"),
    ("lineage", "123456"),
    ("sql", "select 1"),
]


def test_no_command_runs_code_of_a_folder_that_was_not_named(unseen, tmp_path):
    for command in COMMANDS:
        done = CliRunner().invoke(main, list(command), catch_exceptions=False)
        if "foreign" in command:
            assert done.exit_code == 1
            assert (
                "run as you, outside the sandbox; found a folder that was not seen" in done.output
            )
    listed = CliRunner().invoke(main, ["campaigns"]).output
    assert "not seen before" in listed.replace("\n", " ")
    assert not (tmp_path / "mark").exists()
    assert not unseen.dagster.exists()


def test_the_ui_shows_such_a_campaign_and_runs_nothing_of_it(unseen, tmp_path):
    campaign_or_reason(unseen, "foreign")
    for stage in Stage:
        with pytest.raises(NotAllowedError, match="not seen before"):
            work(unseen, "foreign", stage, 0, hooks=NONE)
    with pytest.raises(NotAllowedError, match="not seen before"):
        materialize(unseen, 0, [Stage.SCORES], "foreign")
    assert not (tmp_path / "mark").exists()


@pytest.mark.trains
def test_the_line_that_is_told_lets_it_run_and_is_remembered(unseen, tmp_path):
    def varve(*more: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(VARVE), "search", "foreign", *more]
        return subprocess.run(
            command, env=child_environment(unseen), capture_output=True, text=True, cwd=tmp_path
        )

    told = varve().stderr.replace("\n", " ")
    [option] = re.findall(r"(--trust .*)$", told.strip())
    ran = varve(*shlex.split(option))
    assert ran.returncode == 0, ran.stderr
    assert {"prepare.py", "evaluate.py"} <= set(
        re.findall(r"[a-z/]+\.py", (tmp_path / "mark").read_text())
    )
    assert varve().returncode == 0


def changed(folder: Path, name: str, content: str | None) -> None:
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prepare.py", "import os\n"),
        ("evaluate.py", "import os\n"),
        ("train.py", "import os\n"),
        ("json.py", "import os\n"),
        ("tools/helper.py", "import os\n"),
        ("sitecustomize.py", ""),
        ("notes.txt", "data that a program reads"),
        ("spare.py", None),
    ],
)
def test_a_folder_that_has_changed_is_named_again_with_what_has(home, folder, name, content):
    trust(home, folder)
    known = read_allowed(home).code
    check_trusted(read_environment(folder), known, campaign="c")
    changed(folder, name, content)
    with pytest.raises(NotAllowedError) as caught:
        check_trusted(read_environment(folder), known, campaign="c")
    assert f"found another content than you have named: {name}. Expected" in str(caught.value)
    trust(home, folder)
    check_trusted(read_environment(folder), read_allowed(home).code, campaign="c")


def test_what_the_manifest_lets_run_is_part_of_it(home, folder):
    trust(home, folder)
    manifest = folder / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("floor = 0.99", "floor = 0.98"))
    with pytest.raises(NotAllowedError, match=r"have named: pyproject\.toml\. "):
        check_trusted(read_environment(folder), read_allowed(home).code, campaign="c")


def test_what_no_program_gets_is_not_part_of_it(home, folder):
    trust(home, folder)
    for name in ("README.md", "catalog.toml", ".git/config", "__pycache__/json.cpython-311.pyc"):
        changed(folder, name, "x")
    check_trusted(read_environment(folder), read_allowed(home).code, campaign="c")


def test_the_same_content_elsewhere_was_seen_already(home, folder, tmp_path):
    trust(home, folder)
    moved = shutil.copytree(folder, tmp_path / "moved")
    check_trusted(read_environment(moved), read_allowed(home).code, campaign="c")


def test_our_own_environments_need_no_name():
    for path in (PROJECT / "environments").glob("*/pyproject.toml"):
        check_trusted(read_environment(path.parent), {}, campaign="c")


@pytest.mark.parametrize("name", ["../tests/environments/ridge", "nanogpt/../../{folder}"])
def test_a_path_through_our_folder_leads_to_another_ones_code(folder, name):
    relative = os.path.relpath(folder, PROJECT)
    environment = read_environment(find_environment(name.format(folder=relative)))
    with pytest.raises(NotAllowedError, match="not seen before"):
        check_trusted(environment, {}, campaign="c")


def test_a_search_stops_where_the_code_changes_between_two_of_its_stages(home, folder):
    write_campaign(home.campaigns, "mine", environment=str(folder), epochs=1)
    work(home, "mine", Stage.EVOLUTION, 0, hooks=NONE)
    changed(folder, "evaluate.py", "import os\n")
    with pytest.raises(NotAllowedError, match=r"have named: evaluate\.py"):
        work(home, "mine", Stage.IDEAS, 0, hooks=NONE)
    with pytest.raises(NotAllowedError):
        search_all(home, "mine", hooks=NONE)


SAYS = """
import json, os, sys
from pathlib import Path
out = Path(sys.argv[-1])
found = {"environment": dict(os.environ), "files": sorted(map(str, Path().rglob("*")))}
(out / "said.json").write_text(json.dumps(found))
try:
    import planted
    (out / "planted").write_text("")
except ImportError:
    pass
"""
SECRETS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "WANDB_API_KEY",
    "PYTHONPATH",
    "LD_PRELOAD_OF_MINE",
    "SSH_AUTH_SOCK",
)


@pytest.fixture
def saying(tmp_path) -> Path:
    folder = shutil.copytree(RIDGE, tmp_path / "saying")
    path = folder / "prepare.py"
    path.write_text(path.read_text() + SAYS)
    return folder


def said(folder: Path) -> dict:
    data = prepare_data(read_environment(folder), "cpu", folder=folder.parent / "data")
    assert not (data.path / "planted").exists()
    return json.loads((data.path / "said.json").read_text())


def test_prepare_sees_where_downloads_come_from_and_no_secret(saying, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "s3cret")
    passed = {
        "HF_HOME": "/caches/hub",
        "HF_ENDPOINT": "https://mirror.example",
        "NO_PROXY": "localhost,127.0.0.1",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
    }
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "me:s3cret@@proxy.example:3128")
    seen = said(saying)["environment"]
    assert "s3cret" not in str(seen)
    assert passed.items() <= seen.items()
    assert seen["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert seen["http_proxy"] == "proxy.example:3128"
    assert seen["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    assert seen["HOME"] != os.environ["HOME"]
    assert not Path(seen["HOME"]).exists(), "what it left there is gone"


def test_prepare_runs_among_the_files_that_were_hashed_and_no_others(saying):
    (saying / "planted.pyc").write_bytes(b"no source")
    (saying / ".planted").mkdir()
    (saying / "__pycache__").mkdir()
    assert set(said(saying)["files"]) - {"model"} == set(read_environment(saying).files)


def test_prepare_is_given_a_path_as_it_is_and_no_login(tmp_path):
    outer = {
        "HF_HOME": "/mnt/@data/hf",
        "HTTPS_PROXY": "http://me:secret@proxy:3128",
        "HF_ENDPOINT": "https://me:secret@mirror/hf",
    }
    given = prepare_environment(outer, tmp_path)
    assert given["HF_HOME"] == "/mnt/@data/hf"
    assert (given["HTTPS_PROXY"], given["HF_ENDPOINT"]) == (
        "http://proxy:3128",
        "https://mirror/hf",
    )
