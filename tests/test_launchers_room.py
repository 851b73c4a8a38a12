"""The launchers room itself: what it exports and imports, specifications, and tree hashes."""

import ast
import subprocess
import sys

import pytest
from test_launchers import ROOT, Jobs

import launchers
from launchers import JobSpec, TreeError, tree_hash
from launchers.tree import lay_tree, read_tree


def test_a_specification_survives_json(tmp_path):
    spec, _ = Jobs(tmp_path).job()
    assert JobSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match=r"spec\.json"):
        JobSpec.from_json('{"run_id": "x"}')
    with pytest.raises(ValueError, match=r"spec\.json"):
        JobSpec.from_json('{"surprise": 1}')


def test_a_tree_hash_depends_on_paths_and_contents_only():
    files = {"a.py": b"1", "b/c.py": b"2"}
    assert tree_hash(files) == tree_hash(dict(reversed(files.items())))
    assert tree_hash(files) != tree_hash({"a.py": b"2", "b/c.py": b"1"})
    assert tree_hash(files) != tree_hash({"a.py": b"1", "b/d.py": b"2"})


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../b", "a//b", "", "a\nb", "a\\b", "./a"])
def test_a_tree_refuses_paths_that_could_leave_it(path):
    with pytest.raises(TreeError, match="expected a relative one"):
        tree_hash({path: b""})


def test_a_tree_with_a_link_cannot_be_read(tmp_path):
    lay_tree(str(tmp_path / "env"), {"a/b.py": b"1"})
    assert read_tree(str(tmp_path / "env")) == {"a/b.py": b"1"}
    (tmp_path / "env" / "link").symlink_to("/etc/passwd")
    with pytest.raises(TreeError, match="link"):
        read_tree(str(tmp_path / "env"))


def test_the_room_exports_what_it_says():
    assert sorted(launchers.__all__) == launchers.__all__
    for name in launchers.__all__:
        assert getattr(launchers, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = launchers.nothing


def test_the_room_is_python_3_10_and_imports_the_standard_library_only():
    for path in (ROOT / "launchers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module]
            for module in found:
                assert module.split(".")[0] in {*sys.stdlib_module_names, "launchers"}, path


def test_a_supervisor_imports_nothing_slow():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import launchers.supervisor.supervise\n"
        "slow = {'dataclasses', 'inspect', 'subprocess', 'pathlib', 'shutil', 'asyncio', 'socket'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    assert subprocess.check_output(command, text=True) == "[]\n"
