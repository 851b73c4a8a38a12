"""Answers that have no right result: what they mean cannot be told, or may not be done."""

import random
from collections import Counter

from damage.edits import Edit
from damage.write import blocks, diff, header, places, whole

TRAPS = {}


def trap(make):
    """Enter a trap under its name."""
    TRAPS[make.__name__.replace("_", "-")] = make
    return make


def block(path: str, search: str, replace: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def repeated(edit: Edit, rng: random.Random) -> tuple[str, str]:
    """A line that stands several times in a file of the edit, and the file."""
    path = rng.choice([p for p in edit.paths if p in edit.environment.files])
    counted = Counter(line for line in edit.sides(path)[0] if any(map(str.isalpha, line)))
    several = sorted(line for line, count in counted.items() if count > 1)
    return path, rng.choice(several) if several else ""


@trap
def duplicated_place(edit: Edit, rng: random.Random):
    path, line = repeated(edit, rng)
    return block(path, line, line + "  # here") if line else None


@trap
def duplicated_place_in_a_diff(edit: Edit, rng: random.Random):
    path, line = repeated(edit, rng)
    if not line:
        return None
    header = rng.choice(["@@", "@@ -1,7 +1,9 @@"])
    return f"--- a/{path}\n+++ b/{path}\n{header}\n-{line}\n+{line}  # here\n"


@trap
def duplicated_anchor_of_an_insertion(edit: Edit, rng: random.Random):
    path, line = repeated(edit, rng)
    return f"--- a/{path}\n+++ b/{path}\n@@ @@\n {line}\n+x = 1\n" if line else None


@trap
def insertion_at_a_blank_line(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    return f"--- a/{path}\n+++ b/{path}\n@@ -900,1 +900,2 @@\n \n+x = 1\n"


@trap
def insertion_without_context(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    return (
        f"--- a/{path}\n+++ b/{path}\n@@ -{rng.randint(2, 9)},0 +10,1 @@\n+x = 1\n"
        if path in edit.environment.files
        else None
    )


@trap
def search_text_that_is_not_there(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    _, search, replace = places(edit, path)[0]
    gone = [x for x in search if x not in replace and x.strip()]
    if not gone:
        return None
    at = search.index(gone[0])
    wrong = [
        *search[:at],
        gone[0].replace(" = ", " = 1 + ") if " = " in gone[0] else gone[0] + "!",
        *search[at + 1 :],
    ]
    return block(path, "\n".join(wrong), "\n".join(replace))


@trap
def removed_line_that_is_not_there(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    start, lines = edit.hunks(path)[0]
    wrong = [x.replace("1", "7") if x[0] == "-" else x for x in lines]
    if wrong == lines:
        return None
    return f"--- a/{path}\n+++ b/{path}\n" + "\n".join([header(start, lines), *wrong]) + "\n"


@trap
def number_cut_short(edit: Edit, rng: random.Random):
    """A search text that stands in the file, and ends within a number there."""
    path, search = (
        ("train.py", "RIDGE = 3")
        if "ridge" in str(edit.environment.path)
        else ("train.py", "LEARNING_RATE = 1")
    )
    return block(path, search, search + "1")


@trap
def statement_cut_short(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    whole_lines = [
        x for x in edit.sides(path)[0] if x.count(" + ") == 1 and " = " in x and "#" not in x
    ]
    if not whole_lines or path not in edit.environment.files:
        return None
    short = rng.choice(whole_lines).partition(" + ")[0]
    return block(path, short, short + " * 2")


@trap
def elided_whole_file(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    if path not in edit.environment.files:
        return None
    lines = edit.sides(path)[1]
    words = rng.choice(
        [
            "# ... rest unchanged ...",
            "...",
            "# (rest of the file unchanged)",
            "# existing code here",
            "# ... existing code ...",
            "# same as before",
            "# The rest of the code remains the same",
            "\u2026",
        ]
    )
    cut = len(lines) * 2 // 3
    return f"{path}\n```python\n" + "\n".join([*lines[:cut], words, *lines[cut + 3 :]]) + "\n```\n"


@trap
def excerpt_under_a_path(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    if path not in edit.environment.files:
        return None
    return (
        f"{path}\n```python\n"
        + "\n".join(edit.sides(path)[1][: len(edit.sides(path)[0]) // 3])
        + "\n```\n"
    )


@trap
def whole_file_cut_off(edit: Edit, rng: random.Random):
    text = whole(edit).rstrip().removesuffix("```")
    return text[: -rng.randint(1, 200)]


@trap
def diff_cut_off(edit: Edit, rng: random.Random):
    text = diff(edit)
    return f"```diff\n{text[: rng.randint(len(text) // 2, len(text) - 2)]}"


@trap
def change_written_as_context(edit: Edit, rng: random.Random):
    """A line is changed without its signs, beside a change that has them."""
    path = edit.paths[0]
    start, lines = edit.hunks(path)[0]
    at = next((n for n, x in enumerate(lines) if x[0] == " " and " = " in x), None)
    if at is None or path not in edit.environment.files:
        return None
    lines = [*lines[:at], lines[at].replace(" = ", " = 1 + ", 1), *lines[at + 1 :]]
    return f"--- a/{path}\n+++ b/{path}\n" + "\n".join([header(start, lines), *lines]) + "\n"


@trap
def place_that_is_made_up(edit: Edit, rng: random.Random):
    """The context names a function that the file does not have."""
    path = edit.paths[0]
    start, lines = edit.hunks(path)[0]
    lines = [" def made_up(x):", *lines]
    return (
        f"--- a/{path}\n+++ b/{path}\n" + "\n".join([header(start, lines), *lines]) + "\n"
        if path in edit.environment.files
        else None
    )


@trap
def block_cut_off(edit: Edit, rng: random.Random):
    text = blocks(edit)
    return text[: text.rindex(">>>>>>>")]


@trap
def block_without_a_path(edit: Edit, rng: random.Random):
    return blocks(edit, above="Like this:")


@trap
def elided_replacement(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    if path not in edit.environment.files:
        return None
    _, search, _ = places(edit, path)[0]
    return block(path, "\n".join(search), f"{search[0]}\n# ... existing code ...")


@trap
def dots_for_the_lines_between(edit: Edit, rng: random.Random):
    """The block begins and ends as the file does, and has dots where the rest was."""
    path = edit.paths[0]
    lines = edit.sides(path)[0]
    if path not in edit.environment.files or len(lines) < 40:
        return None
    at = rng.randrange(len(lines) - 12)
    found = lines[at : at + 10]
    if "\n".join(lines).count("\n".join(found)) != 1 or not all(x.strip() for x in found[2:8]):
        return None
    blanks = found[2][: len(found[2]) - len(found[2].lstrip())]
    words = rng.choice(["...", "# ... and so on", "\u2026", "# \u2026 then what it does"])
    return block(path, "\n".join(found), "\n".join([*found[:2], blanks + words, *found[8:]]))


@trap
def dots_for_a_body(edit: Edit, rng: random.Random):
    """The whole file, with one function told by its first line alone."""
    path = edit.paths[0]
    if path not in edit.environment.files:
        return None
    lines = edit.sides(path)[1]
    heads = [n for n, x in enumerate(lines) if x.startswith("def ") and x.endswith(":")]
    if not heads:
        return None
    head = rng.choice(heads)
    end = next((n for n in range(head + 1, len(lines)) if lines[n][:1].strip()), len(lines))
    body = ["    ..."] if rng.random() < 0.5 else ["    # ... and so on", "    return x"]
    return (
        f"{path}\n```python\n"
        + "\n".join([*lines[: head + 1], *body, "", "", *lines[end:]])
        + "\n```\n"
    )


@trap
def elided_search(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    lines = edit.sides(path)[0]
    if path not in edit.environment.files or len(lines) < 20:
        return None
    return block(path, "\n".join([lines[4], "...", lines[15]]), "x = 1")


@trap
def search_dedented_alone(edit: Edit, rng: random.Random):
    """The lines to find have lost their indentation, and those to put there have not."""
    path = edit.paths[0]
    found = [
        (s, r)
        for _, s, r in places(edit, path)
        if s and min(len(x) - len(x.lstrip()) for x in s if x.strip()) >= 4
    ]
    if not found:
        return None
    search, replace = found[0]
    return block(path, "\n".join(x[4:] for x in search), "\n".join(replace))


@trap
def two_answers_that_differ(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    if path not in edit.environment.files:
        return None
    other = diff(edit, paths=[path]).replace("\n+", "\n+# ")
    return f"```diff\n{diff(edit, paths=[path])}```\nNo, better:\n```diff\n{other}```\n"


@trap
def the_same_hunk_twice(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    start, lines = edit.hunks(path)[0]
    hunk = "\n".join([header(start, lines), *lines])
    return (
        f"--- a/{path}\n+++ b/{path}\n{hunk}\n{hunk}\n" if path in edit.environment.files else None
    )


@trap
def scoring_file_without_a_header(edit: Edit, rng: random.Random):
    return (
        diff(edit, git=False)
        + "--- evaluate.py\n+++ evaluate.py\n@@\n-import json\n+import json, os\n"
    )


@trap
def rename_with_bare_hunks(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    return f"diff --git a/{path} b/{path}\nrename from {path}\nrename to evaluate.py\n" + diff(
        edit, git=False
    )


@trap
def deleted_file(edit: Edit, rng: random.Random):
    path = edit.paths[0]
    return (
        f"--- a/{path}\n+++ /dev/null\n@@\n"
        + "\n".join("-" + x for x in edit.sides(path)[0])
        + "\n"
    )


@trap
def new_file_that_exists(edit: Edit, rng: random.Random):
    return "--- /dev/null\n+++ b/train.py\n@@\n+x = 1\n"


@trap
def file_that_is_not_there(edit: Edit, rng: random.Random):
    return block(
        "model/nothing.py" if "ridge" in str(edit.environment.path) else "nothing.py",
        "x = 1",
        "x = 2",
    )


@trap
def changed_nothing(edit: Edit, rng: random.Random):
    line = edit.sides(edit.paths[0])[0]
    return block(edit.paths[0], line[0], line[0]) if line else None


@trap
def words_only(edit: Edit, rng: random.Random):
    return f"I would change `{edit.paths[0]}` so that it learns faster:\n\n- one\n- two\n"
