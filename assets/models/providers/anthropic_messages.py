"""The protocol `anthropic`: the Messages API, and servers that speak it.

Written for anthropic 2.12, whose `messages.create` takes neither temperature nor top_p. Of the
prompt, three places may be read from the cache: the system's text, the prefix after it, and the
last answer of a longer conversation, after which only the newest question differs.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import anthropic
from anthropic import omit

from assets.config.connection import AnthropicOptions, Connection
from assets.models.providers.body import count_at, items_at, text_at
from assets.models.providers.exchange import Errors, ReportedError, Response, timeout_of
from assets.models.providers.http import http_options
from assets.models.providers.provider import Prompt
from assets.models.providers.reply import REDACTED, IncomingReply
from assets.models.providers.secrets import Secret
from assets.models.requests import Finish, Usage

if TYPE_CHECKING:
    from anthropic.types import (
        MessageParam,
        OutputConfigParam,
        TextBlockParam,
        ThinkingConfigParam,
    )

ENDS = {
    "max_tokens": (Finish.LENGTH, "cut off at max_tokens"),
    "model_context_window_exceeded": (Finish.LENGTH, "cut off at the end of the context window"),
    "refusal": (Finish.REFUSAL, "the model or a filter declined"),
}
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""For errors that come inside a stream; any other is the server's own, 500."""


class AnthropicMessages:
    """A client of the Messages API for one model."""

    errors = Errors(
        status=anthropic.APIStatusError,
        timeout=anthropic.APITimeoutError,
        connection=anthropic.APIConnectionError,
    )

    def __init__(self, connection: Connection, secret: Secret) -> None:
        """Nothing is sent yet; belongs to the running event loop."""
        assert isinstance(connection.options, AnthropicOptions)
        self._connection = connection
        self._options = connection.options
        self._client = anthropic.AsyncAnthropic(
            api_key=secret.value,
            base_url=connection.address,
            timeout=timeout_of(connection.timeout_seconds),
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(**http_options(secret)),
        )

    def open(self, prompt: Prompt, key: str) -> AbstractAsyncContextManager[Response]:
        """Send a prompt once."""
        return self._client.messages.with_streaming_response.create(
            model=self._connection.model,
            max_tokens=self._options.max_tokens,
            system=[_cached(prompt.system)] if prompt.system else omit,
            messages=_messages(prompt),
            thinking=_thinking(self._options),
            output_config=_output_config(self._options, prompt),
            stream=self._connection.stream,
            extra_headers={"Idempotency-Key": key},
            timeout=timeout_of(self._connection.timeout_seconds),
        )

    def hear(self, incoming: IncomingReply, event: Mapping[str, object]) -> None:
        """Take in one event of a stream."""
        match text_at(event, "type"):
            case "message_start":
                incoming.count(replace(_usage(event, "message"), output_tokens=None))
            case "content_block_start":
                _take_block(incoming, event.get("content_block"))
            case "content_block_delta":
                incoming.thinking.add(text_at(event, "delta", "thinking"))
                incoming.answer.add(text_at(event, "delta", "text"))
            case "message_delta":
                incoming.count(_usage(event))
                _end(incoming, event.get("delta"))
            case "message_stop":
                incoming.over = True
            case "error":
                raise ReportedError(STATUSES.get(text_at(event, "error", "type"), 500), event)

    def read(self, incoming: IncomingReply, body: Mapping[str, object]) -> None:
        """Take in a whole message."""
        if body.get("type") == "error":
            raise ReportedError(STATUSES.get(text_at(body, "error", "type"), 500), body)
        incoming.count(_usage(body))
        for block in items_at(body, "content"):
            _take_block(incoming, block)
        _end(incoming, body)

    async def close(self) -> None:
        """End its connections."""
        await self._client.close()


def _take_block(incoming: IncomingReply, block: object) -> None:
    if text_at(block, "type") == "redacted_thinking":
        incoming.thinking.add(REDACTED)
    incoming.thinking.add(text_at(block, "thinking"))
    incoming.answer.add(text_at(block, "text"))


def _end(incoming: IncomingReply, message: object) -> None:
    word = text_at(message, "stop_reason")
    if not word:
        return
    finish, reason = ENDS.get(word, (Finish.STOP, None))
    said = text_at(message, "stop_details", "explanation") if finish is Finish.REFUSAL else ""
    incoming.end(finish, said or reason)


def _usage(message: object, *path: str) -> Usage:
    """Token counts; Anthropic counts cached tokens separately from the rest of the prompt."""

    def count(name: str) -> int | None:
        return count_at(message, *path, "usage", name)

    fresh, read = count("input_tokens"), count("cache_read_input_tokens")
    written = count("cache_creation_input_tokens")
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=count("output_tokens"),
        cached_tokens=read,
        written_tokens=written,
    )


def _messages(prompt: Prompt) -> "list[MessageParam]":
    messages: list[MessageParam] = []
    last_answer = len(prompt.turns) - 2
    for place, turn in enumerate(prompt.turns):
        block = _cached(turn.text) if place == last_answer else _plain(turn.text)
        prefix = [_cached(prompt.prefix)] if place == 0 and prompt.prefix else []
        if turn.role == "assistant":
            messages.append({"role": "assistant", "content": [block]})
        else:
            messages.append({"role": "user", "content": [*prefix, block]})
    return messages


def _plain(text: str) -> "TextBlockParam":
    return {"type": "text", "text": text}


def _cached(text: str) -> "TextBlockParam":
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def _thinking(options: AnthropicOptions) -> "ThinkingConfigParam | anthropic.Omit":
    match options.thinking:
        case None:
            return omit
        case "off":
            return {"type": "disabled"}
        case "adaptive":
            return {"type": "adaptive", "display": "summarized"}
        case budget:
            return {"type": "enabled", "budget_tokens": budget, "display": "summarized"}


def _output_config(
    options: AnthropicOptions, prompt: Prompt
) -> "OutputConfigParam | anthropic.Omit":
    config: OutputConfigParam = {}
    if options.effort is not None:
        config["effort"] = options.effort
    if prompt.schema is not None:
        config["format"] = {"type": "json_schema", "schema": dict(prompt.schema)}
    return config or omit
