"""Changes to one file: hunks are placed all at once, blocks one after the other."""

from collections.abc import Sequence

from assets.errors import PatchError
from assets.ladder.blocks import Block
from assets.ladder.elision import check_elision
from assets.ladder.hunk import Hunk, Mark, Placed, Splice, after, before
from assets.ladder.place import place
from assets.ladder.source import Source


def changed_by_hunks(
    path: str, source: Source, hunks: Sequence[Hunk], repairs: list[str]
) -> Source:
    """The file after all hunks of a diff, each placed in the file as it was before all of them.

    Args:
        path: the file, for messages.
        source: the file.
        hunks: in any order.
        repairs: what was repaired; grows.

    Raises:
        PatchError: one does not fit, or two change the same lines.
    """
    placed = [_place(hunk, path, source, repairs) for hunk in hunks]
    _check_overlaps(path, placed)
    closed = source.closed
    for hunk, at in zip(hunks, placed, strict=True):
        if hunk.closed is not None and at.end == len(source.lines):
            closed = hunk.closed
    spliced = _spliced(source.lines, [splice for at in placed for splice in at.splices])
    return Source(lines=spliced, crlf=source.crlf, closed=closed)


def changed_by_block(source: Source, block: Block, repairs: list[str]) -> Source:
    """The file after one block.

    Raises:
        PatchError: it does not fit in one place.
    """
    if not source.lines and not any(line.strip() for line in block.search):
        check_elision(f"{block.path}: {block.where}", block.replace, ())
        return Source(lines=block.replace, crlf=source.crlf)
    at = _place(block.hunk, block.path, source, repairs)
    lines = _spliced(source.lines, at.splices)
    return Source(lines=lines, crlf=source.crlf, closed=source.closed)


def made_by_hunks(path: str, hunks: Sequence[Hunk]) -> Source:
    """A file that a diff makes.

    Raises:
        PatchError: the diff expects lines in it.
    """
    for hunk in hunks:
        if before(hunk.lines):
            raise PatchError(
                f"{path}: {hunk.where}: expects lines in a file that does not exist. A new file "
                "has `--- /dev/null` and only lines with +"
            )
    lines = tuple(line for hunk in hunks for line in after(hunk.lines))
    check_elision(path, lines, ())
    return Source(lines=lines, closed=not hunks or hunks[-1].closed is not False)


def _place(hunk: Hunk, path: str, source: Source, repairs: list[str]) -> Placed:
    added = [line.text for line in hunk.lines if line.mark is Mark.ADDED]
    check_elision(f"{path}: {hunk.where}", added, source.lines)
    placed = place(hunk, path, source)
    repairs += [f"{path}: {hunk.where}: {words}" for words in placed.repairs]
    return placed


def _check_overlaps(path: str, placed: Sequence[Placed]) -> None:
    """Refuse hunks if one removes what another needs, or two insert at one place."""
    owners: dict[tuple[str, int], str] = {}
    for at in placed:
        for splice in at.splices:
            kind = "removed" if splice.end > splice.start else "inserted"
            for line in range(splice.start, max(splice.end, splice.start + 1)):
                _check_owner(path, at, owners.setdefault((kind, line), at.where), line)
    for at in placed:
        for line in range(at.start, at.end):
            _check_owner(path, at, owners.get(("removed", line), at.where), line, kept=True)


def _check_owner(path: str, at: Placed, owner: str, line: int, *, kept: bool = False) -> None:
    own = any(splice.start <= line < splice.end for splice in at.splices)
    if owner != at.where and not (kept and own):
        raise PatchError(
            f"{path}: {at.where} and {owner} both speak of line {line + 1} of the file, and differ "
            "in what becomes of it. Write one hunk for what lies together, and each change once"
        )


def _spliced(lines: Sequence[str], splices: Sequence[Splice]) -> tuple[str, ...]:
    changed = list(lines)
    for splice in sorted(splices, key=lambda s: (s.start, s.end), reverse=True):
        changed[splice.start : splice.end] = splice.new
    return tuple(changed)
