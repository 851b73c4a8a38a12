"""What may be said in a connection, and what of it reaches the server."""

import re
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from assets.config.connection import Connection, read_options
from tests.asking import KEY, PROTOCOLS, VARIABLE, ask_once, connection_to
from tests.model_server import ModelServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer() as server:
        yield server


SENT = [
    ("anthropic", {}, {"max_tokens": 16_384}),
    ("anthropic", {"max_tokens": 9}, {"max_tokens": 9}),
    ("anthropic", {"thinking": "off"}, {"thinking": {"type": "disabled"}}),
    (
        "anthropic",
        {"thinking": "adaptive"},
        {"thinking": {"type": "adaptive", "display": "summarized"}},
    ),
    (
        "anthropic",
        {"thinking": 2048},
        {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"}},
    ),
    ("anthropic", {"effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
    ("openai", {"max_tokens": 9}, {"max_output_tokens": 9}),
    ("openai", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
    (
        "openai",
        {"effort": "low", "summary": "auto"},
        {"reasoning": {"effort": "low", "summary": "auto"}},
    ),
    ("openai", {"verbosity": "low"}, {"text": {"verbosity": "low"}}),
    ("openai", {}, {"store": False}),
    ("openai_chat", {"max_tokens": 9, "seed": 3}, {"max_tokens": 9, "seed": 3}),
    ("openai_chat", {"temperature": 1.0, "top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
    ("openai_chat", {"effort": "high"}, {"reasoning_effort": "high"}),
    ("openai_chat", {"extra": {"top_k": 40}}, {"top_k": 40}),
]


@pytest.mark.parametrize(("protocol", "options", "fields"), SENT)
def test_an_option_is_sent_as_the_protocol_calls_it(server, protocol, options, fields):
    ask_once(connection_to(server, protocol, options=options))
    body = server.requests[0].body
    assert {name: body[name] for name in fields} == fields


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_not_chosen_is_not_sent(server, protocol):
    ask_once(connection_to(server, protocol))
    optional = {"temperature", "top_p", "thinking", "reasoning", "reasoning_effort", "seed"}
    assert not optional & set(server.requests[0].body)


REFUSED = [
    ("anthropic", {"temperature": 0.7}, r"options.temperature: found 0.7, expected one of max_tok"),
    ("anthropic", {"top_p": 0.7}, r"the protocol anthropic has no other"),
    ("anthropic", {"thinking": 100}, r"options.thinking: found 100, expected .*1024"),
    ("anthropic", {"thinking": 20_000}, r"found 20000, expected a budget .* below max_tokens"),
    ("anthropic", {"max_tokens": "9"}, r"options.max_tokens: found '9', expected a valid integer"),
    ("anthropic", {"effort": "none"}, r"options.effort: found 'none', expected 'low', 'medium'"),
    ("openai", {"thinking": 2048}, r"options.thinking: found 2048, expected one of max_tokens"),
    ("openai", {"temperature": 3}, r"options.temperature: found 3, expected less than or equal"),
    ("openai", {"seed": 1}, r"options.seed"),
    ("openai_chat", {"summary": "auto"}, r"the protocol openai_chat has no other"),
]


@pytest.mark.parametrize(("protocol", "options", "message"), REFUSED)
def test_an_option_that_a_protocol_has_not_is_refused_in_words(protocol, options, message):
    with pytest.raises(ValueError, match=message):
        read_options(protocol, options)
    with pytest.raises(ValidationError, match=message):
        Connection(provider="p", protocol=protocol, model="m", options=options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": "api.example.com"}, "base_url: expected an address"),
        ({"base_url": f"https://user:{KEY}@example.com"}, "keys belong in the environment"),
        ({"base_url": f"https://example.com?key={KEY}"}, "keys belong in the environment"),
        ({"key_variable": KEY}, "key_variable"),
        ({"protocol": "gemini"}, "protocol"),
        ({"tries": 0}, "tries"),
        ({"timeout_seconds": 0.0}, "timeout_seconds"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_a_connection_that_cannot_be_used_is_refused_without_showing_a_key(fields, message):
    with pytest.raises(ValidationError) as caught:
        Connection(**({"provider": "p", "protocol": "openai", "model": "m"} | fields))
    assert re.search(message, str(caught.value))
    assert KEY not in str(caught.value)


def test_the_vendors_key_is_meant_at_the_vendors_address_only():
    fields = {"provider": "p", "model": "m"}
    here = {"base_url": "http://127.0.0.1:8000/v1"}
    assert Connection(protocol="anthropic", **fields).variable == "ANTHROPIC_API_KEY"
    assert Connection(protocol="openai", **fields).variable == "OPENAI_API_KEY"
    assert Connection(protocol="openai_chat", **fields, **here).variable is None
    named = Connection(protocol="openai_chat", **fields, **here, key_variable="TOGETHER_API_KEY")
    assert named.variable == "TOGETHER_API_KEY"
