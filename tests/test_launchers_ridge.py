"""The small environment itself: its manifest, its catalog, its data, and its README by hand."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_launchers import RIDGE, jobs, ridge_data, ridge_tree

__all__ = ["jobs"]

MANIFEST = tomllib.loads((RIDGE / "pyproject.toml").read_text())["tool"]["varve"]
CATALOG = tomllib.loads((RIDGE / "catalog.toml").read_text())["ideas"]
IDEAS = {idea["name"]: idea for idea in CATALOG}


def patched(*names: str) -> dict[str, bytes]:
    """The files that ideas change, with their edits made one after the other."""
    files = dict(ridge_tree())
    for name in names:
        for edit in IDEAS[name]["edits"]:
            text = files[edit["file"]].decode()
            assert text.count(edit["search"]) == 1, (name, edit)
            files[edit["file"]] = text.replace(edit["search"], edit["replace"]).encode()
    return files


def test_scoring_files_exist_and_are_not_editable():
    editable = {path for glob in MANIFEST["editable"] for path in RIDGE.glob(glob)}
    scoring = {RIDGE / name for name in MANIFEST["scoring"]}
    assert editable == {RIDGE / "train.py", RIDGE / "model" / "features.py"}
    assert all(path.exists() for path in scoring)
    assert not editable & scoring


@pytest.mark.parametrize("name", IDEAS)
def test_every_idea_of_the_catalog_applies_and_compiles(name):
    for path, content in patched(name).items():
        if path.endswith(".py"):
            ast.parse(content)


def test_ideas_that_edit_different_lines_combine_and_reach_the_noise(jobs):
    best = ("squares", "products", "waves", "light-penalty", "all-points")
    value = jobs.run(files=patched(*best)).evaluation.value
    assert 0.96 < value < MANIFEST["floor"]
    with pytest.raises(AssertionError):
        patched("squares", "cubes")


def test_one_idea_hurts_and_one_crashes_in_training(jobs):
    assert jobs.run("hurts", files=patched("heavy-penalty")).evaluation.value < 0.2
    crashed = jobs.run("crashes", files=patched("logarithms"))
    assert (crashed.status, crashed.blame) == ("failed", "train")
    assert "math" in crashed.log_tail


def test_the_baseline_is_within_its_recorded_noise(jobs):
    baseline = MANIFEST["profiles"]["cpu"]["baseline"]
    value = jobs.run().evaluation.value
    assert abs(value - baseline["mean"]) < 3 * baseline["sd"]


def test_the_data_is_the_same_everywhere():
    found = json.loads(Path(ridge_data(), "data.json").read_text())
    assert found["sha256"] == "168fbf29252b5f10930ff1a95c96b1ac9e9d009bc8c41406909d681ca5cf793f"


def test_the_environment_imports_the_standard_library_and_itself_only():
    known = {*sys.stdlib_module_names, "frames", "model"}
    for path in RIDGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= known
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in known


def test_the_commands_of_the_readme_score_the_folder_by_hand(tmp_path):
    script = re.search(r"```sh\n(.*?)```", (RIDGE / "README.md").read_text(), re.DOTALL)[1]
    script = script.replace("/tmp/ridge", str(tmp_path / "ridge"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["sh", "-ec", script]
    out = subprocess.check_output(command, cwd=RIDGE, env=environment, text=True)
    assert json.loads(out[out.index("{") :])["value"] == pytest.approx(0.428, abs=0.001)
