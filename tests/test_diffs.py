"""From two trees to a canonical diff, and back."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.diffs.git import apply_diff, canonical_diff
from assets.diffs.syntax import check_syntax
from assets.errors import PatchError

FILES = {"train.py": b"LR = 1\nSTEPS = 2\n", "model/net.py": b"WIDTH = 3\n"}


def test_code_that_does_not_compile_is_refused_with_its_place():
    with pytest.raises(PatchError, match=r"train\.py: does not compile.*line 1"):
        check_syntax({"train.py": b"def f(:\n"})


lines = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["Cs"]))
trees = st.dictionaries(
    st.sampled_from(["train.py", "model/net.py", "a b.txt", "deep/er/x.py"]),
    lines.map(str.encode),
    min_size=1,
)


@settings(deadline=None)  # it starts git, which is slow where much else runs
@given(before=trees, after=trees)
def test_applying_a_canonical_diff_gives_the_tree_byte_for_byte(before, after):
    after = before | after
    assert apply_diff(before, canonical_diff(before, after)) == after


def test_equal_trees_have_an_empty_diff():
    assert canonical_diff(FILES, dict(FILES)) == ""
    assert apply_diff(FILES, "") == FILES


def test_a_diff_for_another_tree_is_refused():
    diff = canonical_diff(FILES, FILES | {"train.py": b"LR = 2\nSTEPS = 2\n"})
    with pytest.raises(PatchError, match="git apply"):
        apply_diff(FILES | {"train.py": b"something else\n"}, diff)


def test_a_diff_that_fits_elsewhere_than_it_says_is_refused():
    """Of several such places git would take the nearest."""
    before = {"train.py": b"".join(b"a\nb\n%d\n" % n for n in range(9))}
    after = {"train.py": before["train.py"].replace(b"4\n", b"four\n")}
    diff = canonical_diff(before, after)
    assert apply_diff(before, diff) == after
    with pytest.raises(PatchError, match="offset 3 lines"):
        apply_diff({"train.py": b"x\ny\nz\n" + before["train.py"]}, diff)


ONE_DIFF = "from assets.diffs.git import canonical_diff as c; print(c({'a': b'1'}, {'a': b'2'}))"


def one_diff(path: str) -> subprocess.CompletedProcess:
    """A diff that another process makes with this PATH, which a process looks for git on once."""
    return subprocess.run(
        [sys.executable, "-c", ONE_DIFF],
        env=os.environ | {"PATH": path},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )


def program(folder, script: str) -> str:
    """A git of one's own; the folder that it is in."""
    path = folder / "git"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_git_is_found_wherever_the_users_path_has_it(tmp_path):
    used, real = tmp_path / "used", shutil.which("git")
    done = one_diff(
        program(tmp_path, f'echo "$HOME $PATH" >> {used}\nexec {shlex.quote(real)} "$@"')
    )
    assert "-1" in done.stdout.splitlines(), done.stderr
    assert used.read_text() == "/nonexistent /usr/local/bin:/usr/bin:/bin\n"


def test_a_machine_without_git_is_told_so(tmp_path):
    said = one_diff(str(tmp_path)).stderr
    assert f"VarveError: git: not found in PATH='{tmp_path}'; expected git" in said


def test_a_git_that_fails_is_quoted(tmp_path):
    said = one_diff(program(tmp_path, "echo 'fatal: out of luck' >&2; exit 128")).stderr
    assert "VarveError" in said
    assert (
        f"{tmp_path}/git diff: exit code 128, expected 0 or 1. It said: fatal: out of luck" in said
    )
