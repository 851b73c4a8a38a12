"""`make check` leaves out what is marked, `make test` nothing, and who is marked stands here."""

import ast
import re
import tomllib
from pathlib import Path

from conftest import PROJECT

MARKS = ("trains", "daemon")
WHOLLY_MARKED = {
    "test_audits", "test_killed_search", "test_language_campaign", "test_late_runs",
    "test_nanogpt_search", "test_redteam_nanogpt", "test_redteam_ridge", "test_search",
    "test_timing", "test_twins", "test_ui", "test_views",
}  # fmt: skip
PARTLY_MARKED = {
    "test_allowed_keys", "test_cli", "test_graph", "test_history", "test_level", "test_nanogpt",
    "test_nanogpt_seal", "test_nanogpt_secret", "test_object_store", "test_quoting", "test_readme",
    "test_seeds", "test_trust",
}  # fmt: skip


def recipe(target: str) -> str:
    """The lines of a target of the Makefile, its needs included."""
    text = (PROJECT / "Makefile").read_text()
    found = re.search(rf"^{target}:.*\n(?:\t.*\n)*", text, re.MULTILINE)
    assert found, target
    return found[0]


def marked(path: Path) -> tuple[bool, bool]:
    """Whether a module is marked as a whole, and whether a test of it is."""
    marks = {f"pytest.mark.{mark}" for mark in MARKS}
    tree = ast.parse(path.read_text())
    whole = {
        ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    }
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    single = {ast.unparse(mark) for test in tests for mark in test.decorator_list}
    return bool(marks & whole), bool(marks & single)


def test_the_short_check_leaves_out_the_marked_tests_and_the_long_one_nothing():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]
    assert "-m" not in settings["ini_options"]["addopts"].split()
    assert tuple(line.partition(":")[0] for line in settings["ini_options"]["markers"]) == MARKS
    assert f"-m '{' and '.join(f'not {mark}' for mark in MARKS)}'" in recipe("check")
    assert not re.search(r"-[mk]\b|--deselect|--ignore", recipe("test"))
    assert "lint" in recipe("check")
    assert "lint" in recipe("test")


def test_what_is_marked_is_listed():
    found = {path.stem: marked(path) for path in (PROJECT / "tests").glob("test_*.py")}
    assert {name for name, (whole, _) in found.items() if whole} == WHOLLY_MARKED
    assert {name for name, (_, single) in found.items() if single} == PARTLY_MARKED


def test_who_starts_the_daemon_is_marked_so():
    for path in (PROJECT / "tests").glob("test_*.py"):
        source = path.read_text()
        if "running_ui" in source and path != Path(__file__):
            assert "pytestmark = pytest.mark.daemon" in source, path
