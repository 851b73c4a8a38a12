"""Dots: what stands for lines that are left out is refused, what says something stays."""

import pytest
from test_ladder import RIDGE, TRAIN, block, text_after

from assets.ladder import apply_answer

FEATURES = RIDGE.files["model/features.py"].decode()
FLUSH = "sys.stdout.flush()"
EXAMPLE = '''def halves(x):
    """Half of each.

    >>> for value in halves([2, 4]):
    ...     print(value)
    ...
    1.0
    2.0
    """
    return [value / 2 for value in x]'''
STUBS = '''class Model:
    """What is fitted."""

    def fit(self, x):
        ...

    def predict(self, x):
        """One number for each row."""
        ...  # left to others


class Failed(Exception):
    ...'''
HONEST = {
    "comment": "# at 100, 200 and 300 steps\n# ... and so on\nLATER = 1",
    "comment with a sign": "# \u2026 which costs 3 % of a step\nLATER = 1",
    "indented comment": "if RIDGE:\n    # ... but only then\n    LATER = 1",
    "doctest": EXAMPLE,
    "stubs": STUBS,
    "sentence in a docstring": 'def later():\n    """Waits\n    ... and then some.\n    """',
    "docstring that begins with dots": 'def later():\n    """... and then some."""',
    "sentence in a text": 'NOTE = """\none, two\n... and so on\n"""',
    "index": "def last(x):\n    return x[\n        ...,\n        -1,\n    ]",
    "index of a call": "def last(f):\n    return f()[\n        ...\n    ]",
    "handler": "try:\n    import numpy\nexcept ImportError:\n    ...",
}


def ways(code: str) -> dict[str, str]:
    """Answers that put code behind the last line of train.py, in every form."""
    added = "".join(f"+{line}\n" for line in code.split("\n"))
    return {
        "block": block("train.py", FLUSH, f"{FLUSH}\n{code}"),
        "hunk": f"--- a/train.py\n+++ b/train.py\n@@\n {FLUSH}\n{added}",
        "whole file": f"train.py\n````python\n{TRAIN}{code}\n````\n",
        "new file": f"model/later.py\n````python\nRIDGE = 1\n{code}\n````\n",
        "new file in a block": block("model/later.py", "", f"RIDGE = 1\n{code}"),
        "new file in a diff": f"--- /dev/null\n+++ b/model/later.py\n@@\n+RIDGE = 1\n{added}",
    }


WAYS = list(ways(""))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HONEST)
def test_dots_that_say_something_stay(name, way):
    applied = apply_answer(RIDGE, ways(HONEST[name])[way])
    path = "model/later.py" if way.startswith("new file") else "train.py"
    assert text_after(applied, path).endswith(f"\n{HONEST[name]}\n")


MARKS = {
    "dots": "...",
    "sign": "\u2026",
    "dots in a comment": "# ...",
    "dots around a comment": "# ... and the plots ...",
    "dots in brackets": "# [...] and so on",
    "what stays": "# ... the rest as it was",
    "what is the same": "# ... same for the others",
    "code": "# ... existing code",
    "dots after a statement": "LATER = 1\n...",
    "dots before a statement": "...\nLATER = 1",
    "dots in a body": "def later(x):\n    x = 2 * x\n    ...",
    "dots between statements": "def later(x):\n    ...\n    return x",
    "dots in a list": "LATER = [\n    1,\n    ...,\n    9,\n]",
    "dots in a list that is returned": "def later():\n    return [\n        ...,\n    ]",
    "dots in a call": "LATER = max(\n    1,\n    ...,\n)",
    "dots in a dict": "LATER = {\n    ...\n}",
    "dots in a text": 'LATER = """\none\n...\nthree\n"""',
    "words about code in a text": 'LATER = """\none\n... the remaining lines\n"""',
    "two lines of dots": "def later():\n    ...\n    ...",
    "comment of another language": "// ... and so on",
    "broken code": "def later(:\n    ...",
}


@pytest.mark.parametrize("way", ["block", "whole file", "new file in a diff"])
@pytest.mark.parametrize("name", MARKS)
def test_dots_that_stand_for_lines_are_refused(name, way):
    applied = apply_answer(RIDGE, ways(MARKS[name])[way])
    assert applied.tree is None
    assert "left out" in applied.reason


BODY = FEATURES[FEATURES.index("def features") :].rstrip("\n")
HEAD, *REST = BODY.split("\n")
LOST = {
    "body for dots": f"{HEAD}\n    ...",
    "body for its docstring and dots": f"{HEAD}\n{REST[0]}\n    ...",
    "lines for a comment": f"{HEAD}\n    # ... and so on\n    return values",
    "lines for a sentence": f'{HEAD}\n    """Of x\n    ... and so on."""\n    return [x]',
    "lines for the end of an example": f'{HEAD}\n    """Of x.\n\n    >>> x\n    ...\n    """',
    "lines behind a kept one": f"{HEAD}\n    # ... and so on\n{REST[0]}\n    return values",
    "lines for others": f"{HEAD}\n    # ... and then\n    a, b = x\n    c = a * b\n    return [c]",
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("form", ["block", "hunk", "whole file"])
def test_dots_beside_lines_that_are_lost_are_refused(name, form):
    lines = {"-": BODY.split("\n"), "+": LOST[name].split("\n")}
    signed = "".join(f"{sign}{line}\n" for sign in lines for line in lines[sign])
    answer = {
        "block": block("model/features.py", BODY, LOST[name]),
        "hunk": f"--- a/model/features.py\n+++ b/model/features.py\n@@\n{signed}",
        "whole file": "model/features.py\n```python\n"
        + FEATURES.replace(BODY, LOST[name])
        + "```\n",
    }[form]
    applied = apply_answer(RIDGE, answer)
    assert applied.tree is None
    assert "left out" in applied.reason or "excerpt" in applied.reason


CHANGED = {
    "a comment": ("RIDGE = 30.0", "# ... and so on\nRIDGE = 3.0"),
    "a comment and other words": ("RIDGE = 30.0", "# ... and so on\nRIDGE = max(1, SEED / 2)"),
    "an example": (BODY, EXAMPLE.replace("halves", "features")),
    "an index": (BODY, f"{HEAD}\n    return x[\n        ...,\n        0,\n    ]"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_dots_may_come_with_lines_that_change(name):
    """A comment with lines that are known again; what is no mark beyond doubt with any."""
    search, replace = CHANGED[name]
    path = "train.py" if search.startswith("RIDGE") else "model/features.py"
    assert replace in text_after(apply_answer(RIDGE, block(path, search, replace)), path)


def test_dots_on_both_sides_of_a_block_are_not_in_the_file():
    answer = block("train.py", "import json\n...\nimport time", "import re\n...\nimport time")
    assert "0 times" in apply_answer(RIDGE, answer).reason


def test_dots_of_the_file_may_stay_and_hide_no_loss():
    before = "def a():\n    ...\n\n\n# ...\ndef b(x):\n    y = 2 * x\n    return y\n"
    files = {**RIDGE.files, "train.py": before.encode()}
    environment = type(RIDGE)(path=RIDGE.path, manifest=RIDGE.manifest, files=files)
    changed = before.replace("2 * x", "3 * x")
    assert apply_answer(environment, f"train.py\n```python\n{changed}```\n").reason is None
    lost = before.replace("    y = 2 * x\n    return y", "    ...")
    assert "left out" in apply_answer(environment, f"train.py\n```python\n{lost}```\n").reason


def test_other_files_than_pythons_have_no_stubs():
    manifest = RIDGE.manifest.model_copy(update={"editable": ["train.py", "notes.txt"]})
    files = {**RIDGE.files, "notes.txt": b"one\ntwo\n"}
    environment = type(RIDGE)(path=RIDGE.path, manifest=manifest, files=files)
    answer = block("notes.txt", "one", "one\n... and so on")
    assert "left out" in apply_answer(environment, answer).reason
