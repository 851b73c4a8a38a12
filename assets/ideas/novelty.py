"""Whether an idea is known already: the Jaccard similarity of its words to those of known ideas.

The tokens of an idea are the different words and numbers in its title and text. A word is a run of
letters in lower case, so that `LEARNING_RATE` and "learning rate" are the same two. A number is
compared by value, so that `3e-3` and `0.003` are the same one. Similarity is the share of tokens
that two ideas have in common among all that either has: 0 to 1, as in arXiv 2601.14525 (A.1), which
used it as a penalty in training.

This finds copies, not meanings. The same idea in other words shares no more tokens than two
different ideas do, and passes. An idea with a number that the known one lacks is another
experiment, however alike the words are, since values are what exploitation varies. Both errors are
cheap: a patch that makes the same code is not trained twice.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from assets.config.settings import THRESHOLD
from assets.models.requests import KnownIdea, Proposal

TOKEN = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|[^\W\d_]+")


class Match(NamedTuple):
    """The known idea that is most like a proposal."""

    known: KnownIdea
    similarity: float


class Tokens(NamedTuple):
    """What is compared of an idea."""

    all: frozenset[str]
    numbers: frozenset[str]


def too_similar(
    proposal: Proposal, known: Iterable[KnownIdea], threshold: float = THRESHOLD
) -> Match | None:
    """The known idea that a proposal repeats; None if it is new.

    Args:
        proposal: what was proposed.
        known: what it must differ from; of equally similar ones the first is given.
        threshold: the least similarity that counts as a repeat, above 0 and up to 1.
    """
    mine = tokens(proposal.title, proposal.text)
    found: Match | None = None
    bar = threshold
    for idea in known:
        theirs = tokens(idea.title, idea.text)
        if not mine.numbers <= theirs.numbers:
            continue
        value = similarity(mine, theirs)
        if value > bar or (found is None and value == bar):
            found, bar = Match(idea, value), value
    return found


def similarity(one: Tokens, other: Tokens) -> float:
    """Jaccard similarity of two sets of tokens; 0 where both are empty."""
    common = len(one.all & other.all)
    either = len(one.all) + len(other.all) - common
    return common / either if either else 0.0


@lru_cache(maxsize=4096)
def tokens(title: str, text: str) -> Tokens:
    """The tokens of an idea; remembered, as each known idea is compared with many proposals."""
    words, numbers = set(), set()
    for match in TOKEN.finditer(f"{title} {text}".lower()):
        if match["number"]:
            numbers.add(f"{float(match['number']):g}")
        else:
            words.add(match[0])
    return Tokens(frozenset(words | numbers), frozenset(numbers))
