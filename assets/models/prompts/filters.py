"""How a text is put into a prompt so that it stays data: filters for the templates."""

import re
from itertools import count

from assets.quoting import one_line, quotation
from lake.ids import content_id
from launchers.visible import fenced, shortened, visible

REASON_CHARACTERS = 8_000
"""Most characters of one reason or one log tail."""
ANSWER_CHARACTERS = 60_000
"""Most characters of an earlier answer that a model is shown again as its own."""
NO_WORDS = "(The answer was empty.)"
BACKTICKS = re.compile("`+")


def line(text: str, *, limit: int = 200) -> str:
    """A title or a reason as one line of at most `limit` characters."""
    return one_line(text, limit=limit) or "(none)"


def quoted(text: str, *, limit: int) -> str:
    """A text whose every line begins with a mark, so that none passes for a heading of ours."""
    return "\n".join(quotation(shortened(text.strip(), limit)))


def nonce_fence(text: str, seed: int) -> str:
    """A reason or a log between two lines that it cannot forge; the same for the same arguments."""
    shown = visible(text)
    nonces = (content_id(seed, shown, turn) for turn in count())
    nonce = next(nonce for nonce in nonces if nonce not in shown.lower())
    return fenced(shown, nonce=nonce, limit=REASON_CHARACTERS)


def own_words(answer: str) -> str:
    """An earlier answer as the model's own turn: text that every provider takes."""
    return shortened(visible(answer).strip(), ANSWER_CHARACTERS) or NO_WORDS


def code_block(text: str) -> str:
    """A file in a fence that is longer than every run of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, BACKTICKS.findall(text)), default=0))
    return f"{fence}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def number(value: float) -> str:
    """A value as it is compared: six significant digits."""
    return f"{value:.6g}"
