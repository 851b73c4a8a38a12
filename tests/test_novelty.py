"""Copies of known ideas are found, and different ideas are not taken for copies."""

import random
import time
import tomllib
from itertools import combinations

import pytest
from conftest import PROJECT
from hypothesis import given
from hypothesis import strategies as st

from assets.config.settings import THRESHOLD
from assets.ideas.novelty import similarity, tokens, too_similar
from assets.models.requests import KnownIdea, Proposal

CATALOG = PROJECT / "environments" / "nanogpt" / "catalog.toml"
WRITTEN = tomllib.loads((PROJECT / "tests" / "near_copies.toml").read_text())["ideas"]


def known(title, text):
    return KnownIdea(
        idea_id=title, label="e0i1", title=title, text=text, edits=None, value=None, reason=None
    )


KNOWN = [known(idea["title"], idea["text"]) for idea in WRITTEN]


def test_the_different_ideas_of_the_catalog_all_pass_and_by_far():
    ideas = [known(i["title"], i["text"]) for i in tomllib.loads(CATALOG.read_text())["ideas"]]
    sets = [tokens(idea.title, idea.text) for idea in ideas]
    values = [similarity(a, b) for a, b in combinations(sets, 2)]
    assert len(values) == 1035
    assert max(values) < 0.36
    for at, idea in enumerate(ideas):
        others = ideas[:at] + ideas[at + 1 :]
        assert too_similar(Proposal(title=idea.title, text=idea.text), others) is None


@pytest.mark.parametrize("idea", WRITTEN, ids=lambda idea: idea["title"])
def test_a_copy_with_slight_changes_of_wording_is_found(idea):
    match = too_similar(Proposal(title=idea["title"], text=idea["copy"]), KNOWN)
    assert match is not None
    assert match.known.title == idea["title"]
    assert match.similarity > 0.8 > THRESHOLD


@pytest.mark.parametrize("kind", ["revalued", "cousin", "reworded"])
@pytest.mark.parametrize("idea", WRITTEN, ids=lambda idea: idea["title"])
def test_other_values_other_ideas_and_other_words_pass(idea, kind):
    proposal = Proposal(title="Another title", text=idea[kind])
    assert too_similar(proposal, KNOWN) is None


def test_the_figures_of_the_docstring_are_measured():
    original = [tokens(idea["title"], idea["text"]) for idea in WRITTEN]
    for kind, low, high in (("copy", 0.81, 0.93), ("cousin", 0.29, 0.49), ("reworded", 0.13, 0.24)):
        titles = [idea["title"] if kind != "cousin" else "" for idea in WRITTEN]
        values = [
            similarity(one, tokens(title, idea[kind]))
            for one, title, idea in zip(original, titles, WRITTEN, strict=True)
        ]
        assert round(min(values), 2) == low
        assert round(max(values), 2) == high


def test_words_are_compared_without_case_and_numbers_by_value():
    assert tokens("LEARNING_RATE", "3e-3") == tokens("learning rate", "0.003")
    assert tokens("norm", "3E-3 and 10.0").numbers == {"0.003", "10"}


def test_an_idea_of_signs_is_like_nothing():
    assert too_similar(Proposal(title="...", text="---"), [known("...", "---")]) is None


def test_of_several_the_most_similar_is_given():
    text = "one two three four five six seven eight nine ten"
    nearly = known("nearly", text + " eleven")
    same = known("same", text)
    match = too_similar(Proposal(title="same", text=text), [nearly, same])
    assert match is not None
    assert match.known is same
    assert match.similarity == 1.0


@given(st.text(), st.text(), st.text())
def test_similarity_is_symmetric_and_between_0_and_1(title, one, other):
    a, b = tokens(title, one), tokens(title, other)
    assert 0.0 <= similarity(a, b) == similarity(b, a) <= 1.0


def test_an_epoch_against_a_thousand_ideas_takes_a_moment():
    source = random.Random(0)
    words = ["".join(source.choices("abcdefgh", k=4)) for _ in range(900)]
    texts = [" ".join(source.choices(words, k=150)) for _ in range(1080)]
    ideas = [known(str(at), text) for at, text in enumerate(texts[:1000])]
    begin = time.process_time()
    for text in texts[1000:]:
        assert too_similar(Proposal(title="", text=text), ideas) is None
    assert time.process_time() - begin < 5
