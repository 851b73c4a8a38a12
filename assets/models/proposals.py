"""Ideas out of what a language model answered, whatever the form in which it gave them.

    JSON        {"ideas": [{"title": ..., "text": ..., "parents": [...]}]}: what the prompt asks
                for. A list of ideas and single ones are taken too; of an answer that was cut
                off, the ideas that are whole.
    tags        [Experiment] ... [Code Changes] ... [End]: the form of arXiv 2601.14525, so that
                answers of its authors' runs can be read.
    Markdown    ideas numbered 1, 2, 3, ..., each with a title in bold or as a heading. Anything
                less regular is prose, and refused.

The first form that holds an idea wins. The request plays no part, so that a stored answer reads the
same years later: how many ideas were wanted, and which idea a label means, is for the caller.
"""

import re
from collections.abc import Callable, Iterable

from assets.errors import AnswerError
from assets.models.answer_forms import (
    WrittenIdea,
    ideas_in_json,
    ideas_in_markdown,
    ideas_in_tags,
)
from assets.models.requests import Proposal
from assets.models.thoughts import without_thoughts
from launchers.visible import shortened, visible_line

MOST_CHARACTERS = 1 << 20
"""Of an answer; ideas take a hundredth of that."""
TITLE_CHARACTERS = 160
TEXT_CHARACTERS = 12_000
"""A longer text keeps its head and tail, and says between them how much was left out."""
MOST_PARENTS = 16
FORMS: tuple[Callable[[str], list[WrittenIdea]], ...] = (
    ideas_in_json,
    ideas_in_tags,
    ideas_in_markdown,
)
SENTENCE = re.compile(r"(?<=[.!?;])\s")
LABEL = re.compile(r"\be[0-9]{1,4}i[0-9]{1,5}\b")
"""What a prompt calls an idea: `KnownIdea.label`."""
EXPECTED = (
    'expected one JSON object {"ideas": [{"title": "...", "text": "...", "parents": []}, ...]} '
    "with at least one idea, each of them in words"
)


def read_ideas(answer: str) -> tuple[Proposal, ...]:
    """The different ideas of an answer, in its order; parents are labels as they were written.

    Raises:
        AnswerError: saying what was found and what was expected.
    """
    if len(answer) > MOST_CHARACTERS:
        raise AnswerError(
            f"the answer has {len(answer)} characters; expected at most {MOST_CHARACTERS}"
        )
    said = _storable(without_thoughts(answer))
    for form in FORMS:
        proposals = _different(_proposal(written) for written in form(said))
        if proposals:
            return proposals
    raise AnswerError(f"no idea can be read: {_found(answer, said)}; {EXPECTED}")


def _storable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot hold, written out."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def _proposal(written: WrittenIdea) -> Proposal | None:
    """A written idea as a proposal, within bounds; None if it holds no word."""
    title, text = (_storable(part).strip() for part in (written.title, written.text))
    if not re.search(r"\w", title + text):
        return None
    name = " ".join((title or SENTENCE.split(text, maxsplit=1)[0]).split())
    short = name if len(name) <= TITLE_CHARACTERS else f"{name[: TITLE_CHARACTERS - 1]}…"
    # A title that is cut, or all that there is, still tells the implementer what to do.
    whole = text if text and (short == name or not title) else f"{title}\n\n{text}".strip()
    labels = LABEL.findall(" ".join(written.parents).lower())
    return Proposal(
        title=short,
        text=shortened(whole, TEXT_CHARACTERS),
        parents=tuple(dict.fromkeys(labels))[:MOST_PARENTS],
    )


def _different(proposals: Iterable[Proposal | None]) -> tuple[Proposal, ...]:
    """The proposals without those that repeat an earlier one but for case and punctuation."""
    kept: dict[tuple[str, ...], Proposal] = {}
    for proposal in proposals:
        if proposal is not None:
            words = tuple(re.findall(r"\w+", f"{proposal.title} {proposal.text}".casefold()))
            kept.setdefault(words, proposal)
    return tuple(kept.values())


def _found(answer: str, said: str) -> str:
    """What there is instead of ideas, in words."""
    if not answer.strip():
        return "the answer is empty"
    if not said.strip():
        return f"the answer has {len(answer)} characters of thinking and nothing behind it"
    begin = visible_line(" ".join(said[:400].split())[:160])
    kind = "JSON without ideas, or cut off before the first one ended"
    what = kind if said.lstrip(" \t\n`json")[:1] in ("{", "[") else "text"
    return f"the answer is {what} of {len(said)} characters that begins {begin!r}"
