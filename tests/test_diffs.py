"""From an answer to a tree, to a canonical diff, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.diffs import apply_blocks, apply_diff, canonical_diff, parse_blocks
from assets.errors import PatchError
from assets.syntax import check_syntax

FILES = {"train.py": b"LR = 1\nSTEPS = 2\n", "model/net.py": b"WIDTH = 3\n"}


def block(file: str, search: str, replace: str) -> str:
    return f"{file}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def test_blocks_are_applied_one_after_the_other_in_nested_folders_too():
    answer = f"Sure.\n\n{block('train.py', 'LR = 1', 'LR = 9')}\n{block('model/net.py', 'WIDTH = 3', 'WIDTH = 4')}"
    patched = apply_blocks(FILES, parse_blocks(answer))
    assert patched == {"train.py": b"LR = 9\nSTEPS = 2\n", "model/net.py": b"WIDTH = 4\n"}


def test_insertions_after_the_same_line_combine():
    answer = block("train.py", "STEPS = 2", "STEPS = 2\nSTEPS *= 3") + block(
        "train.py", "STEPS = 2", "STEPS = 2\nSTEPS -= 1"
    )
    patched = apply_blocks(FILES, parse_blocks(answer))
    assert patched["train.py"] == b"LR = 1\nSTEPS = 2\nSTEPS -= 1\nSTEPS *= 3\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I would rather not.", "no SEARCH/REPLACE block"),
        (block("train.py", "LR = 5", "LR = 6"), "0 times in the file, expected once"),
        (block("train.py", " = ", " == "), "2 times in the file, expected once"),
        (block("missing.py", "a", "b"), "no such file; expected one of model/net.py, train.py"),
        (block("train.py", "", "b"), "0 times"),
    ],
)
def test_an_answer_that_does_not_fit_says_why(answer, said):
    with pytest.raises(PatchError, match=said):
        apply_blocks(FILES, parse_blocks(answer))


def test_code_that_does_not_compile_is_refused_with_its_place():
    with pytest.raises(PatchError, match=r"train\.py: does not compile.*line 1"):
        check_syntax({"train.py": b"def f(:\n"})


lines = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["Cs"]))
trees = st.dictionaries(
    st.sampled_from(["train.py", "model/net.py", "a b.txt", "deep/er/x.py"]),
    lines.map(str.encode),
    min_size=1,
)


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
