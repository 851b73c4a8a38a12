"""Ways to write an edit down: as git does, as blocks, as whole files."""

from collections.abc import Sequence

from damage.edits import Edit

Signed = Sequence[str]


def header(start: int, lines: Signed, *, shift: int = 0) -> str:
    """The line above a hunk, counted right."""
    old = sum(line[:1] != "+" for line in lines)
    new = sum(line[:1] != "-" for line in lines)
    return f"@@ -{start},{old} +{start + shift},{new} @@"


def diff(
    edit: Edit,
    *,
    paths: Sequence[str] | None = None,
    a: str = "a/",
    b: str = "b/",
    git: bool = True,
    behind: str = "",
    head=header,
    line=lambda text: text,
    context: int = 3,
) -> str:
    """The edit as a unified diff.

    Args:
        edit: what is written.
        paths: of which files; None is all.
        a: what stands before a path on the old side.
        b: what stands before it on the new side.
        git: with the header of git.
        behind: what stands behind a path.
        head: writes the line above a hunk.
        line: damages one line of a hunk, its sign included; a new file is what it says.
        context: lines around a change.
    """
    said: list[str] = []
    for path in edit.paths if paths is None else paths:
        is_new = path not in edit.environment.files
        if git:
            said += [f"diff --git {a}{path} {b}{path}"] + ["new file mode 100644"] * is_new
        said += [f"--- {'/dev/null' if is_new else a + path + behind}", f"+++ {b}{path}{behind}"]
        for start, lines in edit.hunks(path, context):
            said += [head(start, lines), *(lines if is_new else map(line, lines))]
    return "\n".join(said) + "\n"


def blocks(
    edit: Edit,
    *,
    above="{path}",
    opening: str = "<<<<<<< SEARCH",
    middle: str = "=======",
    closing: str = ">>>>>>> REPLACE",
    line=lambda text: text,
    both=None,
    fence: str = "",
    below: str = "",
) -> str:
    """The edit as SEARCH/REPLACE blocks.

    Args:
        edit: what is written.
        above: what stands above a block, before the fence.
        opening: marks the lines to find.
        middle: marks the lines to put there.
        closing: ends the block.
        line: damages one line; a new file is what it says.
        both: damages the lines to find and those to put there, together with where they begin.
        fence: the opening line of a fence around each block; none where it is empty.
        below: the first line inside the fence.
    """
    said: list[str] = []
    for path in edit.paths:
        for start, search, replace in places(edit, path):
            if both is not None:
                search, replace = both(search, replace, start)
            mine = line if search else str
            inner = [opening, *map(line, search), middle, *map(mine, replace), closing]
            inner = [below.format(path=path)] * bool(below) + inner
            outer = [fence.format(path=path), *inner, "```"] if fence else inner
            said += [above.format(path=path)] * bool(above) + outer + [""]
    return "\n".join(said)


def places(edit: Edit, path: str) -> list[tuple[int, list[str], list[str]]]:
    """Each place of a change: where it begins, its lines before and after; each stands once."""
    text = "\n" + edit.environment.files.get(path, b"").decode()
    for context in range(1, 12):
        found = [
            (start, [x[1:] for x in lines if x[0] != "+"], [x[1:] for x in lines if x[0] != "-"])
            for start, lines in edit.hunks(path, context)
        ]
        if all(not s or text.count("\n" + "\n".join(s) + "\n") == 1 for _, s, _ in found):
            return found
    raise AssertionError(f"{edit.name}: no context makes its places unique")


def whole(edit: Edit, *, above: str = "{path}", fence: str = "```python", below: str = "") -> str:
    """The edit as whole files."""
    said: list[str] = []
    for path in edit.paths:
        said += [above.format(path=path)] * bool(above) + [fence.format(path=path)]
        said += [below.format(path=path)] * bool(below)
        said += [*edit.sides(path)[1], "```", ""]
    return "\n".join(said)
