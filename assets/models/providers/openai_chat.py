"""The protocol `openai_chat`: chat completions, which vLLM, Together and many others speak.

Other servers refuse what they do not know, so only OpenAI's own address gets a cache key and the
newer name of the token limit; the rest is what all of them understand: the content of a message is
one text, not parts.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from openai import Omit, omit

from assets.config.connection import ADDRESSES, ChatOptions, Connection
from assets.models.providers.body import at, items_at, text_at
from assets.models.providers.exchange import ReportedError, Response
from assets.models.providers.openai_sdk import (
    ERRORS,
    cache_key,
    given,
    open_client,
    status_of,
    usage_of,
)
from assets.models.providers.provider import Prompt
from assets.models.providers.reply import IncomingReply
from assets.models.providers.secrets import Secret
from assets.models.requests import Finish

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.shared_params import ResponseFormatJSONSchema

TOKENS = ("prompt_tokens", "completion_tokens")
ENDS = {
    "length": (Finish.LENGTH, "cut off at max_tokens"),
    "content_filter": (Finish.REFUSAL, "a filter of the provider declined"),
}


class OpenAIChat:
    """A client of chat completions for one model."""

    errors = ERRORS

    def __init__(self, connection: Connection, secret: Secret) -> None:
        """Nothing is sent yet; belongs to the running event loop."""
        assert isinstance(connection.options, ChatOptions)
        self._connection = connection
        self._options = connection.options
        self._vendor = connection.address == ADDRESSES[connection.protocol]
        self._client = open_client(connection, secret)

    def open(self, prompt: Prompt, key: str) -> AbstractAsyncContextManager[Response]:
        """Send a prompt once."""
        options, stream = self._options, self._connection.stream
        most = omit if options.max_tokens is None else options.max_tokens
        return self._client.chat.completions.with_streaming_response.create(
            model=self._connection.model,
            messages=_messages(prompt),
            max_completion_tokens=most if self._vendor else omit,
            max_tokens=omit if self._vendor else most,
            temperature=given(options.temperature),
            top_p=given(options.top_p),
            seed=given(options.seed),
            reasoning_effort=given(options.effort),
            response_format=_format(prompt),
            prompt_cache_key=cache_key(prompt) if self._vendor else omit,
            stream=stream,
            stream_options={"include_usage": True} if stream else omit,
            extra_headers={"Idempotency-Key": key},
            extra_body=dict(options.extra) or None,
        )

    def hear(self, incoming: IncomingReply, event: Mapping[str, object]) -> None:
        """Take in one chunk."""
        _take(incoming, event, "delta")

    def read(self, incoming: IncomingReply, body: Mapping[str, object]) -> None:
        """Take in a whole completion; some servers leave out why it stopped."""
        _take(incoming, body, "message")
        if incoming.finish is None and at(body, "choices", 0, "message") is not None:
            incoming.end(Finish.STOP)

    async def close(self) -> None:
        """End its connections."""
        await self._client.close()


def _take(incoming: IncomingReply, body: Mapping[str, object], part: str) -> None:
    if body.get("error"):
        code = at(body, "error", "code") or at(body, "error", "type")
        raise ReportedError(status_of(code), body)
    incoming.count(usage_of(body, *TOKENS))
    message = at(body, "choices", 0, part)
    thinking = text_at(message, "reasoning_content") or text_at(message, "reasoning")
    incoming.thinking.add(thinking)
    incoming.refusal.add(text_at(message, "refusal"))
    incoming.answer.add(_content(message))
    if word := text_at(body, "choices", 0, "finish_reason"):
        incoming.end(*ENDS.get(word, (Finish.STOP, None)))


def _content(message: object) -> str:
    """The text of a message; some servers give a list of parts instead."""
    return text_at(message, "content") or "".join(
        text_at(part, "text") for part in items_at(message, "content")
    )


def _messages(prompt: Prompt) -> "list[ChatCompletionMessageParam]":
    messages: list[ChatCompletionMessageParam] = []
    if prompt.system:
        messages.append({"role": "system", "content": prompt.system})
    for place, turn in enumerate(prompt.turns):
        if turn.role == "assistant":
            messages.append({"role": "assistant", "content": turn.text})
        else:
            prefix = f"{prompt.prefix}\n\n" if place == 0 and prompt.prefix else ""
            messages.append({"role": "user", "content": prefix + turn.text})
    return messages


def _format(prompt: Prompt) -> "ResponseFormatJSONSchema | Omit":
    if prompt.schema is None:
        return omit
    schema = dict(prompt.schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
