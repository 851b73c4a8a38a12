"""What a model answered: which rung of the ladder it is for, and the tree that it makes.

Blocks come first, since a model that writes them means them; a unified diff may stand bare or in
one ``` fence. Both rungs end in the same look at the tree (`assets.trees`).
"""

import re
from enum import StrEnum

from assets.diffs import apply_blocks, apply_diff, parse_blocks
from assets.environment import Environment
from assets.errors import PatchError
from assets.paths import check_path
from assets.validator import check_diff, check_size

BLOCK_LINE = re.compile(r"^<{7} SEARCH[ \t]*$", re.MULTILINE)
DIFF_LINE = re.compile(r"^(?:diff --[a-z]+ |--- [^\n]*\n\+\+\+ )", re.MULTILINE)
FENCE_LINE = re.compile(r"^```", re.MULTILINE)
EXPECTED = (
    "expected SEARCH/REPLACE blocks, each under the path of its file, or one unified diff that "
    "begins with `diff --git a/PATH b/PATH`"
)


class Form(StrEnum):
    """How an answer is written."""

    NONE = "none"
    """Neither of the others."""
    SEARCH_REPLACE = "search_replace"
    """Blocks with a text to find and one to put there."""
    UNIFIED_DIFF = "unified_diff"
    """What git prints."""


def form_of(answer: str) -> Form:
    """The rung that an answer is for."""
    if BLOCK_LINE.search(answer):
        return Form.SEARCH_REPLACE
    return Form.UNIFIED_DIFF if DIFF_LINE.search(answer) else Form.NONE


def patched_by(environment: Environment, answer: str) -> dict[str, bytes]:
    """The tree that an answer makes of the environment's; not looked at yet.

    Raises:
        PatchError: it has no known form, touches what it may not, or does not fit.
    """
    check_size(answer)
    form = form_of(answer)
    if form is Form.NONE:
        raise PatchError(f"the answer has no SEARCH/REPLACE block and no diff; {EXPECTED}")
    if form is Form.UNIFIED_DIFF:
        diff = find_diff(answer)
        check_diff(diff, environment)
        return apply_diff(environment.files, diff)
    blocks = parse_blocks(answer)
    for path in dict.fromkeys(block.file for block in blocks):
        check_path(path, environment)
    return apply_blocks(environment.files, blocks)


def find_diff(answer: str) -> str:
    """The one diff of an answer: to the end of its fence, or of the answer where it has none.

    Raises:
        PatchError: there is none, or a second one behind the fence.
    """
    begin = DIFF_LINE.search(answer)
    if begin is None:
        raise PatchError(f"the answer has no diff; {EXPECTED}")
    inside = len(FENCE_LINE.findall(answer, 0, begin.start())) % 2 == 1
    end = FENCE_LINE.search(answer, begin.start()) if inside else None
    if end is None:
        return answer[begin.start() :]
    if DIFF_LINE.search(answer, end.start()):
        raise PatchError("the answer has a second diff behind the first fence; expected all in one")
    return answer[begin.start() : end.start()]
