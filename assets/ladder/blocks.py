"""SEARCH/REPLACE blocks: how models write them, and how one is applied.

    train.py
    <<<<<<< SEARCH
    the lines to find, exactly once
    =======
    the lines to put there
    >>>>>>> REPLACE

The path may be on the opening line, after a fence, in a sentence, or with the block before. A block
that is not whole is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assets.errors import PatchError
from assets.ladder.hunk import Hunk, Reading, aligned
from assets.ladder.labels import fence_label, path_in
from assets.ladder.numbered import without_numbers

OPEN = re.compile(r"<{5,9} ?(?:SEARCH|ORIGINAL)\b[ \t]*(?P<path>.*)")
MIDDLE = re.compile(r"={5,9}[ \t]*")
CLOSE = re.compile(r">{5,9} ?(?:REPLACE|UPDATED)\b.*|>{7}[ \t]*")
FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})(?P<info>[^`]*)")
MOST_BLOCKS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block."""

    where: str
    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]

    @property
    def hunk(self) -> Hunk:
        """What it changes, line by line."""
        lines = aligned(self.search, self.replace)
        plain = without_numbers(lines)
        readings = [Reading(lines=lines)]
        if plain is not None:
            readings.append(Reading(lines=plain, repair="line numbers taken away"))
        return Hunk(where=self.where, readings=tuple(readings), within=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What an answer holds in blocks, and what is left of it."""

    blocks: tuple[Block, ...]
    rest: tuple[str, ...]
    """The lines of the answer, those of its blocks blanked out."""


def read_blocks(lines: Sequence[str]) -> Blocks:
    """The blocks of an answer, in order.

    Raises:
        PatchError: there are too many, or one is cut off or has no path.
    """
    blocks: list[Block] = []
    rest, at = list(lines), 0
    while at < len(lines):
        opening = OPEN.fullmatch(lines[at])
        at += 1
        if opening is None:
            continue
        if len(blocks) == MOST_BLOCKS:
            raise PatchError(
                f"the answer has more than {MOST_BLOCKS} blocks, expected at most that"
            )
        where = f"block {len(blocks) + 1}"
        close = _closing(lines, at, where)
        middle = _middle(lines, at, close, where, width=opening[0].count("<"))
        path = opening["path"].strip() or _path(rest, at - 2, where, blocks)
        search, replace = tuple(lines[at:middle]), tuple(lines[middle + 1 : close])
        blocks.append(Block(where=where, path=path, search=search, replace=replace))
        rest[at - 1 : close + 1] = [""] * (close + 2 - at)
        at = close + 1
    return Blocks(blocks=tuple(blocks), rest=tuple(rest))


def _closing(lines: Sequence[str], at: int, where: str) -> int:
    for index in range(at, len(lines)):
        if CLOSE.fullmatch(lines[index]):
            return index
        if OPEN.fullmatch(lines[index]):
            break
    raise PatchError(
        f"{where}: found no line '>>>>>>> REPLACE' behind line {at}; the answer is cut off. Write "
        "the whole block again"
    )


def _middle(lines: Sequence[str], at: int, close: int, where: str, *, width: int) -> int:
    found = [i for i in range(at, close) if MIDDLE.fullmatch(lines[i])]
    same = [i for i in found if lines[i].count("=") == width]
    if len(same) == 1 or len(found) == 1:
        return (same if len(same) == 1 else found)[0]
    raise PatchError(
        f"{where}: found {len(found)} lines '=======' behind line {at}, expected one between the "
        "lines to find and the lines to put there; with none the answer is cut off"
    )


def _path(rest: Sequence[str], at: int, where: str, blocks: Sequence[Block]) -> str:
    """The path of a block whose opening line names none.

    Args:
        rest: the lines of the answer, earlier blocks blanked out.
        at: the line before the opening one.
        where: the block's name.
        blocks: the earlier ones.
    """
    while at >= 0 and not rest[at].strip():
        at -= 1
    fence = FENCE.fullmatch(rest[at]) if at >= 0 else None
    found = fence_label(fence["info"]) if fence else None
    if fence and found is None:
        at -= 1
        while at >= 0 and not rest[at].strip():
            at -= 1
    if found is None and at >= 0:
        found = path_in(rest[at])
    if found is None and blocks:
        found = blocks[-1].path
    if found is None:
        raise PatchError(
            f"{where}: expected the path of its file on the line before <<<<<<< SEARCH"
        )
    return found
