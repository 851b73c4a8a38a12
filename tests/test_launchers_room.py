"""The launchers room itself: what it exports and imports, specifications, and tree hashes."""

import ast
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_launchers import ROOT, Jobs, lay_job_by_hand

import launchers
from launchers import TreeError, tree_hash
from launchers.tree import lay_tree, pack_tree, unpack_tree


def test_a_tree_hash_depends_on_paths_and_contents_only():
    files = {"a.py": b"1", "b/c.py": b"2"}
    assert tree_hash(files) == tree_hash(dict(reversed(files.items())))
    assert tree_hash(files) != tree_hash({"a.py": b"2", "b/c.py": b"1"})
    assert tree_hash(files) != tree_hash({"a.py": b"1", "b/d.py": b"2"})


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../b", "a//b", "", "a\nb", "a\\b", "./a"])
def test_a_tree_refuses_paths_that_could_leave_it(path):
    with pytest.raises(TreeError, match="expected a relative one"):
        tree_hash({path: b""})


PATHS = st.lists(st.text("ab.é_", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(PATHS, st.binary(max_size=9), max_size=5))
def test_a_tree_survives_being_packed(files):
    files = {path: content for path, content in files.items() if is_good(path)}
    assert unpack_tree(pack_tree(files)) == files


def is_good(path: str) -> bool:
    return not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../b", "a//b", "", "a\nb", "a\\b", "./a"])
def test_no_packed_tree_can_lay_a_file_outside(path, tmp_path):
    with pytest.raises(TreeError, match="expected a relative one"):
        pack_tree({path: b""})
    with pytest.raises(TreeError):
        unpack_tree(json.dumps([[path, 0]]).encode() + b"\n")
    with pytest.raises(TreeError):
        lay_tree(str(tmp_path / "env"), {path: b""})
    assert [found.name for found in tmp_path.rglob("*")] == ["env"]


@pytest.mark.parametrize(
    "packed", [b"", b"{", b'[["a", 3]]\nab', b'[["a", 1]]\nab', b"[1]\n", b"1"]
)
def test_a_damaged_tree_is_refused(packed):
    with pytest.raises(TreeError, match="submit"):
        unpack_tree(packed)


def test_the_room_exports_what_it_says():
    assert sorted(launchers.__all__) == launchers.__all__
    for name in launchers.__all__:
        assert getattr(launchers, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = launchers.nothing


def test_the_room_is_python_3_10_and_imports_the_standard_library_only():
    for path in (ROOT / "launchers").rglob("*.py"):
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
        "slow = {'subprocess', 'pathlib', 'shutil', 'asyncio', 'socket', 'tempfile', 'platform'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    assert subprocess.check_output(command, text=True) == "[]\n"


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
def test_a_forked_supervisor_imports_nothing_for_its_job(tmp_path, level):
    """What a job needs was imported once, before the fork, codecs of texts included."""
    made = Jobs(tmp_path / "runs")
    spec, files = made.job(sandbox=level)
    lay_job_by_hand(made, spec, files)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import launchers.nursery\n"
        "from launchers.supervisor.supervise import main\n"
        "before = set(sys.modules); main([sys.argv[2]])\n"
        "print(sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT), str(made.path(""))]
    assert subprocess.check_output(command, text=True) == "[]\n"
    assert made.wait().status == "finished"


def test_importing_the_room_costs_nothing():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import launchers; print(sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    assert subprocess.check_output(command, text=True) == "['launchers']\n"
