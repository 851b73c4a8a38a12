"""Reading an environment folder, and what is said about one that breaks the contract."""

import re
import shutil

import pytest
from conftest import PROJECT

from assets.config.environment import find_environment, read_environment, resolved_profile
from assets.config.site import site_of
from assets.errors import ManifestError
from launchers import LocalLauncher

RIDGE = PROJECT / "tests" / "environments" / "ridge"
ALL = [
    p.parent
    for top in ("environments", "tests/environments")
    for p in (PROJECT / top).glob("*/pyproject.toml")
]


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RIDGE, tmp_path / "ridge")


def change(folder, pattern: str, replacement: str) -> None:
    path = folder / "pyproject.toml"
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count
    path.write_text(text)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.name)
def test_every_environment_in_the_repository_keeps_the_contract(path):
    environment = read_environment(path)
    assert environment.manifest.name == path.name
    assert {"prepare.py", "train.py", "serve.py", "evaluate.py"} <= set(environment.files)
    assert not set(environment.editable) & {"prepare.py", "serve.py", "evaluate.py"}
    baseline = environment.profile("cpu").baseline
    assert baseline is not None
    assert baseline.n >= 20


def test_an_environment_is_found_by_name_or_by_path():
    assert find_environment("nanogpt") == PROJECT / "environments" / "nanogpt"
    assert find_environment("tests/environments/ridge") == RIDGE


def test_editable_files_may_lie_in_folders():
    assert "model/features.py" in read_environment(RIDGE).editable


def test_readme_manifest_and_caches_are_not_part_of_the_tree(folder):
    before = read_environment(folder).tree
    (folder / "README.md").write_text("other words")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "train.pyc").write_bytes(b"x")
    (folder / ".hidden").write_text("x")
    assert read_environment(folder).tree == before


def test_the_declared_baseline_is_not_part_of_a_profiles_identity(folder):
    before = read_environment(folder).profile("cpu")
    change(folder, r"^baseline = .*$", "")
    after = read_environment(folder).profile("cpu")
    assert after.baseline is None
    assert resolved_profile(after) == resolved_profile(before)


def test_scoring_files_do_not_count_as_training(folder):
    environment = read_environment(folder)
    other = dict(environment.files) | {"serve.py": b"# another server\n"}
    assert environment.training_tree(other) == environment.training_tree(environment.files)


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r"^\[tool\.varve", "[tool.other", r"no \[tool\.varve\] table"),
        (r"^metric = .*$", "", r"metric: Field required"),
        (
            r"^direction = .*$",
            'direction = "up"',
            r"direction: .*'minimize' or 'maximize'.*found 'up'",
        ),
        (
            r"^direction = .*\nfloor = .*$",
            'direction = "minimize"\nfloor = 0.0',
            r"floor: .*above 0: the reward is 1 / value.*maximize its negative \(found 0\.0\)",
        ),
        (
            r"^direction = .*\nfloor = .*$",
            'direction = "minimize"\nfloor = nan',
            r"floor: .*found nan",
        ),
        (
            r"^budget_seconds = .*$",
            "budget_seconds = -1",
            r"budget_seconds: .*greater than 0.*found -1",
        ),
        (r"^budget_seconds = .*$", 'budget_seconds = "1"\nbudget = 3', r"budget: Extra inputs"),
        (r"^outputs = .*$", "outputs = {}", r"outputs: .*at least 1"),
        (
            r"^editable = .*$",
            'editable = ["missing/*.py"]',
            r"editable: 'missing/\*\.py' matches no file",
        ),
        (r"^scoring = .*$", 'scoring = ["judge.py"]', r"scoring: 'judge\.py' matches no file"),
        (r"^editable = .*$", 'editable = ["*.py"]', r"is a scoring file too; expected no overlap"),
        (r"^name = \"ridge\"\nsummary", "name = 3\nsummary", r"name: .*string.*found 3"),
        (r"^metric = .*$", "metric =", r"cannot be read as TOML"),
    ],
)
def test_a_malformed_manifest_is_named_with_file_and_key(folder, pattern, replacement, said):
    change(folder, pattern, replacement)
    with pytest.raises(ManifestError, match=said) as caught:
        read_environment(folder)
    assert str(folder / "pyproject.toml") in str(caught.value)


def test_a_ceiling_may_lie_at_or_below_0(folder):
    change(folder, r"^floor = .*$", "floor = -1.5")
    assert read_environment(folder).manifest.floor == -1.5


def test_a_missing_manifest_or_folder_is_said_plainly(folder, tmp_path):
    (folder / "pyproject.toml").unlink()
    with pytest.raises(ManifestError, match=r"missing; expected a pyproject\.toml"):
        read_environment(folder)
    with pytest.raises(ManifestError, match="no such environment folder"):
        read_environment(tmp_path / "nowhere")


def test_a_link_is_no_part_of_an_environment(folder):
    (folder / "more.py").symlink_to("/etc/hostname")
    with pytest.raises(ManifestError, match=r"more\.py: found a link"):
        read_environment(folder)


def test_a_profile_that_cannot_run_here_is_refused(tmp_path):
    environment = read_environment(find_environment("nanogpt"))
    here = LocalLauncher(tmp_path / "runs", data=tmp_path / "data")
    with pytest.raises(ManifestError, match=r"profiles\.h100x8: .* not available yet"):
        site_of(here, environment, "h100x8")
    with pytest.raises(ManifestError, match="no profile 'tpu'; expected one of cpu, h100x8"):
        site_of(here, environment, "tpu")
