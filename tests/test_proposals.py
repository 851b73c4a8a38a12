"""Ideas are read out of answers in every form; what cannot be read is an AnswerError."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import AnswerError
from assets.models.proposals import (
    MOST_CHARACTERS,
    TEXT_CHARACTERS,
    TITLE_CHARACTERS,
    read_ideas,
)
from assets.models.requests import Proposal
from assets.models.thoughts import without_thoughts

A = {"title": "Twice the rate", "text": "Set RATE to 2 in train.py.", "parents": ["e0i12"]}
B = {"title": "No pause", "text": "Remove the pause.\nIt only waits.", "parents": []}
READ = (
    Proposal(title=A["title"], text=A["text"], parents=("e0i12",)),
    Proposal(title=B["title"], text=B["text"]),
)
BOTH = json.dumps({"ideas": [A, B]})

# --------------------------------------------------------------------------------------- JSON

WRAPPED = {
    "as asked": BOTH,
    "pretty": json.dumps({"ideas": [A, B]}, indent=2),
    "fenced": f"```json\n{BOTH}\n```",
    "prose around": f"Sure! Here are two ideas {{as JSON}}:\n\n{BOTH}\n\n"
    "I hope {they} help [a lot].",
    "a bare list": json.dumps([A, B]),
    "one object after another": f"{json.dumps(A)}\n{json.dumps(B)}",
    "other keys": json.dumps({"ideas": [{"name": d["title"], "description": d["text"],
                                         "parents": d["parents"]} for d in (A, B)]}),
    "a parent that is no list": json.dumps({"ideas": [A | {"parents": "e0i12"}, B]}),
    "no parents": json.dumps({"ideas": [A, {k: v for k, v in B.items() if k != "parents"}]}),
    "line feeds not escaped": BOTH.replace("\\n", "\n"),
    "commas too many": json.dumps({"ideas": [A, B]}, indent=1).replace("}", "},").removesuffix(","),
    "thinking before": f"<think>Maybe {{\"ideas\": []}}?</think>\n{BOTH}",
    "thinking whose opening is in the prompt": f"Hm. What about a rate?\n</think>\n\n{BOTH}",
    "cut off": json.dumps({"ideas": [A, B, A]})[:-30],
    "the form repeated first": f'As {{"ideas": [{{"title": "...", "text": "..."}}]}}:\n{BOTH}',
    "in two parts": json.dumps({"ideas": [A]}) + "\n\n" + json.dumps({"ideas": [B]}),
    "twice": f"{BOTH}\n{BOTH}",
}  # fmt: skip


@pytest.mark.parametrize("answer", WRAPPED.values(), ids=WRAPPED.keys())
def test_json_is_read_whatever_stands_around_it(answer):
    assert read_ideas(answer) == READ


def test_tags_of_thinking_inside_an_idea_are_its_words():
    text = "Reward answers that end their <think> part with </think> in time."
    answer = json.dumps({"ideas": [A | {"text": text}, B]})
    assert [proposal.text for proposal in read_ideas(answer)] == [text, B["text"]]


def test_a_backslash_that_is_not_doubled_loses_no_idea():
    answer = BOTH.replace("RATE", r"\\(r\_0\)")
    (first, second) = read_ideas(answer)
    assert first.text == r"Set \(r\_0\) to 2 in train.py."
    assert second == READ[1]


def test_a_dictionary_in_prose_is_no_idea():
    with pytest.raises(AnswerError, match="no idea can be read"):
        read_ideas('I would use {"name": "adam", "lr": 0.1} or [{"a": 1}].')


@pytest.mark.parametrize("entry", [A["text"], {"text": A["text"]}, {"title": A["text"]}])
def test_an_idea_with_one_of_title_and_text_has_both(entry):
    (proposal,) = read_ideas(json.dumps({"ideas": [entry]}))
    assert proposal.text == A["text"]
    assert proposal.title == A["text"]


def test_a_missing_title_is_the_first_sentence():
    (proposal,) = read_ideas(json.dumps({"ideas": [{"text": "Use two.\nThen three."}]}))
    assert proposal == Proposal(title="Use two.", text="Use two.\nThen three.")


def test_a_title_that_is_too_long_is_cut_and_kept_in_the_text():
    title = "word " * 100
    (proposal,) = read_ideas(json.dumps({"ideas": [{"title": title, "text": "Do it."}]}))
    assert len(proposal.title) == TITLE_CHARACTERS
    assert proposal.title.endswith("…")
    assert proposal.text == f"{title.strip()}\n\nDo it."


def test_a_text_that_is_too_long_is_cut_and_says_so():
    (proposal,) = read_ideas(json.dumps({"ideas": [A | {"text": "x" * 50_000}]}))
    assert len(proposal.text) < TEXT_CHARACTERS + 100
    assert "38000 characters left out here" in proposal.text


def test_lone_surrogates_are_written_out_so_that_a_draft_can_be_stored():
    (proposal,) = read_ideas('{"ideas": [{"title": "a\\ud800", "text": "b\\udfff\ud800"}]}')
    assert (proposal.title, proposal.text) == ("a\\ud800", "b\\udfff\\ud800")


# ----------------------------------------------------------------------------- tags, Markdown

TAGGED = """Here they are.

[Experiment] Double the rate. It was too small.

[Code Changes] In train.py set RATE to 2.
[End]

**[Experiment 2]** Remove the pause.
[Code Changes]
- train.py: drop time.sleep
"""


def test_the_tags_of_the_paper_are_read():
    assert read_ideas(TAGGED) == (
        Proposal(
            title="Double the rate.",
            text="Double the rate. It was too small.\n\nCode changes: In train.py set RATE to 2.",
        ),
        Proposal(
            title="Remove the pause.",
            text="Remove the pause.\n\nCode changes: - train.py: drop time.sleep",
        ),
    )


def test_tags_may_name_parents():
    (proposal,) = read_ideas("[Experiment] Twice as much. [Parents] e0i12, E3i0 [End] Bye.")
    assert proposal == Proposal(
        title="Twice as much.", text="Twice as much.", parents=("e0i12", "e3i0")
    )


def test_json_inside_tags_does_not_hide_the_ideas():
    (proposal,) = read_ideas('[Experiment] Set {"name": "adam", "lr": 1}. [End]')
    assert proposal.text == 'Set {"name": "adam", "lr": 1}.'


MARKDOWN = {
    "headings": "# Ideas\n\n## Idea 1: Twice the rate\nSet RATE to 2 in train.py.\n\n"
    "## Idea 2: No pause\nRemove the pause.\nIt only waits.\n",
    "headings with inner lists": "### 1. Twice the rate\nSet RATE to 2 in train.py.\n"
    "### 2. No pause\nRemove the pause.\nIt only waits.",
    "bold items": "1. **Twice the rate**: Set RATE to 2 in train.py.\n"
    "2. **No pause:** Remove the pause.\nIt only waits.",
}


@pytest.mark.parametrize("answer", MARKDOWN.values(), ids=MARKDOWN.keys())
def test_markdown_is_read_where_every_idea_has_number_and_title(answer):
    proposals = read_ideas(answer)
    assert [(d.title, d.text) for d in proposals] == [(d.title, d.text) for d in READ]


AMBIGUOUS = {
    "a refusal with reasons": "I cannot do that:\n1. It is unsafe.\n2. It is unclear.",
    "steps": "1. Read the code.\n2. Think.\n3. Write.",
    "a gap": "1. **One**: a\n3. **Three**: c",
    "numbering begins again": "1. **One**: a\n1. **First**: x\n2. **Two**: b",
    "one item": "1. **Title**: and its text",
    "prose": "I think that a higher learning rate would help.",
}


@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_could_be_something_else_is_not_taken_for_ideas(answer):
    with pytest.raises(AnswerError, match=r"the answer is text of \d+ characters that begins"):
        read_ideas(answer)


# ---------------------------------------------------------------------------------- unreadable


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("<think>Let me see, maybe", "24 characters of thinking and nothing behind it"),
        ("<think>x</think>\n", "17 characters of thinking and nothing behind it"),
        ('{"ideas": []}', "JSON without ideas"),
        ('```json\n{"ideas": [{"title": "cut', "cut off before the first one ended"),
        ('{"ideas": [{"title": "...", "text": "..."}]}', "JSON without ideas"),
        ("I must \x1b[2J decline.", r"begins 'I must \\x1b[2J decline.'"),
    ],
)
def test_an_unreadable_answer_says_what_was_found_and_what_was_expected(answer, found):
    with pytest.raises(AnswerError) as caught:
        read_ideas(answer)
    assert found in str(caught.value)
    assert "expected one JSON object" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_answer_that_is_far_too_long_is_refused():
    with pytest.raises(AnswerError, match="expected at most"):
        read_ideas(BOTH + " " * MOST_CHARACTERS)


# -------------------------------------------------------------------------------------- thinking


def test_thinking_is_what_stands_before_the_answer():
    assert without_thoughts("<think>a</think>b") == "b"
    assert without_thoughts("\n<Thinking>a\n</think> c</THINKING>\nb") == "\nb"
    assert without_thoughts("a </think> b") == "a </think> b"
    assert without_thoughts("b <think>a</think>") == "b <think>a</think>"


# --------------------------------------------------------------------------------------- parents


def test_parents_are_labels_however_they_are_written():
    parents = [
        "#E0I12",
        "[e3i0]",
        "e10i101 (the best)",
        "P1",
        "the second one",
        "e0i12",
        "the1i2",
    ]
    (proposal,) = read_ideas(json.dumps({"ideas": [A | {"parents": parents}]}))
    assert proposal.parents == ("e0i12", "e3i0", "e10i101")


# ------------------------------------------------------------------------------------------ fuzz

PIECES = st.sampled_from(
    [
        *'{}[]",:\n`#*. ', '{"ideas": [', '{"title": "', '", "text": "', "\\", "\\u", "\ud800",
        "\0", "<think>", "</think>\n", "[Experiment]", "[Code Changes]", "[End]", "1. **a**: b\n",
        "## 2. c\n", "```json", "null", "1e999", "e0i1", "word ", "é", "\u2028",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ideas", "title", "text", "parents", "x"]), inner)
    ),
)


def read_or_refuse(answer: str) -> tuple[Proposal, ...]:
    try:
        proposals = read_ideas(answer)
    except AnswerError as error:
        str(error).encode()
        return ()
    assert proposals
    for proposal in proposals:
        assert proposal.title
        assert proposal.text
        assert len(proposal.title) <= TITLE_CHARACTERS
        assert "\n" not in proposal.title
        f"{proposal.title}{proposal.text}".encode()
    return proposals


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(st.characters()))
@settings(max_examples=500)
def test_no_answer_raises_anything_but_an_answer_error(answer):
    read_or_refuse(answer)


@given(VALUES)
@settings(max_examples=300)
def test_no_json_raises_anything_but_an_answer_error(value):
    read_or_refuse(json.dumps(value))
    read_or_refuse(json.dumps({"ideas": value}))


SHORT = st.text(min_size=1, max_size=100)
"""A title of more than 160 characters is cut."""


@given(st.lists(st.tuples(SHORT, st.text(min_size=1)), min_size=1, max_size=5))
def test_what_is_written_as_asked_comes_back(pairs):
    entries = [
        {"title": f"t{title}t", "text": f"x{text}x {at}", "parents": []}
        for at, (title, text) in enumerate(pairs)
    ]
    proposals = read_or_refuse(json.dumps({"ideas": entries}))
    assert [proposal.text for proposal in proposals] == [entry["text"] for entry in entries]


BOMBS = {
    "open lists": "[" * MOST_CHARACTERS,
    "open objects": '{"title":' * (MOST_CHARACTERS // 9),
    "lists of objects": "[{" * (MOST_CHARACTERS // 2),
    "unfinished strings": '{"a' * (MOST_CHARACTERS // 3),
    "closed strings": '{"title": "a", ' * (MOST_CHARACTERS // 15),
    "blanks": "[" + " " * (MOST_CHARACTERS - 2) + "x",
    "tags": "[Experiment]" * (MOST_CHARACTERS // 12),
    "small ideas": "[Experiment] a b c " * (MOST_CHARACTERS // 19),
    "headings": "# 1\n" * (MOST_CHARACTERS // 4),
    "hashes": "#" * MOST_CHARACTERS,
    "items": "1. **" * (MOST_CHARACTERS // 5),
    "thinking": "<think>" * (MOST_CHARACTERS // 7),
    "digits": '{"ideas": [' + "9" * (MOST_CHARACTERS - 20) + "]}",
    "one word": '{"ideas": ["' + "a" * (MOST_CHARACTERS - 20) + '"]}',
    "many ideas": '{"ideas": [' + '"a",' * 200_000 + '"b"]}',
    "many parents": '{"ideas": [{"title": "a", "parents": ["' + "abcdef " * 140_000 + '"]}]}',
    "backslashes": '{"ideas": ["' + "\\" * (MOST_CHARACTERS - 20) + '"]}',
    "commas": ", " * (MOST_CHARACTERS // 2),
    "hex": '{"ideas": [{"title": "a", "parents": ["' + "a" * 1_000_000 + '"]}]}',
}


@pytest.mark.parametrize("answer", BOMBS.values(), ids=BOMBS.keys())
def test_a_megabyte_of_anything_is_read_or_refused_in_seconds(answer):
    begin = time.process_time()
    read_or_refuse(answer)
    assert time.process_time() - begin < 5
