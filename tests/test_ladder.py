"""The ladder from an answer to a tree: what is mended, what is refused and in which words."""

import random
import time

import pytest
from conftest import PROJECT
from damage.write import header
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config.environment import read_environment
from assets.diffs.git import apply_diff, canonical_diff
from assets.diffs.validator import MOST_BYTES, check_diff
from assets.ladder import Applied, Form, apply_answer
from launchers import tree_hash

RIDGE = read_environment(PROJECT / "tests" / "environments" / "ridge")
TRAIN = RIDGE.files["train.py"].decode()


def block(path: str, search: str, replace: str) -> str:
    search, replace = (f"{text}\n" if text else "" for text in (search, replace))
    return f"{path}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def text_after(applied: Applied, path: str = "train.py") -> str:
    assert applied.reason is None, applied.reason
    files = apply_diff(RIDGE.files, applied.diff)
    assert tree_hash(files) == applied.tree
    return files[path].decode()


# ----------------------------------------------------------------------------- what is mended


def test_blocks_are_applied_one_after_the_other_in_nested_folders_too():
    answer = (
        f"Sure.\n\n{block('train.py', 'RIDGE = 30.0', 'RIDGE = 3.0')}\nand "
        f"{block('model/features.py', 'PRODUCTS = False', 'PRODUCTS = True')}"
        f"{block('train.py', 'RIDGE = 3.0', 'RIDGE = 4.0')}"
    ).replace("and model", "\nmodel")
    applied = apply_answer(RIDGE, answer)
    assert "RIDGE = 4.0" in text_after(applied)
    assert "PRODUCTS = True" in text_after(applied, "model/features.py")
    assert (applied.form, applied.repairs) == (Form.SEARCH_REPLACE, ())


def test_insertions_after_the_same_line_combine():
    line = "sys.stdout.flush()"
    answer = block("train.py", line, f"{line}\nprint(1)") + block(
        "train.py", line, f"{line}\nprint(2)"
    )
    assert text_after(apply_answer(RIDGE, answer)).endswith(f"{line}\nprint(2)\nprint(1)\n")


def test_a_block_with_nothing_to_put_there_takes_its_lines_away():
    applied = apply_answer(RIDGE, block("train.py", "sys.stdout.flush()", ""))
    assert text_after(applied) == TRAIN.removesuffix("sys.stdout.flush()\n")


def test_an_empty_search_makes_a_file_where_there_is_none():
    applied = apply_answer(RIDGE, block("model/extra.py", "", "WIDTH = 3"))
    assert text_after(applied, "model/extra.py") == "WIDTH = 3\n"


def test_what_was_mended_is_said():
    answer = (
        "--- train.py\n+++ train.py\n@@ -7,1 +7,1 @@\n"
        " import os\n-import sys\n+import re, sys\n import time\n"
    )
    applied = apply_answer(RIDGE, answer)
    assert "import re, sys\n" in text_after(applied)
    assert applied.repairs == ("train.py: header of git added", "train.py: 1 hunk header recounted")
    moved = apply_answer(RIDGE, answer.replace("-7,1 +7,1", "-5,3 +5,3"))
    assert moved.repairs[1] == "train.py: hunk 1 (line 3 of the diff): applied 4 lines further down"


def test_the_line_number_of_a_hunk_that_counts_right_tells_equal_places_apart():
    files = {**RIDGE.files, "train.py": b"x = 1\ny = 2\n\n" * 3}
    environment = type(RIDGE)(path=RIDGE.path, manifest=RIDGE.manifest, files=files)
    answer = "--- train.py\n+++ train.py\n@@ -{},2 +4,{} @@\n x = 1\n-y = 2\n+y = 5\n"
    applied = apply_answer(environment, answer.format(4, 2))
    assert (
        apply_diff(files, applied.diff)["train.py"]
        == b"x = 1\ny = 2\n\nx = 1\ny = 5\n\nx = 1\ny = 2\n\n"
    )
    for number, count in ((4, 3), (5, 2)):
        refused = apply_answer(environment, answer.format(number, count))
        assert "stands 3 times in the file, expected once: at lines 1, 4, 7" in refused.reason


@pytest.mark.parametrize("end", ["", "\\ No newline at end of file\n"])
def test_a_file_keeps_its_ends_of_lines(end):
    files = {**RIDGE.files, "train.py": b"x = 1\r\ny = 2\r\nz = 3"}
    environment = type(RIDGE)(path=RIDGE.path, manifest=RIDGE.manifest, files=files)
    answer = f"--- train.py\n+++ train.py\n@@\n x = 1\n-y = 2\n+y = 5\n+w = 6\n z = 3\n{end}"
    applied = apply_answer(environment, answer)
    assert apply_diff(files, applied.diff)["train.py"] == b"x = 1\r\ny = 5\r\nw = 6\r\nz = 3"


def test_a_false_end_of_file_in_the_middle_joins_no_lines():
    """Git takes it at its word."""
    after = {**RIDGE.files, "train.py": TRAIN.replace("import sys", "import re, sys").encode()}
    answer = canonical_diff(RIDGE.files, after) + "\\ No newline at end of file\n"
    assert apply_answer(RIDGE, answer).tree == tree_hash(after)


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (block("train.py", "RIDGE = 31.0", "RIDGE = 3.0"),
         ["train.py: block 1: ", "      | RIDGE = 31.0\n", "   18 | RIDGE = 30.0  # penalty"]),
        (block("train.py", "RIDGE = 3", "RIDGE = 4"), ["block 1", "0 times"]),
        (block("train.py", "    for row", "    for line"), ["block 1", "0 times"]),
        (block("train.py", "seed)", "seed))"), ["block 1", "0 times in the file"]),
        (block("train.py", "", "x = 1"), ["quotes no line of the file"]),
        (block("train.py", "\n", "x = 1"), ["only blank lines and signs"]),
        (block("train.py", "import sys\nimport os", "import os"),
         ["At line 10 the file comes closest", "   11 | import time"]),
        ("train.py\n```python\n" + TRAIN[:900] + "\n```\n", ["looks like an excerpt"]),
        ("train.py\n```python\n" + TRAIN, ["a fence of the answer does not end"]),
        ("train.py\n```python\n"
         + TRAIN.replace("import sys\n", "# ... the imports ...\n") + "```\n",
         ["'# ... the imports ...'", "left out"]),
        ("--- train.py\n+++ train.py\n@@\n import os\n+import re\n+# ... rest of the imports\n",
         ["hunk 1", "left out"]),
        ("--- train.py\n+++ train.py\n", ["expected `--- a/train.py`"]),
        ("--- train.py\n+++ model/features.py\n@@\n-x\n+y\n", ["for one file"]),
        ("--- train.py\n+++ train.py evaluate.py\n@@\n-x\n+y\n", ["for one file"]),
        ("<think>\n" + block("train.py", "RIDGE = 30.0", "RIDGE = 3.0"),
         ["no SEARCH/REPLACE block and no diff"]),
        ("Look:\n```python\nRIDGE = 3.0\n```\n", ["no SEARCH/REPLACE block and no diff"]),
    ],
)  # fmt: skip
def test_a_refusal_says_where_what_was_expected_and_what_is_there(answer, said):
    applied = apply_answer(RIDGE, answer)
    assert applied.tree is None
    assert applied.diff == answer
    for words in said:
        assert words in applied.reason


def test_a_change_beside_the_signs_is_no_drifted_context():
    answer = (
        "--- train.py\n+++ train.py\n@@\n import json\n import os, re\n import sys\n import time\n"
        "-from operator import mul\n+from operator import add, mul\n"
    )
    assert "0 times" in apply_answer(RIDGE, answer).reason
    commented = apply_answer(RIDGE, answer.replace("import os, re", "import os  # paths"))
    assert "import os\n" in text_after(commented)
    assert commented.repairs[-1].endswith("context has drifted")


def test_a_refusal_has_a_bounded_size():
    long = "\n".join(f"{'import sys  # ' * 500}{n}" for n in range(500))
    applied = apply_answer(RIDGE, block("train.py", f"import os\n{long}", "x = 1"))
    assert applied.tree is None
    assert len(applied.reason) < 8000


def test_a_hunk_that_needs_lines_which_another_one_takes_away_is_refused():
    answer = (
        "--- train.py\n+++ train.py\n@@\n import os\n-import sys\n+import re\n"
        "@@\n import sys\n-import time\n+import math\n"
    )
    assert "both speak of line 10" in apply_answer(RIDGE, answer).reason


# ------------------------------------------------------------------------------- any answer

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
pieces = st.one_of(
    words,
    st.sampled_from(TRAIN.split("\n")),
    st.sampled_from(
        ["train.py", "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```", "```diff",
         "```python train.py", "diff --git a/train.py b/train.py", "--- a/train.py",
         "+++ b/train.py", "--- /dev/null", "@@", "@@ -1,2 +1,2 @@", "-import os", "+import re",
         " import sys", "\\ No newline at end of file", "new file mode 100644", "rename from x",
         "<think>", "</think>", "...", "~~~", "+++", "--- ", "\r", "1 | x"]
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_any_answer_ends_in_a_tree_or_a_reason(lines, end):
    applied = apply_answer(RIDGE, end.join(lines))
    assert (applied.tree is None) == bool(applied.reason)


LINES = st.lists(
    st.sampled_from(
        ["", "x = 1", "    y = 2", "def f():", "-- a", "++ b", " z", "# größer", "\tt = 3",
         "x = 2 "]
    ),
    max_size=14,
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_what_is_stored_gives_the_tree_byte_for_byte_after_any_edit_and_damage(data):
    """Text files, so that nothing but the ladder decides; damage that leaves one right result."""
    before, after = (data.draw(LINES) for _ in range(2))
    ends = data.draw(st.tuples(st.booleans(), st.booleans()))
    files = {p: c for p, c in RIDGE.files.items() if p != "model/features.py"}
    old, new = (
        ("\n".join(x) + "\n" * (end and bool(x))).encode()
        for x, end in zip((before, after), ends, strict=True)
    )
    manifest = RIDGE.manifest.model_copy(update={"editable": ["train.py", "model/*.txt"]})
    files = {**files, "model/notes.txt": old}
    environment = type(RIDGE)(path=RIDGE.path, manifest=manifest, files=files)
    right = tree_hash({**files, "model/notes.txt": new})
    diff = canonical_diff(files, {**files, "model/notes.txt": new})
    if not diff:
        return
    answer = data.draw(st.sampled_from(DAMAGES))(diff, random.Random(data.draw(st.integers(0, 99))))
    applied = apply_answer(environment, answer)
    if applied.tree is not None:
        assert applied.tree == right == tree_hash(apply_diff(files, applied.diff))
        assert check_diff(applied.diff, environment) == ["model/notes.txt"]
    if answer == diff and "\n\\" not in diff:  # with such an end, header-like lines are refused
        assert applied.reason is None


def no_counts(diff: str, rng: random.Random) -> str:
    return "\n".join("@@" if line.startswith("@@ ") else line for line in diff.split("\n"))


def wrong_counts(diff: str, rng: random.Random) -> str:
    return "\n".join(
        f"@@ -{rng.randint(1, 9)},{rng.randint(1, 9)} +1,{rng.randint(10, 19)} @@"
        if line.startswith("@@ ")
        else line
        for line in diff.split("\n")
    )


def fenced(diff: str, rng: random.Random) -> str:
    return f"So:\n```diff\n{no_counts(diff, rng)}```\nGood luck!\n"


def without_git(diff: str, rng: random.Random) -> str:
    return "--- " + diff.partition("\n--- ")[2] if "\n--- " in diff else diff


def crlf(diff: str, rng: random.Random) -> str:
    return no_counts(diff, rng).replace("\n", "\r\n")


DAMAGES = [lambda diff, rng: diff, no_counts, wrong_counts, fenced, without_git, crlf]
MEBIBYTES = {
    "letters": "x" * MOST_BYTES,
    "openings": "x\n<<<<<<< SEARCH\n=======\n" * 40_000,
    "blocks": block("train.py", "RIDGE = 30.0", "RIDGE = 30.0") * 9_000,
    "one block": block("train.py", "import os\n" * 50_000, "import re\n" * 50_000),
    "blank block": block("train.py", "\n" * 500_000, "x = 1"),
    "fences": "```\n" * 250_000,
    "long fences": "````\n```\n" * 100_000,
    "thoughts": "<think></think>" * 60_000,
    "open thoughts": "<think>" * 140_000,
    "headers": "--- a/train.py\n+++ b/train.py\n" * 30_000,
    "git headers": "diff --git a/train.py b/train.py\n" * 30_000,
    "extended": "diff --git a/train.py b/train.py\n" + "index 1\n" * 100_000,
    "extended, sides": "index 1\n--- a\n+++ b\n" * 60_000,
    "hunks": "--- a/train.py\n+++ b/train.py\n" + "@@\n-x\n+y\n" * 100_000,
    "one hunk": "--- a/train.py\n+++ b/train.py\n@@\n" + " import os\n-import sys\n" * 45_000,
    "drifting": "--- a/train.py\n+++ b/train.py\n@@\n" + "\n" * 900_000 + "-import sys\n",
    "additions": "--- a/train.py\n+++ b/train.py\n@@\n import os\n" + "+x = 1\n" * 100_000,
    "whole file": "train.py\n```python\n" + "x = 1\n" * 170_000 + "```\n",
    "label": "`" * 500_000 + "train.py\n```\n",
    "path": "a/" * 500_000 + "\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n",
    "sentence": "a. " * 300_000 + "\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n",
    "markers": "<" * 500_000 + ">" * 500_000,
    "blanks": " " * 1_000_000 + "```",
    "numbers": "--- a/train.py\n+++ b/train.py\n@@\n"
    + "".join(f"-{n} | x\n" for n in range(60_000)),
    "ellipses": "train.py\n```python\n" + "# the code ... and the rest\n" * 30_000 + "```\n",
    "side": "--- a" + " " * 500_000 + "x\n+++ b" + " 2026-01-01" * 40_000 + "\n@@\n-x\n",
}


@pytest.mark.parametrize("name", MEBIBYTES)
def test_a_mebibyte_of_anything_takes_seconds(name):
    begun = time.process_time()
    applied = apply_answer(RIDGE, MEBIBYTES[name][:MOST_BYTES])
    assert (applied.tree is None) == bool(applied.reason)
    assert len(applied.reason or "") < 8000
    assert time.process_time() - begun < 10


def test_the_header_of_the_corpus_counts_as_git_does():
    assert header(3, [" a", "-b", "+c", "+d"]) == "@@ -3,2 +3,3 @@"
