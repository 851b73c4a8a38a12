"""The ways in which models damage an answer that still says what it means; each has one right tree.

A way takes an edit and a source of chance and gives an answer, or None where it does not apply.
"""

import random
import re

from damage.edits import Edit
from damage.write import blocks, diff, header, whole

PROSE = (
    "I will make the change below. It should lower the loss:\n\n- faster warm-up\n- less noise\n\n"
)
WAYS = {}


def way(make):
    """Enter a way under its name."""
    WAYS[make.__name__.replace("_", "-")] = make
    return make


def tabs(text: str) -> str:
    """The text with a tab for each four blanks that it begins with."""
    width = (len(text) - len(text.lstrip(" "))) // 4
    return "\t" * width + text[4 * width :]


def only_removals(edit: Edit) -> bool:
    """Whether every change takes lines away, so that they say where it is."""
    return all(
        any(line[0] == "-" for line in lines)
        for path in edit.paths
        for _, lines in edit.hunks(path, 0)
    )


# ------------------------------------------------------------------------------------ diffs


@way
def clean_diff(edit: Edit, rng: random.Random):
    return diff(edit)


@way
def wrong_counts(edit: Edit, rng: random.Random):
    def head(start, lines):
        return f"@@ -{start},{rng.randint(1, 9)} +{start},{len(lines) + rng.randint(1, 4)} @@"

    return diff(edit, head=head)


@way
def wrong_offsets(edit: Edit, rng: random.Random):
    return diff(edit, head=lambda start, lines: header(max(1, start + rng.randint(-40, 40)), lines))


@way
def all_at_line_one(edit: Edit, rng: random.Random):
    return diff(edit, head=lambda start, lines: "@@ -1,1 +1,1 @@")


@way
def no_prefixes(edit: Edit, rng: random.Random):
    return diff(edit, a="", b="")


@way
def missing_diff_git(edit: Edit, rng: random.Random):
    return diff(edit, git=False)


@way
def timestamps(edit: Edit, rng: random.Random):
    return diff(edit, a="", b="", git=False, behind="\t2026-03-01 12:00:00.000000000 +0000")


@way
def timestamps_behind_blanks(edit: Edit, rng: random.Random):
    return diff(edit, git=False, behind="  2026-03-01 12:00:00")


@way
def odd_index_lines(edit: Edit, rng: random.Random):
    return re.sub(r"^--- ", "index abcdefg..hijklmn 100644\n--- ", diff(edit), flags=re.MULTILINE)


@way
def bare_hunk_headers(edit: Edit, rng: random.Random):
    return diff(edit, head=lambda start, lines: "@@")


@way
def dotted_hunk_headers(edit: Edit, rng: random.Random):
    return diff(
        edit,
        git=False,
        head=lambda start, lines: rng.choice(["@@ ... @@", "@@ def forward(self):", "@@ @@"]),
    )


@way
def no_hunk_headers(edit: Edit, rng: random.Random):
    if any(len(edit.hunks(path)) > 1 for path in edit.paths):
        return None
    return re.sub(r"^@@.*\n", "", diff(edit), flags=re.MULTILINE)


@way
def headers_at_every_hunk(edit: Edit, rng: random.Random):
    said = ""
    for path in edit.paths:
        if path not in edit.environment.files:
            said += diff(edit, paths=[path])
            continue
        for start, lines in edit.hunks(path):
            said += (
                f"--- a/{path}\n+++ b/{path}\n" + "\n".join([header(start, lines), *lines]) + "\n"
            )
    return said


@way
def crlf(edit: Edit, rng: random.Random):
    return diff(edit).replace("\n", "\r\n")


@way
def tabs_for_spaces(edit: Edit, rng: random.Random):
    return diff(edit, line=lambda text: text[0] + tabs(text[1:]))


@way
def trailing_blanks(edit: Edit, rng: random.Random):
    return diff(edit, line=lambda text: text + " " * rng.randint(1, 3))


@way
def stripped_blank_context(edit: Edit, rng: random.Random):
    return diff(edit, line=lambda text: "" if text == " " else text)


@way
def stripped_context(edit: Edit, rng: random.Random):
    return diff(edit, line=lambda text: text[1:] if text[0] == " " else text)


@way
def stripped_context_and_counts(edit: Edit, rng: random.Random):
    return diff(
        edit, head=lambda start, lines: "@@", line=lambda text: text[1:] if text[0] == " " else text
    )


@way
def signs_set_apart(edit: Edit, rng: random.Random):
    if not only_removals(edit):
        return None
    return diff(edit, line=lambda text: f"{text[0]} {text[1:]}" if text[0] in "+-" else text)


@way
def blank_behind_every_sign(edit: Edit, rng: random.Random):
    return diff(edit, line=lambda text: f"{text[0]} {text[1:]}" if text[1:] else text)


@way
def indented_hunks(edit: Edit, rng: random.Random):
    return diff(
        edit,
        head=lambda start, lines: "@@",
        line=lambda text: f"{text[0]}    {text[1:]}" if text[1:] else text,
    )


@way
def drifted_context(edit: Edit, rng: random.Random):
    """The outermost line of context is told from memory."""
    said: list[str] = []
    for path in edit.paths:
        is_new = path not in edit.environment.files
        said += [f"--- {'/dev/null' if is_new else 'a/' + path}", f"+++ b/{path}"]
        for start, lines in edit.hunks(path):
            context = [
                at for at in (0, len(lines) - 1) if lines[at][0] == " " and lines[at].strip()
            ]
            inner = [text for text in lines[1:-1] if text[0] != "+" and text.strip(" -")]
            changed = list(lines)
            if context and len(inner) >= 2:
                changed[context[0]] += "  # as before, roughly"
            said += [header(start, lines), *changed]
    return "\n".join(said) + "\n"


@way
def context_left_out(edit: Edit, rng: random.Random):
    """The outermost line of context is missing, and the counts are as if it were there."""
    said: list[str] = []
    for path in edit.paths:
        is_new = path not in edit.environment.files
        said += [f"--- {'/dev/null' if is_new else 'a/' + path}", f"+++ b/{path}"]
        for start, lines in edit.hunks(path):
            said += [header(start, lines), *(lines[1:] if lines[0][0] == " " else lines)]
    return "\n".join(said) + "\n"


@way
def little_context(edit: Edit, rng: random.Random):
    return diff(edit, context=1) if only_removals(edit) else None


@way
def no_context(edit: Edit, rng: random.Random):
    return diff(edit, context=0) if only_removals(edit) else None


@way
def much_context(edit: Edit, rng: random.Random):
    return diff(edit, context=30, head=lambda start, lines: "@@")


@way
def no_final_newline(edit: Edit, rng: random.Random):
    return diff(edit).removesuffix("\n")


@way
def end_of_file_that_is_none(edit: Edit, rng: random.Random):
    if any(edit.sides(p)[0][-9:] != edit.sides(p)[1][-9:] for p in edit.paths):
        return None
    return diff(edit) + "\\ No newline at end of file\n"


@way
def mail_signature(edit: Edit, rng: random.Random):
    return f"Subject: [PATCH] {edit.name}\n\n---\n\n" + diff(edit) + "-- \n2.39.5\n"


@way
def fenced_with_prose(edit: Edit, rng: random.Random):
    behind = "I hope that this helps.\n- One more idea: a larger batch.\n"
    return f"{PROSE}```diff\n{diff(edit)}```\n\n{behind}"


@way
def prose_behind_without_a_fence(edit: Edit, rng: random.Random):
    return diff(edit) + "\nThis lowers the loss, I believe.\n"


@way
def two_fences(edit: Edit, rng: random.Random):
    """A fence for each file, or for each hunk where there is one file."""
    if len(edit.paths) > 1:
        return "\nand\n\n".join(f"```diff\n{diff(edit, paths=[path])}```\n" for path in edit.paths)
    (path,) = edit.paths
    hunks = edit.hunks(path)
    if len(hunks) < 2:
        return None
    return "\nThen:\n\n".join(
        f"```diff\n--- a/{path}\n+++ b/{path}\n"
        + "\n".join([header(start, lines), *lines])
        + "\n```\n"
        for start, lines in hunks
    )


@way
def path_above_the_fence_only(edit: Edit, rng: random.Random):
    said = ""
    for path in edit.paths:
        if path not in edit.environment.files:
            return None
        lines = [text for _, hunk in edit.hunks(path) for text in ["@@", *hunk]]
        said += f"**{path}**\n```diff\n" + "\n".join(lines) + "\n```\n\n"
    return said


@way
def thinking_before(edit: Edit, rng: random.Random):
    draft = blocks(edit).replace("=", "==")
    thoughts = f"<think>\nPerhaps this:\n{draft}\nNo, better otherwise.\n</think>\n\n"
    return f"{thoughts}```diff\n{diff(edit)}```\n"


@way
def thinking_that_only_ends(edit: Edit, rng: random.Random):
    return f"Let me see. ```diff\n--- a/x\n+++ b/x\n</think>\n{diff(edit)}"


@way
def line_numbers_in_the_diff(edit: Edit, rng: random.Random):
    said: list[str] = []
    for path in edit.paths:
        if path not in edit.environment.files or not only_removals(edit):
            return None
        said += [f"--- a/{path}", f"+++ b/{path}"]
        for start, lines in edit.hunks(path):
            old, new = start, start
            said.append(header(start, lines))
            for text in lines:
                number = new if text[0] == "+" else old
                said.append(f"{text[0]}{number:4d} | {text[1:]}")
                old, new = old + (text[0] != "+"), new + (text[0] != "-")
    return "\n".join(said) + "\n"


# ----------------------------------------------------------------------------------- blocks


@way
def clean_blocks(edit: Edit, rng: random.Random):
    return blocks(edit)


@way
def blocks_in_fences(edit: Edit, rng: random.Random):
    return PROSE + blocks(edit, fence="```python")


@way
def blocks_with_the_path_inside(edit: Edit, rng: random.Random):
    return PROSE + blocks(edit, above="", fence="```", below="{path}")


@way
def blocks_with_the_path_at_the_fence(edit: Edit, rng: random.Random):
    return blocks(
        edit,
        above="The change:",
        fence=rng.choice(
            ["```python {path}", "```python:{path}", "```{path}", '```py title="{path}"']
        ),
    )


@way
def blocks_under_a_heading(edit: Edit, rng: random.Random):
    return blocks(
        edit,
        above=rng.choice(
            ["### `{path}`", "**{path}**", "File: {path}", "1. `{path}`:", "# {path}"]
        ),
        fence="```python",
    )


@way
def blocks_under_a_sentence(edit: Edit, rng: random.Random):
    return blocks(edit, above="Now I change the following lines in `{path}`:", fence="```python")


@way
def blocks_with_the_path_once(edit: Edit, rng: random.Random):
    if len(edit.paths) > 1:
        return None
    return f"{edit.paths[0]}\n" + blocks(edit, above="")


@way
def blocks_with_short_markers(edit: Edit, rng: random.Random):
    return blocks(edit, opening="<<<<< SEARCH", middle="=====", closing=">>>>> REPLACE")


@way
def blocks_with_long_markers(edit: Edit, rng: random.Random):
    return blocks(edit, opening="<<<<<<<<< SEARCH", middle="=========", closing=">>>>>>>>> REPLACE")


@way
def blocks_original_and_updated(edit: Edit, rng: random.Random):
    return blocks(edit, opening="<<<<<<< ORIGINAL", closing=">>>>>>> UPDATED")


@way
def blocks_with_uneven_markers(edit: Edit, rng: random.Random):
    return blocks(edit, opening="<<<<<<<< SEARCH", middle="======", closing=">>>>>>> REPLACE  ")


@way
def blocks_crlf(edit: Edit, rng: random.Random):
    return blocks(edit).replace("\n", "\r\n")


@way
def blocks_with_trailing_blanks(edit: Edit, rng: random.Random):
    return blocks(edit, line=lambda text: text + " " * rng.randint(1, 3))


@way
def blocks_with_tabs(edit: Edit, rng: random.Random):
    return blocks(edit, line=tabs)


@way
def blocks_dedented(edit: Edit, rng: random.Random):
    def both(search, replace, start):
        least = min((len(x) - len(x.lstrip()) for x in [*search, *replace] if x.strip()), default=0)
        return [x[least:] for x in search], [x[least:] for x in replace]

    return blocks(edit, both=both)


@way
def blocks_indented(edit: Edit, rng: random.Random):
    return blocks(edit, line=lambda text: f"    {text}" if text else text)


@way
def blocks_with_line_numbers(edit: Edit, rng: random.Random):
    def both(search, replace, start):
        if len(search) < 2:
            return search, replace
        return [[f"{start + n:4d} | {x}" for n, x in enumerate(side)] for side in (search, replace)]

    return blocks(edit, both=both)


@way
def blocks_with_numbers_on_one_side(edit: Edit, rng: random.Random):
    def both(search, replace, start):
        return [f"{start + n}: {x}" for n, x in enumerate(search)] if len(
            search
        ) > 1 else search, replace

    return blocks(edit, both=both)


@way
def blocks_and_a_diff(edit: Edit, rng: random.Random):
    """One file by blocks, another one by a diff."""
    if len(edit.paths) < 2:
        return None
    first = Edit(
        edit.name,
        edit.environment,
        {**edit.environment.files, edit.paths[0]: edit.after[edit.paths[0]]},
    )
    return blocks(first) + f"\nAnd:\n```diff\n{diff(edit, paths=edit.paths[1:])}```\n"


# ------------------------------------------------------------------------------ whole files


@way
def whole_file(edit: Edit, rng: random.Random):
    return PROSE + whole(edit)


@way
def whole_file_under_a_heading(edit: Edit, rng: random.Random):
    return whole(edit, above=rng.choice(["## `{path}`", "**{path}**:", "File: {path}"]))


@way
def whole_file_with_the_path_at_the_fence(edit: Edit, rng: random.Random):
    return whole(edit, above="Here it is:", fence=rng.choice(["```python {path}", "```py:{path}"]))


@way
def whole_file_with_the_path_in_a_comment(edit: Edit, rng: random.Random):
    return whole(edit, above="", below="# {path}")


@way
def whole_file_crlf(edit: Edit, rng: random.Random):
    return whole(edit).replace("\n", "\r\n")
