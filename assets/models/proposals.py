"""Ideas out of what a language model answered, whatever the form in which it gave them.

    JSON        {"ideas": [{"title": ..., "text": ..., "parents": [...]}]}: what the prompt asks for.
                A list of ideas and single ones are taken too; of an answer that was cut off, the
                ideas that are whole.
    tags        [Experiment] ... [Code Changes] ... [End]: the form of arXiv 2601.14525, so that
                answers of its authors' runs can be read.
    Markdown    ideas numbered 1, 2, 3, ..., each with a title in bold or as a heading. Anything
                less regular is prose, and refused.

The first form that holds an idea wins. Nothing is asked of the request, so that a stored answer
reads the same years later: how many ideas were wanted, and which idea a label means, is for the
caller.
"""

import re
from collections.abc import Callable, Iterable

from assets.errors import AnswerError
from assets.models.answer_forms import (
    Section,
    json_sections,
    markdown_sections,
    tagged_sections,
)
from assets.models.requests import Draft
from assets.models.thoughts import without_thoughts
from launchers.visible import shortened, visible_line

MOST_CHARACTERS = 1 << 20
"""Of an answer; ideas are a hundredth of it."""
TITLE_CHARACTERS = 160
TEXT_CHARACTERS = 12_000
"""What is longer keeps head and tail, and says between them how much is left out."""
MOST_PARENTS = 16
FORMS: tuple[Callable[[str], list[Section]], ...] = (
    json_sections,
    tagged_sections,
    markdown_sections,
)
SENTENCE = re.compile(r"(?<=[.!?;])\s")
LABEL = re.compile(r"\be[0-9]{1,4}i[0-9]{1,5}\b")
"""What a prompt calls an idea: `KnownIdea.label`."""
EXPECTED = (
    'expected one JSON object {"ideas": [{"title": "...", "text": "...", "parents": []}, ...]} '
    "with at least one idea, each of them in words"
)


def read_ideas(answer: str) -> tuple[Draft, ...]:
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
        drafts = _different(_draft(section) for section in form(said))
        if drafts:
            return drafts
    raise AnswerError(f"no idea can be read: {_found(answer, said)}; {EXPECTED}")


def _storable(text: str) -> str:
    """The text with lone surrogates written out, which UTF-8 cannot hold."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def _draft(section: Section) -> Draft | None:
    """A section as an idea, within bounds; None if it holds no word."""
    title, text = (_storable(part).strip() for part in (section.title, section.text))
    if not re.search(r"\w", title + text):
        return None
    name = " ".join((title or SENTENCE.split(text, maxsplit=1)[0]).split())
    short = name if len(name) <= TITLE_CHARACTERS else f"{name[: TITLE_CHARACTERS - 1]}…"
    # A title that is cut, or all that there is, still tells the implementer what to do.
    whole = text if text and (short == name or not title) else f"{title}\n\n{text}".strip()
    written = LABEL.findall(" ".join(section.parents).lower())
    return Draft(
        title=short,
        text=shortened(whole, TEXT_CHARACTERS),
        parents=tuple(dict.fromkeys(written))[:MOST_PARENTS],
    )


def _different(drafts: Iterable[Draft | None]) -> tuple[Draft, ...]:
    """The drafts without those that repeat an earlier one but for case, blanks and signs."""
    kept: dict[tuple[str, ...], Draft] = {}
    for draft in drafts:
        if draft is not None:
            words = tuple(re.findall(r"\w+", f"{draft.title} {draft.text}".casefold()))
            kept.setdefault(words, draft)
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
