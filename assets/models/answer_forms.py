"""The forms in which an answer may hold ideas, each as one function from text to what it says.

Nothing is judged here: titles may be missing, texts too long, ideas repeated. Each function takes
time in proportion to the text, whatever it holds.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

MOST_BROKEN = 64
"""Places that look like JSON and are not, before an answer is taken for something else."""
TITLE_KEYS = ("title", "name")
TEXT_KEYS = ("text", "description", "idea", "experiment", "body")
JSON_START = re.compile(r'\{(?=\s*")|\[(?=\s*\{)')
ESCAPE = re.compile(r'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\')
COMMA = re.compile(r",(\s*[}\]])")
TAG = re.compile(r"\[(experiment|code changes|parents|end)(?: \d{1,4})?\]", re.IGNORECASE)
EMPHASIS = "* \t\n:"
"""Signs around a tag or a title that are not part of it."""
HEADING = re.compile(r"^#{1,6} +(?:\*\*)?(?:idea +|experiment +)?(\d{1,4})\b[.):\-–— ]*(.*)$", re.I)  # noqa: RUF001
BOLD_ITEM = re.compile(r"^(\d{1,4})[.)] +\*\*(.+?)\*\*(.*)$")

_decoder = json.JSONDecoder(strict=False)
"""Takes line feeds inside strings, which models forget to escape."""


class WrittenIdea(NamedTuple):
    """One idea as it was written."""

    title: str
    """Empty where it has none."""
    text: str
    parents: tuple[str, ...] = ()


def ideas_in_json(answer: str) -> list[WrittenIdea]:
    """Ideas of all JSON in an answer: in a list called `ideas`, or with a title and a text each.

    Backslashes that are not doubled and commas before a bracket are repaired where that gives more.
    """
    mended = COMMA.sub(r"\1", ESCAPE.sub(lambda found: found[1] or r"\\", answer))
    texts = (answer,) if mended == answer else (answer, mended)
    return max((list(_json_ideas(text)) for text in texts), key=len)


def ideas_in_tags(answer: str) -> list[WrittenIdea]:
    """What stands between `[Experiment]` and `[End]`, or the next `[Experiment]`."""
    found: list[WrittenIdea] = []
    for tag, text in _tagged_parts(answer):
        if tag == "experiment":
            found.append(WrittenIdea("", text))
        elif found and tag == "code changes":
            joined = f"{found[-1].text}\n\nCode changes: {text}"
            found[-1] = found[-1]._replace(text=joined)
        elif found and tag == "parents":
            found[-1] = found[-1]._replace(parents=(text,))
    return found


def ideas_in_markdown(answer: str) -> list[WrittenIdea]:
    """Ideas that are numbered without a gap, all as headings or all as items with a bold title."""
    return _numbered(answer, HEADING) or _numbered(answer, BOLD_ITEM)


def _json_ideas(text: str) -> Iterator[WrittenIdea]:
    for value in _json_values(text):
        yield from _ideas_in(value)


def _json_values(answer: str) -> Iterator[object]:
    """The outermost whole objects and lists; a broken one is searched for those inside it."""
    at = broken = 0
    for start in JSON_START.finditer(answer):
        if start.start() < at:
            continue
        try:
            value, at = _decoder.raw_decode(answer, start.start())
        except (ValueError, RecursionError):
            broken += 1
            if broken == MOST_BROKEN:
                return
        else:
            yield value


def _ideas_in(value: object) -> Iterator[WrittenIdea]:
    if isinstance(value, list):
        for item in value:
            yield from _ideas_in(item) if isinstance(item, dict) else ()
        return
    if not isinstance(value, dict):
        return
    listed = value.get("ideas")
    if isinstance(listed, list):
        yield from map(_written, listed)
    elif _words(value, TITLE_KEYS) and _words(value, TEXT_KEYS):
        yield _written(value)


def _written(item: object) -> WrittenIdea:
    """One entry of a list of ideas; a string is an idea without a title."""
    if not isinstance(item, dict):
        return WrittenIdea("", item if isinstance(item, str) else "")
    parents = item.get("parents")
    named = parents if isinstance(parents, list) else [parents]
    return WrittenIdea(
        _words(item, TITLE_KEYS),
        _words(item, TEXT_KEYS),
        tuple(name for name in named if isinstance(name, str)),
    )


def _words(item: dict[str, object], keys: tuple[str, ...]) -> str:
    """The text under the first key that has one; empty if none has."""
    return next((value for key in keys if isinstance(value := item.get(key), str)), "")


def _tagged_parts(answer: str) -> Iterator[tuple[str, str]]:
    """Each tag with what stands between it and the next one."""
    tags = list(TAG.finditer(answer))
    begins = [tag.start() for tag in tags] + [len(answer)]
    for tag, (_, end) in zip(tags, pairwise(begins), strict=True):
        yield tag[1].lower(), answer[tag.end() : end].strip(EMPHASIS)


def _numbered(answer: str, item: re.Pattern[str]) -> list[WrittenIdea]:
    lines = answer.split("\n")
    items = [(at, match) for at, text in enumerate(lines) if (match := item.match(text))]
    if len(items) < 2 or [int(match[1]) for _, match in items] != list(range(1, len(items) + 1)):
        return []
    places = [at for at, _ in items] + [len(lines)]
    return [
        WrittenIdea(
            title=match[2].strip(EMPHASIS),
            text="\n".join([*match.groups()[2:], *lines[begin + 1 : end]]).strip(EMPHASIS),
        )
        for (_, match), (begin, end) in zip(items, pairwise(places), strict=True)
    ]
