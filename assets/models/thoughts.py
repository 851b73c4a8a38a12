"""What a model thought before its answer, where both are in one text.

Thoughts are at the beginning. Tags further on belong to the answer: code and ideas may be about
them.
"""

import re

TAGS = "think|thinking|thought|reasoning|scratchpad|analysis"
OPENED = re.compile(rf"\s*<({TAGS})>", re.IGNORECASE)
ANY_OPENED = re.compile(rf"<(?:{TAGS})>", re.IGNORECASE)
CLOSED = re.compile(rf"^[ \t]*</(?:{TAGS})>", re.IGNORECASE | re.MULTILINE)
FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
BLOCK_BEGINS = re.compile(r"^<{5,9} ", re.MULTILINE)
BLOCK_ENDS = re.compile(r"^>{5,9} ", re.MULTILINE)


def without_thoughts(answer: str) -> str:
    """What follows the thoughts: all of the text if it has none, nothing if they do not end.

    Some servers put the opening tag into the prompt: a closing tag at the beginning of a line, with
    none opened before it and outside fences and blocks, ends the thoughts too.
    """
    at = 0
    while opened := OPENED.match(answer, at):
        closing = re.compile(f"</{opened[1]}>", re.IGNORECASE).search(answer, opened.end())
        if closing is None:
            return ""
        at = closing.end()
    closed = None if at else CLOSED.search(answer)
    if closed is None:
        return answer[at:]
    before = answer[: closed.start()]
    if ANY_OPENED.search(before) or _is_inside(before):
        return answer
    return answer[closed.end() :]


def _is_inside(before: str) -> bool:
    """Whether a fence or a block of a patch is open at the end of a text."""
    in_fence = len(FENCE.findall(before)) % 2 == 1
    return in_fence or len(BLOCK_BEGINS.findall(before)) > len(BLOCK_ENDS.findall(before))
