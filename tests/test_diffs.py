"""From two trees to a canonical diff, and back."""

import pytest
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
