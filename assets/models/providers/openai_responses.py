"""The protocol `openai`: the Responses API.

Written for openai 3.54. Nothing is stored at the provider: the lake keeps the answers. The order
of instructions, prefix and turns is that of the cache, which needs no marks here.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from openai import Omit, omit

from assets.config.connection import Connection, ResponsesOptions
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
    from openai.types.responses import EasyInputMessageParam, ResponseTextConfigParam
    from openai.types.shared_params import Reasoning

TOKENS = ("input_tokens", "output_tokens")
ENDS = {"response.completed", "response.incomplete", "response.failed"}


class OpenAIResponses:
    """A client of the Responses API for one model."""

    errors = ERRORS

    def __init__(self, connection: Connection, secret: Secret) -> None:
        """Nothing is sent yet; belongs to the running event loop."""
        assert isinstance(connection.options, ResponsesOptions)
        self._connection = connection
        self._options = connection.options
        self._client = open_client(connection, secret)

    def open(self, prompt: Prompt, key: str) -> AbstractAsyncContextManager[Response]:
        """Send a prompt once."""
        options = self._options
        return self._client.responses.with_streaming_response.create(
            model=self._connection.model,
            instructions=prompt.system or omit,
            input=[*_messages(prompt)],
            max_output_tokens=given(options.max_tokens),
            temperature=given(options.temperature),
            top_p=given(options.top_p),
            reasoning=_reasoning(options),
            text=_text(options, prompt),
            prompt_cache_key=cache_key(prompt),
            store=False,
            stream=self._connection.stream,
            extra_headers={"Idempotency-Key": key},
        )

    def hear(self, incoming: IncomingReply, event: Mapping[str, object]) -> None:
        """Take in one event; the last one repeats the whole answer, so only the parts are taken."""
        match text_at(event, "type"):
            case "response.output_text.delta":
                incoming.answer.add(text_at(event, "delta"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                incoming.thinking.add(text_at(event, "delta"))
            case "response.reasoning_summary_part.added":
                incoming.thinking.add("\n\n" if incoming.thinking else "")
            case "response.refusal.delta":
                incoming.refusal.add(text_at(event, "delta"))
            case "error":
                code = text_at(event, "code") or text_at(event, "error", "code")
                raise ReportedError(status_of(code), event)
            case kind if kind in ENDS:
                _end(incoming, event.get("response"))
                incoming.over = True

    def read(self, incoming: IncomingReply, body: Mapping[str, object]) -> None:
        """Take in a whole response."""
        incoming.count(usage_of(body, *TOKENS))
        for item in items_at(body, "output"):
            for part in items_at(item, "content"):
                _take_part(incoming, part, text_at(item, "type"))
            summaries = [text_at(part, "text") for part in items_at(item, "summary")]
            incoming.thinking.add("\n\n".join(summaries))
        _end(incoming, body)

    async def close(self) -> None:
        """End its connections."""
        await self._client.close()


def _take_part(incoming: IncomingReply, part: object, item: str) -> None:
    incoming.refusal.add(text_at(part, "refusal"))
    (incoming.thinking if item == "reasoning" else incoming.answer).add(text_at(part, "text"))


def _end(incoming: IncomingReply, response: object) -> None:
    match text_at(response, "status"):
        case "completed":
            incoming.end(Finish.STOP)
        case "incomplete":
            why = text_at(response, "incomplete_details", "reason")
            filtered = why == "content_filter"
            cut = f"cut off at {why or 'a limit that the provider does not name'}"
            reason = "a filter of the provider declined" if filtered else cut
            incoming.end(Finish.REFUSAL if filtered else Finish.LENGTH, reason)
        case status:
            error = at(response, "error")
            code = text_at(error, "code")
            words = text_at(error, "message") or f"the response has the status {status or None}"
            raise ReportedError(status_of(code), {"error": {"code": code, "message": words}})
    incoming.count(usage_of(response, *TOKENS))


def _messages(prompt: Prompt) -> "list[EasyInputMessageParam]":
    messages: list[EasyInputMessageParam] = []
    for place, turn in enumerate(prompt.turns):
        if place == 0 and prompt.prefix:
            parts = (prompt.prefix, turn.text)
            content = [{"type": "input_text", "text": text} for text in parts]
            messages.append({"role": "user", "content": content})  # type: ignore[typeddict-item]
        else:
            messages.append({"role": turn.role, "content": turn.text})
    return messages


def _reasoning(options: ResponsesOptions) -> "Reasoning | Omit":
    reasoning: Reasoning = {}
    if options.effort is not None:
        reasoning["effort"] = options.effort
    if options.summary is not None:
        reasoning["summary"] = options.summary
    return reasoning or omit


def _text(options: ResponsesOptions, prompt: Prompt) -> "ResponseTextConfigParam | Omit":
    text: ResponseTextConfigParam = {}
    if options.verbosity is not None:
        text["verbosity"] = options.verbosity
    if prompt.schema is not None:
        schema = dict(prompt.schema)
        text["format"] = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    return text or omit
