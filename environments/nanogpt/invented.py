"""Text that nobody has read: drawn for one installation, from a seed that no other has.

Its shapes are those of published code: which sign, indentation or very common word follows the
three before it. All other words are invented; their spelling, their frequencies and which of them
follow each other are drawn from the seed. The training text and the hidden ones come from one such
process, so that training shows what hidden text is made of, and none of it stands anywhere else.
A patch that has the published code and this file by heart knows none of the words, and about the
shapes hardly more than the training text shows: README.md has the figures.

All draws come from SHAKE-256 of the seed. Python's own generator would be no secret: it is linear,
so that whoever knows this file could read its state off the training text and go on from there.
Same seed, same bytes, in every Python.
"""

import hashlib
import re
import struct
from bisect import bisect
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, count, islice
from typing import NamedTuple

WORD = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
TOKEN = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+|\n *|[^A-Za-z\n]+")
ORDER = 3
"""Tokens that the next one depends on. With fewer the text is less like code; with more, who knows
the published code knows more than the training text shows."""
KEPT = 100
"""Most frequent words of the source, which stay as they are."""
WORDS = 12_000
SUCCESSORS = 8
"""Words that an invented word prefers to be followed by."""
LONGEST = 16
"""Letters of an invented word."""
AGAIN, PREFERRED = 0.3, 0.3
"""Shares of the words that are one of the last RECENT ones, or a preferred successor of the last;
all others are drawn by frequency."""
RECENT = 6

BLOCK_BYTES, ROW_BYTES = 128, 65
"""evaluate.py scores a row of 64 tokens, with its targets, at the start of every block."""
GIVEN_AWAY_BYTES = 48
"""A row that has so long a run in common with the training text is left out."""

DRAWS_AT_ONCE = 4096
WORD_LIST, TRAIN, HELD = "words", "train", "held"
"""Streams of draws, so that no shard follows from another."""

LOWER, TITLE, UPPER = "lower", "title", "upper"
Draw = Callable[[], float]
"""Gives a number from 0 to below 1."""
Token = bytes | str
"""Bytes that stand as they are, or the case of a word to be filled in."""


class Sizes(NamedTuple):
    """Of the three shards, bytes."""

    train: int
    hidden: int
    second: int


class Words(NamedTuple):
    """The invented words of one installation."""

    words: Sequence[bytes]
    heights: Sequence[float]
    """Running sums of their frequencies."""
    successors: Mapping[bytes, Sequence[bytes]]


def shards(source: bytes, seed: str, sizes: Sizes) -> dict[str, bytes]:
    """The text of one installation.

    Args:
        source: published code that lends its shapes, most frequent words and spelling.
        seed: whoever knows it can make the same text.
        sizes: the hidden ones have whole blocks and one byte more.
    """
    kept, words = most_frequent(source), invent(source, draws(seed, WORD_LIST))
    train, held = (
        _bytes_of(written(source, kept, words, draws(seed, stream))) for stream in (TRAIN, HELD)
    )
    shown = bytes(islice(train, sizes.train))
    hidden, second = (size // BLOCK_BYTES for size in (sizes.hidden, sizes.second))
    spare = (hidden + second) // 4
    blocks = [bytes(islice(held, BLOCK_BYTES)) for _ in range(hidden + second + spare)]
    scored = unseen(blocks, shown)
    return {
        "train/000.bin": shown,
        "hidden/000.bin": b"".join(scored[:hidden]) + b"\n",
        "second/000.bin": b"".join(scored[hidden : hidden + second]) + b"\n",
    }


def unseen(blocks: Sequence[bytes], train: bytes) -> list[bytes]:
    """The blocks whose scored row the training text does not give away."""
    asked = {run for block in blocks for run in _runs(block[:ROW_BYTES])}
    known = asked.intersection(_runs(train))
    return [block for block in blocks if known.isdisjoint(_runs(block[:ROW_BYTES]))]


def _runs(content: bytes) -> Iterator[bytes]:
    for start in range(len(content) - GIVEN_AWAY_BYTES + 1):
        yield content[start : start + GIVEN_AWAY_BYTES]


def _bytes_of(pieces: Iterable[bytes]) -> Iterator[int]:
    for piece in pieces:
        yield from piece


def tokens(code: bytes, kept: Collection[bytes]) -> list[Token]:
    """The shape of some code."""
    return [_shape(token, kept) for token in TOKEN.findall(code)]


def _shape(token: bytes, kept: Collection[bytes]) -> Token:
    if not token.isalpha() or token.lower() in kept:
        return token
    return LOWER if token.islower() else UPPER if token.isupper() and len(token) > 1 else TITLE


def followers(shape: Sequence[Token]) -> Mapping[tuple[Token, ...], Sequence[Token]]:
    """What followed every ORDER tokens, as often as it did; the end is followed by the start."""
    ring = [*shape, *shape[:ORDER]]
    found = defaultdict(list)
    for start in range(len(shape)):
        found[tuple(ring[start : start + ORDER])].append(ring[start + ORDER])
    return found


def invent(source: bytes, draw: Draw) -> Words:
    """WORDS words that are not in the source, spelled like its own, and how often each is used."""
    words = _spelled(_counts(source), draw)
    heights = list(accumulate(1 / (10 + rank) for rank in range(WORDS)))
    successors = {
        word: [_by_frequency(words, heights, draw) for _ in range(SUCCESSORS)] for word in words
    }
    return Words(words, heights, successors)


def _spelled(counts: Counter[bytes], draw: Draw) -> list[bytes]:
    """New words: every letter follows the two before it as in the source."""
    letters = defaultdict(list)
    for word in counts:
        marked = b"^^" + word + b"$"
        for start in range(len(marked) - 2):
            letters[marked[start : start + 2]].append(marked[start + 2 : start + 3])
    found: dict[bytes, None] = {}
    while len(found) < WORDS:
        word = b"^^"
        while not word.endswith(b"$") and len(word) < LONGEST + 2:
            word += _one_of(letters[word[-2:]], draw)
        word = word.strip(b"^$")
        if word not in counts:
            found[word] = None
    return list(found)


def _one_of(values: Sequence[Token], draw: Draw) -> Token:
    return values[int(draw() * len(values))]


def _by_frequency(words: Sequence[bytes], heights: Sequence[float], draw: Draw) -> bytes:
    return words[bisect(heights, draw() * heights[-1])]


def draws(seed: str, stream: str) -> Draw:
    """The draws of one stream, one a call: none can be told from the others without the seed."""
    return _numbers(seed, stream).__next__


def _numbers(seed: str, stream: str) -> Iterator[float]:
    for block in count():
        drawn = hashlib.shake_256(f"{seed} {stream} {block}".encode()).digest(8 * DRAWS_AT_ONCE)
        yield from ((number >> 11) / (1 << 53) for (number,) in struct.iter_unpack("<Q", drawn))


def most_frequent(source: bytes) -> set[bytes]:
    """The words that stay as they are."""
    return {word for word, _ in _counts(source).most_common(KEPT)}


def _counts(source: bytes) -> Counter[bytes]:
    return Counter(word.lower() for word in WORD.findall(source))


def written(source: bytes, kept: Collection[bytes], words: Words, draw: Draw) -> Iterator[bytes]:
    """Endless text with the shapes of a source, and words filled in."""
    shape = tokens(source, kept)
    after, filling = followers(shape), fill(words, draw)
    state = tuple(shape[:ORDER])
    while True:
        token = _one_of(after[state], draw)
        state = (*state[1:], token)
        yield token if isinstance(token, bytes) else cased(next(filling), token)


def fill(words: Words, draw: Draw) -> Iterator[bytes]:
    """Invented words, one after the other."""
    recent = deque([words.words[0]], maxlen=RECENT)
    while True:
        kind = draw()
        if kind < AGAIN:
            word = recent[int(draw() * len(recent))]
        elif kind < AGAIN + PREFERRED:
            preferred = words.successors[recent[-1]]
            word = preferred[int(draw() ** 2 * len(preferred))]
        else:
            word = _by_frequency(words.words, words.heights, draw)
        recent.append(word)
        yield word


def cased(word: bytes, case: str) -> bytes:
    """A word in lower case, with a capital, or in capitals."""
    return word if case == LOWER else word.capitalize() if case == TITLE else word.upper()
