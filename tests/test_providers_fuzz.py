"""Servers that speak almost a protocol: whatever JSON comes, a call gives an answer or a reason."""

import functools
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.config.connection import Connection
from assets.models.providers.client import open_dialect
from assets.models.providers.exchange import Dialect, ReportedError
from assets.models.providers.reply import IncomingReply, Piece, TooLongError
from assets.models.providers.retries import fault_of_status
from assets.models.providers.secrets import Secret
from tests.asking import PROTOCOLS

WORDS = [
    "type",
    "message",
    "usage",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "content",
    "content_block",
    "delta",
    "text",
    "thinking",
    "stop_reason",
    "stop_details",
    "explanation",
    "error",
    "code",
    "status",
    "response",
    "output",
    "summary",
    "refusal",
    "incomplete_details",
    "reason",
    "choices",
    "finish_reason",
    "reasoning_content",
    "prompt_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "input_tokens_details",
]
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "error",
    "text",
    "redacted_thinking",
    "response.completed",
    "response.failed",
    "response.incomplete",
    "completed",
    "incomplete",
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_summary_part.added",
    "end_turn",
    "max_tokens",
    "refusal",
    "stop",
    "length",
    "content_filter",
    "insufficient_quota",
    "429",
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(KINDS),
    st.text(max_size=4),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=25,
)
BODY = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6)


@functools.cache
def dialect(protocol: str) -> Dialect:
    fields = {"provider": "p", "model": "m", "base_url": "http://127.0.0.1:9"}
    return open_dialect(Connection(protocol=protocol, **fields), Secret(None, "none"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODY, kind=st.sampled_from(KINDS), whole=st.booleans())
def test_any_json_is_an_answer_or_a_reason(protocol, body, kind, whole):
    incoming, spoken = IncomingReply(), dialect(protocol)
    with suppress(ReportedError):
        if whole:
            spoken.read(incoming, body)
        else:
            spoken.hear(incoming, {"type": kind} | body)
    reply = incoming.reply()
    reply.text.encode("utf-8")
    (reply.thinking or "").encode("utf-8")
    for count in (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens):
        assert count is None or 0 <= count < 1 << 62


@given(st.lists(st.text(alphabet=st.characters(), max_size=5), max_size=6))
def test_parts_of_a_text_join_to_what_can_be_stored(parts):
    piece = Piece()
    for part in parts:
        piece.add(part)
    whole = "".join(parts)
    assert piece.text() == whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_a_text_is_cut_at_its_most_bytes_and_never_inside_a_character():
    piece = Piece()
    for _ in range((1 << 20) // 3):
        piece.add("日")
    with pytest.raises(TooLongError):
        piece.add("日")
    assert piece.text() == "日" * ((1 << 20) // 3)


@settings(deadline=None)
@given(status=st.integers(300, 599), body=st.text(max_size=50), after=st.text(max_size=8))
def test_any_refusal_has_a_bounded_reason(status, body, after):
    fault = fault_of_status(status, {"retry-after": after}, body, str)
    assert fault.reason.startswith(f"status {status}")
    assert len(fault.reason) < 500
    assert "\n" not in fault.reason
