"""Diffs that a model wrote: what is refused, with git's own diffs where git can make one, and the
honest twin of each that must pass."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config.environment import Environment, read_environment
from assets.diffs.git import EXACT, apply_diff, canonical_diff
from assets.diffs.paths import check_path, importable_names
from assets.diffs.syntax import check_syntax
from assets.diffs.trees import PICTURE, check_tree, touched_paths
from assets.diffs.validator import MOST_BYTES, MOST_FILES, check_diff
from assets.errors import PatchError
from assets.ladder import apply_answer
from launchers import tree_hash

RIDGE = read_environment(PROJECT / "tests" / "environments" / "ridge")
TRAIN = RIDGE.files["train.py"].decode()
NAMES = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{who}_{what}": f"{what}@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def opened(*editable: str, **files: bytes) -> Environment:
    """The small environment with other editable globs and more files."""
    manifest = RIDGE.manifest.model_copy(update={"editable": list(editable)})
    return replace(RIDGE, manifest=manifest, files={**RIDGE.files, **files})


EVERYTHING = opened("*.py", "*.txt", "notes.txt", **{"notes.txt": b"one\n"})
"""As careless as a manifest can be: every Python file at any depth may be edited or made."""


class Repository:
    """A git checkout of the small environment, whose changes become diffs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path, content in RIDGE.files.items():
            self.write(path, content)
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "base")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *EXACT, *arguments], cwd=self.folder, env=NAMES, capture_output=True, check=True
        )
        return done.stdout.decode()

    def write(self, path: str, content: bytes | str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return target

    def diff(self, *options: str) -> str:
        self.git("add", "--all")
        return self.git("diff", "--cached", *options)


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "checkout")


def swap(path: str, before: str, after: str) -> str:
    """A diff of one line that git would accept."""
    header = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
    return f"{header}@@ -1 +1 @@\n-{before}\n+{after}\n"


def made(path: str, *lines: str, mode: str = "100644") -> str:
    """A diff that makes a file."""
    content = "".join(f"+{line}\n" for line in lines or ("x = 1",))
    count = len(lines or ("x = 1",))
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1,{count} @@\n{content}"
    )


# ------------------------------------------------------------------------------- what passes


def change_a_line(repo: Repository) -> None:
    repo.write("train.py", TRAIN.replace("RIDGE = 30.0", "RIDGE = 0.3"))


def change_two_places(repo: Repository) -> None:
    repo.write("train.py", TRAIN.replace("RIDGE = 30.0", "RIDGE = 0.3") + "# the end\n")


def change_nested(repo: Repository) -> None:
    text = RIDGE.files["model/features.py"].decode()
    repo.write("model/features.py", text.replace("PRODUCTS = False", "PRODUCTS = True"))
    change_a_line(repo)


def make_a_file(repo: Repository) -> None:
    repo.write("model/extra.py", "WIDTH = 3\n")


def make_an_empty_file(repo: Repository) -> None:
    repo.write("model/__init__.py", "")


def empty_a_file(repo: Repository) -> None:
    repo.write("model/features.py", "")


def drop_the_last_line_feed(repo: Repository) -> None:
    repo.write("train.py", TRAIN.removesuffix("\n"))


def write_header_like_lines(repo: Repository) -> None:
    fake = '"""\n-- a/evaluate.py\n++ b/evaluate.py\n@@ -1 +1 @@\ndiff --git a/x b/x\n"""\n'
    repo.write("train.py", fake + TRAIN)


def take_away_header_like_lines(repo: Repository) -> None:
    write_header_like_lines(repo)
    repo.git("commit", "--quiet", "--all", "-m", "fake headers")
    repo.write("train.py", TRAIN)


def write_beyond_ascii(repo: Repository) -> None:
    repo.write("train.py", "# größer, 大きい, \u26a0\ufe0f, form feeds aside\n" + TRAIN)


HONEST = [
    change_a_line, change_two_places, change_nested, make_a_file, make_an_empty_file, empty_a_file,
    drop_the_last_line_feed, write_header_like_lines, write_beyond_ascii,
]  # fmt: skip


@pytest.mark.parametrize("change", HONEST, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "options", [(), ("-U0",), ("-U1000",), ("--full-index",), ("--histogram",)]
)
def test_an_honest_diff_of_git_passes_and_gives_git_s_tree(repository, change, options):
    change(repository)
    diff = repository.diff(*options)
    paths = check_diff(diff, RIDGE)
    after = {
        path.relative_to(repository.folder).as_posix(): path.read_bytes()
        for path in repository.folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    assert paths == touched_paths(RIDGE.files, after)
    if options != ("-U0",):  # without context git asks for an option that we do not give
        assert apply_diff(RIDGE.files, diff) == after
        applied = apply_answer(RIDGE, f"Here it is.\n\n```diff\n{diff}```\nGood luck!\n")
        assert (applied.reason, applied.form) == (None, "unified_diff")
        assert applied.tree == tree_hash(after)
        assert check_diff(applied.diff, RIDGE) == paths
        assert tree_hash(apply_diff(RIDGE.files, applied.diff)) == applied.tree


def test_removed_lines_that_look_like_headers_are_content(repository):
    take_away_header_like_lines(repository)
    before = {**RIDGE.files, "train.py": repository.git("show", "HEAD:train.py").encode()}
    environment = replace(RIDGE, files=before)
    diff = repository.diff()
    assert "\n--- a/evaluate.py\n" in diff
    assert check_diff(diff, environment) == ["train.py"]
    assert apply_diff(before, diff) == dict(RIDGE.files)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]))
pieces = st.lists(
    st.one_of(
        st.sampled_from(["--- a/evaluate.py", "+++ b/x", "@@ -1 +1 @@", "", "\\ No", "x"]), texts
    )
)
edits = st.dictionaries(
    st.sampled_from(["train.py", "model/features.py", "model/new.py", "model/deep/er.py"]),
    pieces.map("\n".join).map(str.encode),
    min_size=1,
)


@settings(deadline=None, max_examples=150)
@given(base=edits, edit=edits)
def test_every_canonical_diff_passes_and_gives_the_same_tree_again(base, edit):
    environment = replace(RIDGE, files={**RIDGE.files, **base})
    patched = {**environment.files, **edit}
    diff = canonical_diff(environment.files, patched)
    if diff:
        assert sorted(check_diff(diff, environment)) == touched_paths(environment.files, patched)
    assert tree_hash(apply_diff(environment.files, diff)) == tree_hash(patched)


NASTY = (
    "--- a/evaluate.py", "+++ b/evaluate.py", "diff --git a/evaluate.py b/evaluate.py",
    "diff --git a/train.py b/evaluate.py", "@@ -1 +1 @@", "@@ -0,0 +1,3 @@", "@@ -1,9 +0,0 @@",
    "--- /dev/null", "+++ /dev/null", "rename from train.py", "rename to evaluate.py", "-x", "+x",
    "new file mode 100644", "deleted file mode 100644", "old mode 100644", "new mode 100755", "",
    " ", "\\ No newline at end of file", "index 1234567..7654321", "GIT binary patch",
    "--- a/train.py\t",
)  # fmt: skip
WHOLE = canonical_diff(
    RIDGE.files,
    {
        **RIDGE.files,
        "train.py": TRAIN.replace("30.0", "0.3").replace("import os\n", "").encode(),
        "model/features.py": b"",
        "model/new.py": b"x = 1",
    },
).split("\n")
places = st.integers(0, len(WHOLE) - 1)
cuts = st.lists(
    st.tuples(places, st.integers(0, 2), st.sampled_from(NASTY) | st.none()), max_size=4
)


@settings(deadline=None, max_examples=300)
@given(cuts=cuts)
def test_whatever_passes_means_the_same_to_git(tmp_path_factory, cuts):
    """A diff is mangled at random: either it is refused, or git names the very files that we do."""
    lines = list(WHOLE)
    for at, taken, put in cuts:
        lines[at : at + taken] = [] if put is None else [put]
    diff = "\n".join(lines)
    try:
        paths = check_diff(diff, RIDGE)
    except PatchError:
        return
    done = subprocess.run(
        ["git", *EXACT, "apply", "--numstat", "-z", "-p1", "-"],
        cwd=tmp_path_factory.getbasetemp(),
        input=diff.encode(),
        capture_output=True,
    )
    if done.returncode == 0:
        told = [line.split("\t")[2] for line in done.stdout.decode().split("\0")[:-1]]
        assert sorted(told) == sorted(paths)


# ------------------------------------------------------------------- what git makes and we refuse


def rename_away(repo: Repository) -> str:
    repo.git("mv", "evaluate.py", "old.py")
    return repo.diff("-M")


def rename_onto(repo: Repository) -> str:
    repo.git("mv", "-f", "train.py", "evaluate.py")
    return repo.diff("-M")


def copy_a_file(repo: Repository) -> str:
    repo.write("model/copy.py", TRAIN)
    return repo.diff("-C", "--find-copies-harder")


def make_executable(repo: Repository) -> str:
    (repo.folder / "train.py").chmod(0o755)
    return repo.diff()


def make_executable_and_change(repo: Repository) -> str:
    change_a_line(repo)
    return make_executable(repo)


def make_an_executable_file(repo: Repository) -> str:
    repo.write("model/run.py", "x = 1\n").chmod(0o755)
    return repo.diff()


def make_a_link(repo: Repository) -> str:
    (repo.folder / "model" / "data.py").symlink_to("/etc/passwd")
    return repo.diff()


def turn_into_a_link(repo: Repository) -> str:
    (repo.folder / "train.py").unlink()
    (repo.folder / "train.py").symlink_to("evaluate.py")
    return repo.diff()


def make_a_submodule(repo: Repository) -> str:
    head = repo.git("rev-parse", "HEAD").strip()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{head},model/sub.py")
    return repo.git("diff", "--cached")


def write_binary(repo: Repository) -> str:
    repo.write("train.py", b"\0\1\2" * 99)
    return repo.diff("--binary")


def write_binary_without_content(repo: Repository) -> str:
    repo.write("train.py", b"\0\1\2" * 99)
    return repo.diff()


def write_binary_as_text(repo: Repository) -> str:
    repo.write("train.py", b"x = 1\0\n")
    return repo.diff("--text")


def make_a_binary_file(repo: Repository) -> str:
    repo.write("model/fast.so", b"\x7fELF\0\0" * 9)
    return repo.diff("--binary")


def delete_a_file(repo: Repository) -> str:
    (repo.folder / "model" / "features.py").unlink()
    return repo.diff()


def delete_the_evaluator(repo: Repository) -> str:
    (repo.folder / "evaluate.py").unlink()
    return repo.diff()


def use_a_quoted_path(repo: Repository) -> str:
    repo.write("model/t\u0435st.py", "x = 1\n")
    return repo.diff()


def use_a_blank_in_a_path(repo: Repository) -> str:
    repo.write("model/a b.py", "x = 1\n")
    return repo.diff()


def edit_a_scoring_file(repo: Repository) -> str:
    repo.write("evaluate.py", "print(1)\n")
    return repo.diff()


def edit_a_frozen_file(repo: Repository) -> str:
    change_a_line(repo)
    repo.write("prepare.py", "print(1)\n")
    return repo.diff()


def make_attributes(repo: Repository) -> str:
    repo.write("model/.gitattributes", "*.py filter=x\n")
    return repo.diff()


def leave_out_the_prefixes(repo: Repository) -> str:
    change_a_line(repo)
    return repo.diff("--no-prefix")


def combine_a_merge(repo: Repository) -> str:
    change_a_line(repo)
    repo.git("commit", "--quiet", "--all", "-m", "ours")
    repo.git("branch", "ours")
    repo.git("checkout", "--quiet", "-b", "theirs", "HEAD~")
    repo.write("train.py", TRAIN.replace("RIDGE = 30.0", "RIDGE = 3.0"))
    repo.git("commit", "--quiet", "--all", "-m", "theirs")
    repo.git("merge", "--quiet", "-s", "ours", "--no-commit", "ours")
    repo.write("train.py", TRAIN.replace("RIDGE = 30.0", "RIDGE = 7.0"))
    repo.git("commit", "--quiet", "--all", "-m", "merged")
    return repo.git("show", "--format=", "--cc", "HEAD")


BY_GIT = {
    rename_away: "no rename, no copy",
    rename_onto: "may be emptied, not removed",
    copy_a_file: "no rename, no copy",
    make_executable: "a change of mode",
    make_executable_and_change: "a change of mode",
    make_an_executable_file: "an executable file",
    make_a_link: "a symbolic link",
    turn_into_a_link: "a file that is deleted",
    make_a_submodule: "a submodule",
    write_binary: "a binary patch",
    write_binary_without_content: "a binary file",
    write_binary_as_text: "holds a NUL",
    make_a_binary_file: "a binary patch",
    delete_a_file: "may be emptied, not removed",
    delete_the_evaluator: "may be emptied, not removed",
    use_a_quoted_path: "without quotes",
    use_a_blank_in_a_path: "no blank in them",
    edit_a_scoring_file: "evaluate.py: decides the score, so it is not editable",
    edit_a_frozen_file: "prepare.py: not editable; expected one of model/features.py, train.py",
    make_attributes: "a hidden part",
    combine_a_merge: "diff --git",
}


REFUSED_IN = [
    pytest.param(change, environment, id=f"{change.__name__}-{name}")
    for change in BY_GIT
    for name, environment in (("ridge", RIDGE), ("everything", EVERYTHING))
    if not (change is edit_a_frozen_file and environment is EVERYTHING)  # editable there
]


@pytest.mark.parametrize(("change", "environment"), REFUSED_IN)
def test_what_git_would_apply_and_no_patch_needs_is_refused_in_words(
    repository, change, environment
):
    diff = change(repository)
    assert diff
    with pytest.raises(PatchError) as refused:
        check_diff(diff, environment)
    assert BY_GIT[change] in str(refused.value)
    applied = apply_answer(environment, diff)
    assert (applied.tree, applied.form) == (None, "unified_diff")
    assert BY_GIT[change] in applied.reason


def test_a_diff_without_prefixes_is_refused_by_the_strict_reader_and_mended_by_the_ladder(
    repository,
):
    diff = leave_out_the_prefixes(repository)
    with pytest.raises(PatchError, match="begin with `a/` and `b/`"):
        check_diff(diff, RIDGE)
    applied = apply_answer(RIDGE, diff)
    wanted = TRAIN.replace("RIDGE = 30.0", "RIDGE = 0.3").encode()
    assert applied.tree == tree_hash({**RIDGE.files, "train.py": wanted})


# ---------------------------------------------------------------------- what is written by hand

FIRST = TRAIN.split("\n")[0]
GOOD = swap("train.py", FIRST, '"""Fits."""')


def edited(old: str, new: str, diff: str = GOOD) -> str:
    assert old in diff
    return diff.replace(old, new, 1)


BY_HAND = {
    "absolute": (swap("/etc/passwd", "a", "b"), "an absolute path"),
    "absolute side": (edited("+++ b/train.py", "+++ /tmp/train.py"), "expected `+++ b/train.py`"),
    "absolute header": (edited("a/train.py b/train.py", "/tmp/x /tmp/x"), "from the environment's"),
    "climbing": (swap("model/../../x.py", "a", "b"), "a part `.` or `..`"),
    "climbing prefix": (edited("a/train.py b/train.py", "../train.py ../train.py"), "begin with"),
    "dot part": (swap("./train.py", "a", "b"), "a part `.` or `..`"),
    "empty part": (swap("model//features.py", "a", "b"), "an empty part"),
    "no path": (swap("", "a", "b"), "an empty part"),
    "backslash": (swap("model\\features.py", "a", "b"), "a backslash"),
    "drive": (swap("c:/train.py", "a", "b"), "a drive letter"),
    "drive header": (edited("a/train.py b/train.py", "C:/x C:/x"), "from the environment's"),
    "quoted": (swap("train.py", "a", "b").replace("a/train.py b/", '"a/train.py" "b/'), "quotes"),
    "quoted octal": (
        edited("a/train.py b/train.py", r'"a/tr\141in.py" "b/tr\141in.py"'),
        "without quotes",
    ),
    "git folder": (made(".git/hooks/post-checkout"), "a hidden part"),
    "git folder below": (made("model/.git/config.py"), "a hidden part"),
    "two files in the header": (edited("b/train.py", "b/evaluate.py"), "the same path on both"),
    "blank trick": (edited("b/train.py", "b/evaluate.py b/train.py b/evaluate.py"), "no blank"),
    "other old side": (edited("--- a/train.py", "--- a/evaluate.py"), "expected `--- a/train.py`"),
    "other new side": (edited("+++ b/train.py", "+++ b/evaluate.py"), "expected `+++ b/train.py`"),
    "new side gone": (edited("+++ b/train.py", "+++ /dev/null"), "a file that is deleted"),
    "old side missing": (edited("--- a/train.py", "--- /dev/null"), "expected `--- a/train.py`"),
    "tab and a date": (edited("--- a/train.py", "--- a/train.py\t2024-01-01"), "nothing behind it"),
    "tab and a name": (edited("+++ b/train.py", "+++ b/train.py\tevaluate.py"), "nothing behind"),
    "carriage return": (GOOD.replace("\n", "\r\n"), "same path on both sides"),
    "carriage return in a side": (
        edited("+++ b/train.py", "+++ b/train.py\r"),
        "nothing behind it",
    ),
    "carriage return behind @@": (edited("@@ -1 +1 @@", "@@ -1 +1 @@\r"), "@@ -START"),
    "no header of git": (GOOD.partition("\n")[2], "`diff --git a/PATH b/PATH`"),
    "garbage behind": (GOOD + "Subject: more\n", "nothing else between files"),
    "garbage of a mail": (GOOD + "-- \n2.39.5\n", "nothing else between files"),
    "garbage between": (GOOD + "\nand now\n" + made("model/x.py"), "nothing else between files"),
    "more hunk than counted": (GOOD + "+import os\n", "nothing else between files"),
    "second old side": (
        GOOD + "--- a/evaluate.py\n+++ b/evaluate.py\n@@ -1 +1 @@\n-a\n+b\n",
        "diff --git",
    ),
    "count swallows a header": (
        edited("@@ -1 +1 @@", "@@ -1,2 +1,2 @@") + swap("evaluate.py", "a", "b"),
        "1 old and 1 new line(s) more",
    ),
    "count swallows sides": (
        edited("@@ -1 +1 @@", "@@ -1,2 +1,2 @@")
        + "--- a/evaluate.py\n+++ b/evaluate.py\n@@ -1 +1 @@\n",
        "found the end of the diff, expected 1 old and 1 new line(s)",
    ),
    "count is too small": (edited("@@ -1 +1 @@", "@@ -0,0 +1 @@"), "no more old line"),
    "count of nothing": (edited("@@ -1 +1 @@", "@@ -1,0 +1,0 @@"), "at least one line"),
    "counts cut off": (
        GOOD.rpartition("+")[0],
        "found the end of the diff, expected 1 new line(s)",
    ),
    "no hunk": (GOOD.partition("@@")[0], "found the end of the diff"),
    "no change": ("diff --git a/train.py b/train.py\n", "expected `--- a/train.py`"),
    "huge count": (edited("@@ -1 +1 @@", "@@ -1 +1,99999999 @@"), "@@ -START"),
    "words behind the end": (GOOD + "\\ No newline at end of line\n", "right after the line"),
    "end before any line": (
        edited("@@ -1 +1 @@\n", "@@ -1 +1 @@\n\\ No newline at end of file\n"),
        "right after",
    ),
    "lines behind the end": (
        edited("@@ -1 +1 @@", "@@ -1 +1,2 @@") + "\\ No newline at end of file\n+import os\n",
        "nothing behind the end",
    ),
    "two ends": (GOOD + "\\ No newline at end of file\n" * 2, "right after the line"),
    "combined": (edited("@@ -1 +1 @@", "@@@ -1 -1 +1 @@@"), "@@ -START"),
    "file twice": (GOOD + GOOD, "found train.py again, after line 1"),
    "new file that exists": (made("train.py"), "exists already"),
    "old file that does not exist": (swap("model/x.py", "a", "b"), "is no file"),
    "both sides new": (edited("a/train.py b/train.py", "b/train.py b/train.py"), "`b/` on both"),
    "folder mode": (made("model/x.py", mode="040000"), "a folder"),
    "odd mode": (made("model/x.py", mode="100600"), "the mode ('100600')"),
    "mode in the index": (
        edited("--- a", "index 1234567..7654321 120000\n--- a"),
        "a symbolic link",
    ),
    "odd index": (edited("--- a", "index zzz..yyy\n--- a"), "`index HASH..HASH 100644`"),
    "unknown header": (edited("--- a", "lfs pointer\n--- a"), "found 'lfs pointer'"),
    "empty": ("", "the diff is empty"),
    "blank": ("\n\n", "the diff is empty"),
    "NUL": (GOOD + "\0", "holds a NUL"),
    "not text": (GOOD.replace("Fits", "\ud800"), "is not text"),
    "too large": (GOOD + "\n" * MOST_BYTES, f"expected at most {MOST_BYTES}"),
    "too many files": (
        "".join(made(f"model/x{n}.py") for n in range(MOST_FILES + 1)),
        f"more than {MOST_FILES} files",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_tricks_are_refused_with_their_line(name):
    diff, said = BY_HAND[name]
    for environment in (RIDGE, EVERYTHING):
        with pytest.raises(PatchError) as refused:
            check_diff(diff, environment)
        assert said in str(refused.value)


@pytest.mark.parametrize(
    "diff",
    [
        GOOD,
        GOOD + "\n",
        GOOD.removesuffix("\n"),
        GOOD + "\n" + made("model/x.py"),
        GOOD + "\\ No newline at end of file\n",
        made("model/x.py", "a = 1", "", "b = 2"),
        "".join(made(f"model/x{n}.py") for n in range(MOST_FILES)),
        edited("@@ -1 +1 @@", "@@ -1 +1 @@ def main():"),
        edited("--- a", "index 1234567..7654321 100644\n--- a"),
        edited("@@ -1 +1 @@", "@@ -1,2 +1,2 @@") + "\n",
    ],
)
def test_what_is_written_plainly_passes(diff):
    assert check_diff(diff, RIDGE)


def test_a_hunk_that_swallows_sides_changes_nothing_but_its_own_file():
    """Lines that look like sides are content as long as the counts last: for git and for us."""
    diff = (
        "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n"
        "@@ -1,2 +1,2 @@\n-one\n+two\n--- a/evaluate.py\n+++ b/evaluate.py\n"
    )
    files = {**RIDGE.files, "train.py": b"one\n-- a/evaluate.py\n"}
    assert check_diff(diff, replace(RIDGE, files=files)) == ["train.py"]
    after = apply_diff(files, diff)
    assert after == {**files, "train.py": b"two\n++ b/evaluate.py\n"}


# ------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("evaluate.py", "decides the score"),
        ("Evaluate.py", "differs from evaluate.py in upper and lower case"),
        ("\u0435valuate.py", "not printable ASCII"),  # a Cyrillic letter
        ("cafe\u0301.py", "not printable ASCII"),  # not composed
        ("caf\u00e9.py", "not printable ASCII"),
        ("train\u200b.py", "not printable ASCII"),
        ("train\u202e.py", "not printable ASCII"),
        ("tr\nain.py", "not printable ASCII"),
        ("Model/new.py", "differs from model"),
        ("MODEL/features.py", "differs from model"),
        ("train.py/x.py", "found the file train.py"),
        ("model", "found a folder of that name"),
        ("model.py", "would hide model from import"),
        ("Train/x.py", "would hide train.py"),
        ("frames/__init__.py", "would hide frames.py"),
        ("model/features/__init__.py", "would hide model/features.py"),
        ("sitecustomize.py", "would stand in for"),
        ("usercustomize.py", "would stand in for"),
        ("conftest.py", "would stand in for"),
        ("setup.py", "would stand in for"),
        ("SiteCustomize.py", "would stand in for"),
        ("sitecustomize/__init__.py", "would stand in for"),
        ("random.py", "would stand in for"),
        ("json/__init__.py", "would stand in for"),
        ("torch.py", "would stand in for"),
        ("numpy/core.py", "would stand in for"),
        ("_socket.py", "would stand in for"),
        ("click.py", "would stand in for"),
        ("x.pth", "the suffix '.pth'"),
        ("x.so", "the suffix '.so'"),
        ("x.pyc", "the suffix '.pyc'"),
        ("x.pyd", "the suffix '.pyd'"),
        ("x.cpython-311-x86_64-linux-gnu.so", "the suffix '.so'"),
        ("x.PY", "the suffix '.PY'"),
        ("model/x.sh", "the suffix '.sh'"),
        ("Makefile", "the suffix ''"),
        ("-x.py", "letters, digits"),
        ("a b.py", "letters, digits"),
        ("a;b.py", "letters, digits"),
        ("x.py.", "ends with `.` or a blank"),
        ("x/" * 150 + "x.py", "more than 200 characters"),
    ],
)
def test_a_path_that_means_something_else_is_refused_even_where_all_is_editable(path, said):
    everything = opened("*", **{"notes.txt": b"one\n"})
    with pytest.raises(PatchError) as refused:
        check_path(path, everything)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["train.py", "model/features.py", "model/new.py", "layers.py", "my_torch.py", "other.txt",
     "blocks/attention.py", "model/random.py", "model/deep/net.py", "notes.txt"],
)  # fmt: skip
def test_an_honest_path_passes_where_it_is_editable(path):
    check_path(path, EVERYTHING)


def test_names_that_python_has_here_are_known():
    assert {"torch", "numpy", "json", "dagster", "yaml"} <= importable_names()


# --------------------------------------------------------------------------------- the tree


def tree(**changes: bytes) -> dict[str, bytes]:
    return {**RIDGE.files, **{path.replace("__", "/"): text for path, text in changes.items()}}


def test_the_tree_has_the_last_word_on_frozen_files():
    check_tree(RIDGE, {**RIDGE.files, "train.py": b"x = 1\n"})
    for path in ("evaluate.py", "frames.py", "prepare.py", "new.py"):
        with pytest.raises(PatchError, match="not editable"):
            check_tree(RIDGE, {**RIDGE.files, path: b"x = 1\n"})
    for path in ("evaluate.py", "train.py"):
        with pytest.raises(PatchError, match="emptied, not removed"):
            check_tree(RIDGE, {p: c for p, c in RIDGE.files.items() if p != path})


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (["model/net.py", "model/Net.py"], "upper and lower case"),
        (["model/net.py", "model/net/x.py"], "would hide"),
        (["model/a/x.py", "model/A/y.py"], "upper and lower case"),
    ],
)
def test_new_files_must_not_shadow_each_other(new, said):
    with pytest.raises(PatchError, match=said):
        check_tree(RIDGE, {**RIDGE.files, **dict.fromkeys(new, b"x = 1\n")})
    check_tree(RIDGE, {**RIDGE.files, new[0]: b"x = 1\n"})


def test_too_many_or_too_large_files_are_refused():
    many = {f"model/x{n}.py": b"x = 1\n" for n in range(MOST_FILES + 1)}
    with pytest.raises(PatchError, match=r"65 files .* at most 64"):
        check_tree(RIDGE, {**RIDGE.files, **many})
    with pytest.raises(PatchError, match="expected at most 1048576"):
        check_tree(RIDGE, {**RIDGE.files, "train.py": b"#" * (1 << 20) + b"\n"})
    check_tree(RIDGE, {**RIDGE.files, "train.py": b"#" * (1 << 20)})


HIDDEN = {
    "bidi override": "x = 1  # \u202e",
    "bidi isolate": "x = 1  # \u2066",
    "mark": "x = 1  # \u200f",
    "arabic mark": "x = 1  # \u061c",
    "zero width": "x\u200b = 1",
    "joiner": "x = '\u200d'",
    "joiner in a name": "x\u200dy = 1",
    "joiner between letters of a text": "x = 'a\u200db'",
    "joiner after a picture": "x = '\U0001f600\u200d'",
    "joiner before a picture": "x = '\u200d\U0001f600'",
    "joiner from a picture to a letter": "x = '\U0001f600\u200da'",
    "two joiners": "x = '\U0001f600\u200d\u200d\U0001f600'",
    "joiner at a letter that is a sign": "\u2139\u200d\U0001f600 = 1",
    "override among pictures": "x = '\U0001f600\u200d\u202e\U0001f600'",
    "two marks of colour": "x = '\U0001f600\ufe0f\ufe0f'",
    "mark of no picture that is joined": "x = '\U0001f600\u200d\U0001f600\ufe0f\ufe0f'",
    "picture that there is not": "x = '\U0001f600\u200d\U0001f8ff'",
    "tags behind a flag": "x = '\U0001f3f4\U000e0067\U000e0062\U000e007f'",
    "form feed in a line": "x = 1  # one\fimport os",
    "form feed behind a line": "x = 1\f",
    "form feed in an indentation": "if x:\n    \fy = 1",
    "two form feeds": "\f\fx = 1",
    "vertical tab": "\vx = 1",
    "soft hyphen": "x = '\u00ad'",
    "byte order mark": "\ufeffx = 1",
    "filler": "\u3164 = 1",
    "tag letters": "x = 1  # \U000e0041",
    "line separator": "x = 1  # \u2028import os",
    "carriage return": "x = 1  # \rimport os",
    "escape": "x = 1  # \x1b[8m",
    "backspace": "x = 1  # \b\b\b",
    "C1": "x = 1  # \x9b8m",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_characters_are_refused_where_they_are_added(name):
    text = (HIDDEN[name] + "\n").encode()
    with pytest.raises(PatchError, match=r"hidden characters \(U\+"):
        check_tree(RIDGE, {**RIDGE.files, "train.py": text})
    known = replace(RIDGE, files={**RIDGE.files, "train.py": text})
    check_tree(known, {**known.files, "train.py": text + b"y = 2\n"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = '\xff'\n", "is not UTF-8 at byte 5"),
        (b"x = 1\0\n", r"hidden characters \(U\+0000\)"),
        ("x = 1\nx\ufe0f = 2\n".encode(), r"hidden characters \(U\+FE0F\)"),
        ("s = '\ufe0f' + 'a \ufe0f' + f(\ufe0e)\n\ufe0f".encode(), r"hidden characters"),
        ("\u03a9\ufe0e = x1\ufe0f\n".encode(), r"hidden characters \(U\+FE0E, U\+FE0F\)"),
        (b"# coding: utf-7\nx = 1\n", "found the coding utf-7"),
        (b"# -*- coding: unicode_escape -*-\n#\\u000aimport os\n", "found the coding"),
        (b"# coding: latin-1\nx = 1\n", "found the coding iso-8859-1"),
        (b"# coding: nonsense\n", "unknown encoding"),
    ],
)
def test_files_that_are_no_plain_text_are_refused(content, said):
    with pytest.raises(PatchError, match=said):
        check_tree(RIDGE, {**RIDGE.files, "train.py": content})


@pytest.mark.parametrize(
    "content",
    [
        b"# coding: utf-8\nx = 1\n",
        "s = '\u00e9\u5927 \u26a0\ufe0f \u203c\ufe0f 1\ufe0f\u20e3'\n".encode(),
        b"x = 1\r\ny = 2\r\n",
        b"x = 1\n\f\ndef f(): ...\n\fdef g(): ...\n",
        b"x = 1\r\n\f\r\ny = 2\r\n",
        b"\f# coding: utf-8\nx = 1\n",
        "s = '\U0001f468\u200d\U0001f469\u200d\U0001f467'  # a family\n".encode(),
        "s = '\u2764\ufe0f\u200d\U0001f525 \U0001f3f3\ufe0f\u200d\U0001f308'\n".encode(),
        "s = '\U0001f469\U0001f3fd\u200d\U0001f4bb \U0001f3c3\u200d\u2640\ufe0f'\n".encode(),
        "s = '\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f \U0001f43b\u200d\u2744\ufe0f'\n".encode(),
        b"",
    ],
)
def test_plain_text_passes(content):
    check_tree(RIDGE, {**RIDGE.files, "train.py": content})


def test_no_picture_that_may_be_joined_can_stand_in_a_name():
    pictures = re.compile(PICTURE)
    found = [chr(code) for code in range(sys.maxunicode + 1) if pictures.fullmatch(chr(code))]
    assert len(found) > 1000
    assert not [picture for picture in found if f"_{picture}".isidentifier()]


# ------------------------------------------------------------------------------- compilation


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("(" * 1000 + ")" * 1000, "too many nested parentheses"),
        ("-" * 2_000_000 + "1", "does not compile"),
        ("x" + ".y" * 500_000, "does not compile"),
        ("x = " + "not " * 300_000 + "1", "does not compile"),
        ("f" + "()" * 300_000, "does not compile"),
        ("1" + "+1" * 500_000, "does not compile"),
        ("x = 1\nif x:\ny = 2\n", "line 3"),
        ("x = '\0'", "null bytes"),
        ("print(" + "9" * 5000 + ")", "Exceeds the limit"),
    ],
    ids=["parentheses", "minus", "attributes", "not", "calls", "sum", "indent", "NUL", "digits"],
)
def test_source_that_python_cannot_read_costs_the_patch_and_nothing_else(source, said):
    with pytest.raises(PatchError, match=r"train\.py: does not compile: ") as refused:
        check_syntax({"train.py": source.encode()})
    assert said in str(refused.value)


def test_a_compiler_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr("assets.diffs.syntax.COMPILER", "import time; time.sleep(60)")
    monkeypatch.setattr("assets.diffs.syntax.COMPILE_SECONDS", 0.2)
    with pytest.raises(PatchError, match=r"train\.py: .* still reading after 0\.2 s"):
        check_syntax({"train.py": b"x = 1\n"})


def test_a_compiler_that_dies_is_told_of(monkeypatch):
    monkeypatch.setattr("assets.diffs.syntax.COMPILER", "import os; os.abort()")
    with pytest.raises(PatchError, match="ended by signal 6"):
        check_syntax({"train.py": b"x = 1\n"})


def test_warnings_of_the_compiler_stay_off_the_terminal(capfd):
    check_syntax({"train.py": b"x = '\\d'\nif x is 'a': pass\nassert (x, 1)\n", "notes.txt": b"("})
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------- the ladder


def block(path: str, search: str, new: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n"


BLOCK = block("train.py", "RIDGE = 30.0", "RIDGE = 0.3")
DIFF = canonical_diff(
    RIDGE.files, {**RIDGE.files, "train.py": TRAIN.replace("RIDGE = 30.0", "RIDGE = 0.3").encode()}
)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (BLOCK, "search_replace"),
        (f"I will try.\n{BLOCK}\n{DIFF}", "search_replace"),
        (DIFF, "unified_diff"),
        (f"Here:\n{DIFF}", "unified_diff"),
        (f"```\n{DIFF}```\n", "unified_diff"),
        (f"```python\nx = 1\n```\nSo:\n```diff\n{DIFF}```\nDone.\n", "unified_diff"),
    ],
)
def test_an_answer_is_read_by_the_rung_that_it_is_written_for(answer, form):
    applied = apply_answer(RIDGE, answer)
    assert (applied.reason, applied.form) == (None, form)
    assert tree_hash(apply_diff(RIDGE.files, applied.diff)) == applied.tree


@pytest.mark.parametrize(
    ("answer", "form", "said"),
    [
        ("I would rather not.", "none", "no SEARCH/REPLACE block and no diff; expected SEARCH/REP"),
        ("", "none", "no SEARCH/REPLACE block and no diff"),
        (swap("train.py", "nothing", "b"), "unified_diff", "stands 0 times in the file"),
        (swap("train.py", FIRST, FIRST), "unified_diff", "changes nothing"),
        (block("evaluate.py", "a", "b"), "search_replace", "evaluate.py: decides the score"),
        (block("../x.py", "a", "b"), "search_replace", "a part `.` or `..`"),
        (block("Train.py", "a", "b"), "search_replace", "differs from train.py"),
        (block("model/new.py", "a", "b"), "search_replace", "no such file"),
        (BLOCK.partition("=======")[0], "search_replace", "cut off"),
        (BLOCK.partition(">>>>>>>")[0], "search_replace", "cut off"),
        (
            BLOCK + "x.py\n<<<<<<< SEARCH\n",
            "search_replace",
            "block 2: found no line '>>>>>>> REPLACE'",
        ),
        ("<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n", "search_replace", "path of its file"),
        (BLOCK * 300, "search_replace", "more than 256 blocks"),
        (block("train.py", "RIDGE = 30.0", "RIDGE = '\u202e'"), "search_replace", "U+202E"),
        (block("train.py", "RIDGE = 30.0", "RIDGE = ("), "search_replace", "does not compile"),
        (BLOCK + "\ud800", "search_replace", "is not text"),
        (BLOCK + "#" * MOST_BYTES, "search_replace", "expected at most"),
    ],
)
def test_an_answer_that_is_refused_is_kept_with_the_reason(answer, form, said):
    applied = apply_answer(RIDGE, answer)
    assert (applied.tree, applied.form) == (None, form)
    assert said in applied.reason
    assert len(applied.diff.encode()) <= MOST_BYTES + 16
    assert answer.startswith(applied.diff) or "\ud800" in answer


def test_a_reason_shows_what_a_model_hid_in_it():
    applied = apply_answer(RIDGE, edited("--- a/train.py", "--- a/train.py\x1b[2J"))
    assert "\x1b" not in applied.reason
    applied = apply_answer(RIDGE, block("train.py\x1b[2J", "a", "b"))
    assert "\x1b" not in applied.reason
