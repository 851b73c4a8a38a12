"""From a raw answer to the tree that it makes, rung by rung; the strictest that succeeds wins.

1. One diff that the strict reader accepts and git applies where the diff says.
2. SEARCH/REPLACE blocks, unified diffs read forgivingly, whole files; all of an answer together.

The tree is not checked here: that is the same for all rungs (`assets.diffs.trees`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from assets.config.environment import Environment
from assets.diffs.git import apply_diff
from assets.diffs.paths import check_path
from assets.diffs.validator import check_diff
from assets.errors import PatchError
from assets.ladder.blocks import OPEN, Block, read_blocks
from assets.ladder.change import changed_by_block, changed_by_hunks, made_by_hunks
from assets.ladder.elision import check_dots
from assets.ladder.fences import Stretch, stretches
from assets.ladder.sections import FileChange, begins_diff, is_diff, read_sections
from assets.ladder.source import Source, read_source
from assets.ladder.whole import whole_file
from assets.models.thoughts import without_thoughts

DIFF_LANGUAGES = {"diff", "patch", "udiff"}
EXPECTED = (
    "expected SEARCH/REPLACE blocks, each under the path of its file, one unified diff that "
    "begins with `diff --git a/PATH b/PATH`, or a fence with a whole file under its path"
)


class Form(StrEnum):
    """How an answer is written."""

    NONE = "none"
    """None of the others."""
    SEARCH_REPLACE = "search_replace"
    """Blocks with a text to find and one to replace it."""
    UNIFIED_DIFF = "unified_diff"
    """What git prints."""
    FILE = "file"
    """Whole files, each in a fence under its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The tree that an answer makes, and what was repaired on the way."""

    files: Mapping[str, bytes]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerParts:
    """What an answer holds."""

    blocks: tuple[Block, ...]
    diffs: tuple[Stretch, ...]
    wholes: tuple[Stretch, ...]
    cut_off: bool
    """A fence does not end, so a diff or a file may be incomplete."""

    @property
    def form(self) -> Form:
        """The strictest form that any part of it has."""
        if self.blocks:
            return Form.SEARCH_REPLACE
        return Form.UNIFIED_DIFF if self.diffs else Form.FILE if self.wholes else Form.NONE


def form_of(answer: str) -> Form:
    """How an answer is written, however broken it is."""
    lines = _lines(answer)
    if any(OPEN.fullmatch(line) for line in lines):
        return Form.SEARCH_REPLACE
    return _sorted((), lines).form


def patched_by(environment: Environment, answer: str) -> Patched:
    """The tree that an answer makes of the environment's; not checked yet.

    Raises:
        PatchError: it has no known form, touches what it may not, or does not fit.
    """
    lines = _lines(answer)
    read = read_blocks(lines)
    held = _sorted(read.blocks, read.rest)
    if held.form is Form.NONE:
        raise PatchError(f"the answer has no SEARCH/REPLACE block and no diff; {EXPECTED}")
    exactly = _by_git(environment, answer) if held.form is Form.UNIFIED_DIFF else None
    return exactly or _by_hand(environment, held, crlf="\r\n" in answer)


def _lines(answer: str) -> list[str]:
    return without_thoughts(answer.replace("\r\n", "\n")).split("\n")


def _sorted(blocks: tuple[Block, ...], rest: Sequence[str]) -> AnswerParts:
    """The stretches of an answer by what they hold; its blocks have been taken out."""
    diffs, wholes, cut_off = [], [], False
    for stretch in stretches(rest):
        cut_off |= not stretch.closed
        said = stretch.language in DIFF_LANGUAGES
        if is_diff(stretch.lines, said=said and stretch.path is not None):
            diffs.append(stretch)
        elif stretch.path is not None and not said and any(x.strip() for x in stretch.lines):
            wholes.append(stretch)
    return AnswerParts(blocks=blocks, diffs=tuple(diffs), wholes=tuple(wholes), cut_off=cut_off)


def _by_git(environment: Environment, answer: str) -> Patched | None:
    """The tree that git makes of an answer with one faultless diff; None for any other answer."""
    held = _sorted((), without_thoughts(answer).split("\n"))
    if len(held.diffs) != 1 or held.wholes:
        return None
    lines = held.diffs[0].lines
    first = next((at for at in range(len(lines)) if begins_diff(lines, at)), 0)
    diff = "\n".join(lines[first:]).removesuffix("\n") + "\n"
    if "\n\\" in diff:  # git accepts it in the middle of a file too, and joins two lines there
        return None
    try:
        check_diff(diff, environment)
        return Patched(files=apply_diff(environment.files, diff))
    except PatchError:
        return None


def _by_hand(environment: Environment, held: AnswerParts, *, crlf: bool) -> Patched:
    if held.cut_off and (held.diffs or held.wholes):
        raise PatchError("a fence of the answer does not end; it is cut off. Write it again")
    known = sorted(environment.files)
    sections = [
        section
        for stretch in held.diffs
        for section in read_sections(stretch.lines, path=stretch.path, known=known)
    ]
    told = [block.path for block in held.blocks] + [section.path for section in sections]
    wholes = [stretch for stretch in held.wholes if stretch.path not in told]
    for stretch in held.wholes:
        if stretch.path in told:
            _check_quotation(stretch, environment.files)
    for path in dict.fromkeys([*told, *(str(stretch.path) for stretch in wholes)]):
        check_path(path, environment)
    repairs = ["carriage returns at the ends of lines taken away"] if crlf else []
    changed = _by_blocks(environment.files, held.blocks, repairs)
    for path, content in _by_sections(environment.files, sections, repairs).items():
        _agree(path, changed.setdefault(path, content), content)
    for stretch in wholes:
        path = str(stretch.path)
        content = _text(whole_file(stretch, path, _source(environment.files, path)))
        _agree(path, changed.setdefault(path, content), content)
    for path, content in changed.items():
        check_dots(path, environment.files.get(path, b"").decode(), content.decode())
    return Patched(files={**environment.files, **changed}, repairs=tuple(repairs))


def _check_quotation(stretch: Stretch, files: Mapping[str, bytes]) -> None:
    """Refuse a fence with the path of a file that other parts change, unless it quotes the file.

    Raises:
        PatchError: it may be meant as the file's new content.
    """
    path, said = str(stretch.path), "\n".join(stretch.lines).strip("\n")
    if said not in files.get(path, b"").decode("utf-8", errors="replace").replace("\r\n", "\n"):
        raise PatchError(
            f"{path}: the answer changes it in two ways: as a whole file, and by blocks or a diff; "
            "expected one form for all changes of a file"
        )


def _agree(path: str, one: bytes, other: bytes) -> None:
    if one != other:
        raise PatchError(
            f"{path}: the answer changes it in two ways that do not come to the same; expected one "
            "form for all changes of a file"
        )


def _by_blocks(
    files: Mapping[str, bytes], blocks: Sequence[Block], repairs: list[str]
) -> dict[str, bytes]:
    """The files that blocks change, one block after the other."""
    changed: dict[str, Source] = {}
    seen: set[tuple[str, tuple[str, ...], tuple[str, ...]]] = set()
    for block in blocks:
        same = (block.path, tuple(block.search), tuple(block.replace))
        if same in seen:
            raise PatchError(
                f"{block.path}: {block.where}: says again what an earlier block says; expected "
                "each change once"
            )
        seen.add(same)
        source = changed.get(block.path) or _source(files, block.path)
        if source is None and any(line.strip() for line in block.search):
            raise PatchError(
                f"{block.path}: {block.where}: no such file; expected one of "
                f"{', '.join(sorted(files))}"
            )
        changed[block.path] = changed_by_block(source or Source(lines=()), block, repairs)
    return {path: _text(source) for path, source in changed.items()}


def _by_sections(
    files: Mapping[str, bytes], sections: Sequence[FileChange], repairs: list[str]
) -> dict[str, bytes]:
    """The files that diffs change; all hunks of one file together."""
    changed: dict[str, bytes] = {}
    for path in dict.fromkeys(section.path for section in sections):
        mine = [section for section in sections if section.path == path]
        hunks = [hunk for section in mine for hunk in section.hunks]
        repairs += [f"{path}: {words}" for section in mine for words in section.repairs]
        source = _source(files, path)
        if source is not None and any(section.is_new for section in mine):
            raise PatchError(
                f"{path}: exists already; expected `--- /dev/null` for new files only, and "
                f"`--- a/{path}` with hunks for this one"
            )
        after = (
            changed_by_hunks(path, source, hunks, repairs) if source else made_by_hunks(path, hunks)
        )
        changed[path] = _text(after)
    return changed


def _source(files: Mapping[str, bytes], path: str) -> Source | None:
    return read_source(path, files[path]) if path in files else None


def _text(source: Source) -> bytes:
    return source.text.encode()
