"""How a test's model server reads requests and writes answers, in the words of each protocol.

`Request` is what came in, `Behaviour` what a test wants to go out; no bytes are moved here.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

BLOCK = 512
"""Characters; prefixes are known to the cache in steps of that."""


class Fault(StrEnum):
    """What goes wrong with a response."""

    CUT_BEFORE = "cut_before"
    """The connection ends without a byte."""
    CUT_HEADERS = "cut_headers"
    """It ends behind the headers."""
    CUT_MIDDLE = "cut_middle"
    """It ends in the middle of the body, whose length was announced or whose chunks go on."""
    CUT_LATE = "cut_late"
    """It ends before the last event of a stream."""
    CUT_QUIETLY = "cut_quietly"
    """The body ends as HTTP has it, in the middle of the answer."""
    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    WRONG_TYPE = "wrong_type"
    """A page of HTML with status 200."""
    SILENCE = "silence"
    """No byte for `silence_seconds`, then the answer."""
    SILENCE_MIDDLE = "silence_middle"
    """The same in the middle of the body."""
    PINGS = "pings"
    """A stream of comments that never comes to the answer."""
    ERROR_INSIDE = "error_inside"
    """An error event in the middle of a stream; without a stream, a status."""
    OPEN_END = "open_end"
    """The answer ends, the body does not."""
    NO_SCHEMA = "no_schema"
    """A request with a schema gets status 400, naming it; others are answered."""
    REDIRECT = "redirect"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What the server does with one request."""

    text: str = "an answer"
    thinking: str = ""
    redacted: bool = False
    """Whether a block of redacted thinking goes before the answer, where the protocol has them."""
    finish: str = "stop"
    """stop, length, refusal or filter; unsaid is stop without a word of it, for `openai_chat`."""
    status: int = 200
    message: str = "something is wrong"
    """Of an error."""
    code: str = ""
    """Type or code of an error; empty is what the status usually has."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of an error, for example retry-after."""
    fault: Fault | None = None
    silence_seconds: float = 5.0
    delay_seconds: float = 0.0
    output_tokens: int | None = None
    """None counts characters."""
    part_characters: int = 40
    """Of the answer in one event of a stream."""
    coding: str = ""
    """gzip or deflate: what the body of an answer is compressed with."""
    raw: Callable[[], Iterable[bytes]] | None = None
    """Bytes that are sent instead of a response; then the connection ends."""


@dataclass(kw_only=True)
class Request:
    """One request, and what became of it."""

    ordinal: int
    protocol: str
    model: str
    system: str
    messages: tuple[tuple[str, str], ...]
    """Role and text, of which the first begins with the prefix."""
    schema: Any
    stream: bool
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    answered: bool = False
    """Whether a whole answer was sent."""
    repeated: bool = False
    """Whether the answer of an earlier request with the same key was given again."""

    @property
    def key(self) -> str:
        """Of idempotency."""
        return self.headers.get("idempotency-key", "")

    @property
    def text(self) -> str:
        """The last message."""
        return self.messages[-1][1] if self.messages else ""


ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_body(protocol: str, behaviour: Behaviour) -> dict[str, Any]:
    code = behaviour.code or ERRORS.get(behaviour.status, "api_error")
    error = {"type": code, "code": code, "message": behaviour.message}
    return {"type": "error", "error": error} if protocol == "anthropic" else {"error": error}


def _join(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


Read = tuple[str, tuple[tuple[str, str], ...], Any]


def _read_anthropic(body: Mapping[str, Any]) -> Read:
    messages = tuple((turn["role"], _join(turn["content"])) for turn in body["messages"])
    schema = body.get("output_config", {}).get("format", {}).get("schema")
    return _join(body.get("system", "")), messages, schema


def _read_responses(body: Mapping[str, Any]) -> Read:
    turns = body["input"]
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    messages = tuple((turn["role"], _join(turn["content"])) for turn in turns)
    schema = body.get("text", {}).get("format", {}).get("schema")
    return body.get("instructions", ""), messages, schema


def _read_chat(body: Mapping[str, Any]) -> Read:
    turns = [(turn["role"], _join(turn["content"])) for turn in body["messages"]]
    system = "".join(text for role, text in turns if role == "system")
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return system, tuple(turn for turn in turns if turn[0] != "system"), schema


READERS: Mapping[str, Callable[[Mapping[str, Any]], Read]] = {
    "anthropic": _read_anthropic,
    "openai": _read_responses,
    "openai_chat": _read_chat,
}


def marked_prefixes(request: Request) -> Iterator[tuple[int, bytes]]:
    """Size and name of the prefixes that a request marks for the cache."""
    digest, size = hashlib.sha256(request.model.encode()), 0
    parts = [request.body.get("system", "")]
    parts += [turn["content"] for turn in request.body["messages"]]
    for block in (block for part in parts for block in _as_blocks(part)):
        digest.update(block["text"].encode())
        size += len(block["text"])
        if "cache_control" in block:
            yield size, digest.digest()


def _as_blocks(content: Any) -> list[dict[str, Any]]:
    return [{"text": content}] if isinstance(content, str) else list(content)


def block_prefixes(request: Request) -> Iterator[tuple[int, bytes]]:
    """Size and name of the prefixes of a whole prompt, in steps."""
    text = request.system + "".join(text for _, text in request.messages)
    digest = hashlib.sha256(request.model.encode())
    for end in range(BLOCK, len(text) + 1, BLOCK):
        digest.update(text[end - BLOCK : end].encode())
        yield end, digest.digest()


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


STOPS = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal", "filter": "refusal"}


def _whole_anthropic(
    request: Request, behaviour: Behaviour, usage: Mapping[str, int]
) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if behaviour.thinking:
        content.append({"type": "thinking", "thinking": behaviour.thinking, "signature": "s"})
    if behaviour.redacted:
        content.append({"type": "redacted_thinking", "data": "x"})
    if behaviour.text:
        content.append({"type": "text", "text": behaviour.text})
    fresh = usage["input"] - usage["read"] - usage["written"]
    return {
        "id": f"msg_{request.ordinal}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": STOPS[behaviour.finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": fresh,
            "cache_read_input_tokens": usage["read"],
            "cache_creation_input_tokens": usage["written"],
            "output_tokens": usage["output"],
        },
    }


Event = tuple[str, Mapping[str, Any] | str]


def _stream_anthropic(
    request: Request, behaviour: Behaviour, usage: Mapping[str, int], whole: Mapping[str, Any]
) -> Iterator[Event]:
    start = dict(whole) | {"content": [], "stop_reason": None}
    start["usage"] = dict(whole["usage"]) | {"output_tokens": 1}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        empty = dict(block) | ({kind: ""} if kind in block else {})
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        for piece in _pieces(block.get(kind, ""), behaviour.part_characters):
            delta = {"type": f"{kind}_delta", kind: piece}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counts = {"output_tokens": usage["output"]}
    events.append({"type": "message_delta", "delta": delta, "usage": counts})
    events.append({"type": "message_stop"})
    yield from ((event["type"], event) for event in events)


def _whole_responses(
    request: Request, behaviour: Behaviour, usage: Mapping[str, int]
) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": behaviour.text, "annotations": []}
    if behaviour.finish == "refusal":
        part = {"type": "refusal", "refusal": behaviour.text or "I will not."}
    output: list[dict[str, Any]] = []
    if behaviour.thinking:
        summary = [{"type": "summary_text", "text": behaviour.thinking}]
        output.append({"id": "rs", "type": "reasoning", "summary": summary})
    output.append(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    )
    why = {"length": "max_output_tokens", "filter": "content_filter"}.get(behaviour.finish)
    details = {"cached_tokens": usage["read"], "cache_write_tokens": 0}
    return {
        "id": f"resp_{request.ordinal}",
        "object": "response",
        "created_at": 1,
        "model": request.model,
        "status": "incomplete" if why or behaviour.finish == "cut" else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "error": None,
        "output": output,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": usage["input"],
            "input_tokens_details": details,
            "output_tokens": usage["output"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["input"] + usage["output"],
        },
    }


def _stream_responses(
    request: Request, behaviour: Behaviour, usage: Mapping[str, int], whole: Mapping[str, Any]
) -> Iterator[Event]:
    begun = dict(whole) | {"status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(whole["output"]):
        events += _item_events(index, item, behaviour.part_characters)
    events.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(events):
        yield event["type"], event | {"sequence_number": number}


def _item_events(index: int, item: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """What a stream says of one item of the output, from its opening to its end."""
    parts = "summary" if item["type"] == "reasoning" else "content"
    place: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    opened = dict(item) | {"status": "in_progress", parts: []}
    yield {"type": "response.output_item.added", "item": opened, "output_index": index}
    for number, part in enumerate(item[parts]):
        name = {"summary_text": "reasoning_summary_text"}.get(part["type"], part["type"])
        group = {"summary": "reasoning_summary_part", "content": "content_part"}[parts]
        here = place | {f"{parts}_index": number}
        field_name = "refusal" if part["type"] == "refusal" else "text"
        yield {"type": f"response.{group}.added", "part": dict(part) | {field_name: ""}, **here}
        for piece in _pieces(part[field_name], size):
            yield {"type": f"response.{name}.delta", "delta": piece, "logprobs": [], **here}
        yield {"type": f"response.{group}.done", "part": part, **here}
    yield {"type": "response.output_item.done", "item": item, "output_index": index}


FINISHES = {
    "stop": "stop",
    "length": "length",
    "refusal": "stop",
    "filter": "content_filter",
    "unsaid": None,
}


def _whole_chat(request: Request, behaviour: Behaviour, usage: Mapping[str, int]) -> dict[str, Any]:
    refused = behaviour.finish == "refusal"
    message: dict[str, Any] = {"role": "assistant", "content": None if refused else behaviour.text}
    if refused:
        message["refusal"] = behaviour.text or "I will not."
    if behaviour.thinking:
        message["reasoning_content"] = behaviour.thinking
    choice = {"index": 0, "message": message, "finish_reason": FINISHES[behaviour.finish]}
    return {
        "id": f"chat_{request.ordinal}",
        "object": "chat.completion",
        "created": 1,
        "model": request.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage["input"],
            "completion_tokens": usage["output"],
            "total_tokens": usage["input"] + usage["output"],
            "prompt_tokens_details": {"cached_tokens": usage["read"]},
        },
    }


def _stream_chat(
    request: Request, behaviour: Behaviour, usage: Mapping[str, int], whole: Mapping[str, Any]
) -> Iterator[Event]:
    same = {name: whole[name] for name in ("id", "created", "model")}
    same["object"] = "chat.completion.chunk"
    message = whole["choices"][0]["message"]
    for name in ("reasoning_content", "refusal", "content"):
        for piece in _pieces(message.get(name) or "", behaviour.part_characters):
            choice = {"index": 0, "delta": {name: piece}, "finish_reason": None}
            yield "", same | {"choices": [choice]}
    ending = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
    yield "", same | {"choices": [ending]}
    yield "", same | {"choices": [], "usage": whole["usage"]}
    yield "", "[DONE]"


WHOLES = {
    "anthropic": _whole_anthropic,
    "openai": _whole_responses,
    "openai_chat": _whole_chat,
}
STREAMS = {
    "anthropic": _stream_anthropic,
    "openai": _stream_responses,
    "openai_chat": _stream_chat,
}
