"""The rooms keep their doors, and the tree its shape."""

import ast
import importlib
import json
import os
import subprocess
import sys

import pytest
from conftest import PROJECT

ENVIRONMENTS = sorted(
    path.parent
    for top in ("environments", "tests/environments")
    for path in (PROJECT / top).glob("*/pyproject.toml")
)
PROGRAMS = [*sorted((PROJECT / "tests").glob("bench_*.py")), PROJECT / "tests/estimate_prices.py"]
OURS = {"assets", "lake", "launchers", "environments", "varve"}
TOP_LEVEL = {
    "pyproject.toml", "assets", "environments", "launchers", "lake", "tests", "README.md",
    "Makefile", "LICENSE", "requirements.lock",
}  # fmt: skip


def imported_roots(source: str) -> set[str]:
    """Top-level names that a module imports, wherever in the file the import stands."""
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add("<relative>" if node.level else (node.module or "").split(".")[0])
    return roots


@pytest.mark.parametrize("folder", ENVIRONMENTS, ids=lambda p: p.name)
def test_an_environment_is_a_folder_that_imports_nothing_of_ours(folder):
    assert not list(folder.rglob("__init__.py"))
    for path in folder.rglob("*.py"):
        assert not imported_roots(path.read_text()) & (OURS | {"<relative>"}), path


def test_only_the_rooms_stand_at_the_top():
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so that nobody knows which files belong to the project")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


@pytest.mark.parametrize("room", ["lake", "launchers"])
def test_a_room_exports_what_it_says_and_nothing_twice(room):
    module = importlib.import_module(room)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_program_of_make_bench_finds_what_it_imports(program):
    """Nothing else runs them but `make bench`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {program.stem}"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lake", {"polars", "deltalake", "duckdb", "dagster", "torch"}),
        ("launchers", {"polars", "deltalake", "dagster", "torch", "numpy"}),
        ("assets.cli", {"dagster", "polars", "torch"}),
        ("assets.work", {"dagster", "torch"}),
    ],
)
def test_the_light_world_stays_free_of_the_heavy_one(module, heavy):
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert not set(json.loads(done.stdout)) & heavy


def test_functions_stay_small():
    for room in ("assets", "lake", "launchers"):
        for path in (PROJECT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
