"""Every protocol, with and without a stream, through real SDKs at a server that misbehaves."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from assets.errors import ProviderError
from assets.models.providers.provider import Turn
from assets.models.requests import Finish
from tests.asking import (
    KEY,
    PROMPT,
    PROTOCOLS,
    SCHEMA,
    VARIABLE,
    WAYS,
    ask,
    ask_once,
    connection_to,
)
from tests.model_server import HUGE, Behaviour, Fault, ModelServer

TEXT = "word " * 60
WHOLE = Behaviour(text=TEXT)


@pytest.fixture(scope="module")
def one_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(one_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    monkeypatch.setenv(VARIABLE, KEY)
    one_server.requests.clear()
    one_server.behave = lambda request: WHOLE
    return one_server


def first(spoilt: Behaviour):
    """The first request goes wrong and all others are answered."""
    return lambda request: spoilt if request.ordinal == 0 else WHOLE


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_an_answer_comes_with_its_thinking_its_tokens_and_its_price(server, protocol, stream):
    diff = "--- a/../../etc/passwd\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-\x00\u2028é\n"
    server.behave = lambda request: Behaviour(text=diff, thinking="hm " * 30, output_tokens=7)
    price = {"input": 1.0, "output": 10.0}
    answer = ask_once(connection_to(server, protocol, stream=stream, price=price))
    assert (answer.response, answer.thinking) == (diff, "hm " * 30)
    assert (answer.finish, answer.reason, answer.tries) == (Finish.STOP, None, 1)
    assert answer.model == "local/m-1"
    [request] = server.requests
    assert (request.stream, request.key, server.paid) == (stream, "0", 1)
    assert answer.usage.input_tokens == pytest.approx(len(PROMPT.prefix) / 4, rel=0.01)
    assert answer.usage.output_tokens == 7
    assert answer.cost_usd == pytest.approx((answer.usage.input_tokens + 70) / 1e6)
    assert 0 < answer.latency_seconds < 5


PASSING = {
    "429": Behaviour(status=429, headers={"retry-after": "0.2"}),
    "429-ms": Behaviour(status=429, headers={"retry-after-ms": "200"}),
    "500": Behaviour(status=500),
    "529": Behaviour(status=529),
    "cut_before": replace(WHOLE, fault=Fault.CUT_BEFORE),
    "cut_headers": replace(WHOLE, fault=Fault.CUT_HEADERS),
    "cut_middle": replace(WHOLE, fault=Fault.CUT_MIDDLE),
    "cut_quietly": replace(WHOLE, fault=Fault.CUT_QUIETLY),
    "bad_json": replace(WHOLE, fault=Fault.BAD_JSON),
    "bad_utf8": replace(WHOLE, fault=Fault.BAD_UTF8),
    "wrong_type": replace(WHOLE, fault=Fault.WRONG_TYPE),
    "error_inside": replace(WHOLE, fault=Fault.ERROR_INSIDE, code="overloaded_error"),
}
WAITED = {"429": 0.2, "429-ms": 0.2}


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_what_passes_is_asked_again_with_the_same_key(server, protocol, stream, name):
    server.behave = first(PASSING[name])
    began = time.monotonic()
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.response, answer.tries) == (Finish.STOP, TEXT, 2)
    assert [request.key for request in server.requests] == ["0", "0"]
    assert server.paid == 1
    assert time.monotonic() - began >= WAITED.get(name, 0)


LASTING = {
    "429": (PASSING["429"], "status 429: something is wrong"),
    "cut_before": (PASSING["cut_before"], "the connection broke"),
    "cut_headers": (PASSING["cut_headers"], "the connection broke"),
    "cut_middle": (PASSING["cut_middle"], "the connection broke"),
    "cut_quietly": (PASSING["cut_quietly"], "end is missing|no JSON"),
    "bad_json": (PASSING["bad_json"], "no JSON in the"),
    "bad_utf8": (PASSING["bad_utf8"], "no UTF-8 in the"),
    "wrong_type": (PASSING["wrong_type"], "no JSON in the text/html answer: <html>please log in"),
}


@pytest.mark.parametrize("name", LASTING)
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_what_lasts_becomes_an_answer_without_one(server, protocol, stream, name):
    behaviour, reason = LASTING[name]
    server.behave = lambda request: behaviour
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.response, answer.tries) == (Finish.ERROR, "", 3)
    assert (len(server.requests), server.paid) == (3, 0)
    assert_matches(reason, answer.reason)


def assert_matches(pattern: str, text: str | None) -> None:
    assert re.search(pattern, text or ""), text


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.SILENCE_MIDDLE])
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_silence_ends_a_try(server, protocol, stream, fault):
    server.behave = lambda request: replace(WHOLE, fault=fault, silence_seconds=3)
    connection = connection_to(server, protocol, stream=stream, tries=2, timeout_seconds=0.4)
    began = time.monotonic()
    answer = ask_once(connection)
    assert (answer.finish, answer.tries) == (Finish.ERROR, 2)
    assert answer.reason == "no byte for 0.4 s"
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pings_alone_do_not_keep_a_try_alive(server, protocol):
    server.behave = lambda request: replace(WHOLE, fault=Fault.PINGS)
    connection = connection_to(server, protocol, tries=1, timeout_seconds=0.2)
    answer = ask_once(connection)
    assert (answer.finish, answer.tries) == (Finish.ERROR, 1)
    assert answer.reason == "no end of the answer within 1.2 s"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_has_ended_does_not_wait_for_the_connection(server, protocol):
    server.behave = lambda request: replace(WHOLE, fault=Fault.OPEN_END, silence_seconds=4)
    began = time.monotonic()
    answer = ask_once(connection_to(server, protocol))
    assert (answer.finish, answer.response, answer.tries) == (Finish.STOP, TEXT, 1)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("protocol", ["anthropic", "openai_chat"])
def test_a_stream_cut_behind_the_end_of_its_text_is_not_paid_twice(server, protocol):
    server.behave = lambda request: replace(WHOLE, fault=Fault.CUT_LATE)
    answer = ask_once(connection_to(server, protocol))
    assert (answer.finish, answer.response, answer.tries) == (Finish.STOP, TEXT, 1)


OUTCOMES = {
    "length": (Behaviour(text=TEXT, finish="length"), Finish.LENGTH, "cut off at max_"),
    "refusal": (Behaviour(text="I will not.", finish="refusal"), Finish.REFUSAL, "not|declined"),
    "filter": (Behaviour(text="", finish="filter"), Finish.REFUSAL, "filter"),
    "empty": (Behaviour(text=""), Finish.EMPTY, "without a word"),
    "blank": (Behaviour(text=" \n "), Finish.EMPTY, "without a word"),
    "thought": (Behaviour(text="", thinking="hm", finish="length"), Finish.LENGTH, "max_"),
}


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_how_an_answer_ended_is_an_outcome_and_not_tried_again(server, protocol, stream, name):
    behaviour, finish, reason = OUTCOMES[name]
    server.behave = lambda request: behaviour
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.tries, server.paid) == (finish, 1, 1)
    assert_matches(reason, answer.reason)
    assert answer.thinking == (behaviour.thinking or None)
    assert answer.usage.output_tokens is not None


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_an_answer_of_2_mb_is_cut_at_1(server, protocol, stream):
    server.behave = lambda request: Behaviour(text="é" * (HUGE // 2), part_characters=8192)
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.tries) == (Finish.LENGTH, 1)
    assert answer.response == "é" * (1 << 19)
    assert "longer than 1 MiB" in answer.reason


def test_a_body_that_does_not_end_is_not_read_to_its_end(server):
    server.behave = lambda request: Behaviour(text="é" * HUGE)
    answer = ask_once(connection_to(server, "openai", stream=False))
    assert (answer.finish, answer.response, answer.tries) == (Finish.ERROR, "", 1)
    assert answer.cost_usd is None


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_a_rejected_request_is_answered_with_the_providers_words(server, protocol, stream):
    words = "max_tokens: 9 is \x1b[2Jtoo\nmany " + "and so on " * 200
    server.behave = lambda request: Behaviour(status=400, message=words)
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.response, answer.tries) == (Finish.ERROR, "", 1)
    assert answer.reason.startswith("status 400: max_tokens: 9 is \\x1b[2Jtoo many and so on")
    assert len(answer.reason) < 500


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_filter_before_the_model_is_a_refusal(server, protocol):
    server.behave = lambda request: Behaviour(status=400, code="content_filter", message="no")
    answer = ask_once(connection_to(server, protocol))
    assert (answer.finish, answer.reason, answer.tries) == (Finish.REFUSAL, "status 400: no", 1)


HOPELESS = {
    "401": (Behaviour(status=401), "refused the key"),
    "402": (Behaviour(status=402), "asks for payment"),
    "403": (Behaviour(status=403), "forbids this"),
    "404": (Behaviour(status=404, message="no model m-1"), "no model m-1"),
    "quota": (Behaviour(status=429, code="insufficient_quota"), "answers no call"),
    "long": (Behaviour(status=429, headers={"retry-after": "3600"}), "asks to wait 3600 s"),
    "redirect": (Behaviour(fault=Fault.REDIRECT), "status 307"),
}


@pytest.mark.parametrize("name", HOPELESS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_no_call_gets_past_ends_the_stage_at_once(server, protocol, name):
    behaviour, words = HOPELESS[name]
    server.behave = lambda request: behaviour
    with pytest.raises(ProviderError) as caught:
        ask_once(connection_to(server, protocol))
    message = str(caught.value)
    assert words in message
    assert "local/m-1" in message
    assert "run the same command again; nothing is lost" in message
    if name in ("401", "402", "403"):
        assert VARIABLE in message
    assert len(server.requests) == 1


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_a_server_without_schemas_is_asked_without_and_remembered(server, protocol, stream):
    server.behave = lambda request: replace(WHOLE, fault=Fault.NO_SCHEMA)
    prompt = replace(PROMPT, schema=SCHEMA)
    answers = ask(connection_to(server, protocol, stream=stream, tries=1), [prompt, prompt])
    assert [(answer.finish, answer.tries) for answer in answers] == [
        (Finish.STOP, 2),
        (Finish.STOP, 1),
    ]
    assert [request.schema for request in server.requests] == [SCHEMA, None, None]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_at_once_that_are_refused_their_schema_all_go_on_without(server, protocol):
    server.behave = lambda request: replace(WHOLE, fault=Fault.NO_SCHEMA)
    prompts = [replace(PROMPT, schema=SCHEMA)] * 6
    answers = ask(connection_to(server, protocol), prompts, at_once=True)
    assert {answer.finish for answer in answers} == {Finish.STOP}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_schema_reaches_the_protocols_own_field(server, protocol):
    ask_once(connection_to(server, protocol), replace(PROMPT, schema=SCHEMA))
    assert server.requests[0].schema == SCHEMA


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_what_prompts_share_is_read_from_the_cache(server, protocol, stream):
    turns = (Turn(role="user", text="Another"),)
    prompts = [replace(PROMPT, prefix=f"{protocol}{stream}" + "y" * 8192)]
    prompts.append(replace(prompts[0], turns=turns))
    one, two = ask(connection_to(server, protocol, stream=stream), prompts)
    assert (one.usage.cached_tokens or 0) < 10
    assert 1800 < two.usage.cached_tokens <= two.usage.input_tokens
    assert [request.messages[0][1][:9] for request in server.requests] == [
        prompts[0].prefix[:9]
    ] * 2


def test_anthropic_is_told_three_places_to_cache_at(server):
    turns = (
        Turn(role="user", text="one"),
        Turn(role="assistant", text="two"),
        Turn(role="user", text="three"),
    )
    ask_once(connection_to(server, "anthropic"), replace(PROMPT, turns=turns))
    body = server.requests[0].body
    blocks = [*body["system"], *(block for turn in body["messages"] for block in turn["content"])]
    marked = [block["text"][:4] for block in blocks if "cache_control" in block]
    assert marked == ["You ", "xxxx", "two"]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


def test_an_answer_that_was_cut_off_nobody_says_where_has_a_whole_sentence(server):
    server.behave = lambda request: Behaviour(text=TEXT, finish="cut")
    for stream in (True, False):
        answer = ask_once(connection_to(server, "openai", stream=stream))
        assert answer.finish is Finish.LENGTH
        assert answer.reason == "cut off at a limit that the provider does not name"


def test_a_chat_server_that_does_not_say_why_it_stopped_is_understood(server):
    server.behave = lambda request: Behaviour(text=TEXT, finish="unsaid")
    for stream in (True, False):
        answer = ask_once(connection_to(server, "openai_chat", stream=stream))
        assert (answer.finish, answer.response, answer.tries) == (Finish.STOP, TEXT, 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_long_answer_may_be_asked_for_without_a_stream(server, protocol):
    options = {"max_tokens": 128_000}
    fields = {"options": options, "timeout_seconds": 600.0, "stream": False}
    assert ask_once(connection_to(server, protocol, **fields)).finish is Finish.STOP


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_not_there_is_named(server, protocol):
    connection = connection_to(server, protocol, tries=1)
    gone = connection.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    answer = ask_once(gone)
    assert (answer.finish, answer.reason) == (Finish.ERROR, "the connection broke (ConnectError)")
    with pytest.raises(ProviderError, match=r"local/m-1 at http://127\.0\.0\.1:9/v1: no answer"):
        ask(gone, [PROMPT] * 9)


def test_redacted_thinking_leaves_a_note(server):
    server.behave = lambda request: Behaviour(thinking="hm ", redacted=True)
    for stream in (True, False):
        answer = ask_once(connection_to(server, "anthropic", stream=stream))
        assert answer.thinking == "hm [thinking that the provider redacted]"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_halves_of_a_character_are_joined_and_lone_ones_replaced(server, protocol):
    server.behave = lambda request: Behaviour(text="a\ud83d\ude00b\ud83dc", part_characters=1)
    for stream in (True, False):
        answer = ask_once(connection_to(server, protocol, stream=stream))
        assert answer.response == "a😀b\ufffdc"


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_calls_share_a_connection(server, protocol, stream):
    before = server.connections
    ask(connection_to(server, protocol, stream=stream), [PROMPT] * 5)
    assert server.connections == before + 1
