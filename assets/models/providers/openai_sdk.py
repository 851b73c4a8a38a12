"""What both protocols of OpenAI share: the client, its errors, the name of a cached prefix."""

import hashlib
from typing import TypeVar

import openai
from openai import Omit, omit

from assets.config.connection import Connection
from assets.models.providers.body import at, count_at
from assets.models.providers.exchange import Errors, timeout_of
from assets.models.providers.http import http_options
from assets.models.providers.provider import Prompt
from assets.models.providers.secrets import Secret
from assets.models.requests import Usage

Value = TypeVar("Value")
ERRORS = Errors(
    status=openai.APIStatusError,
    timeout=openai.APITimeoutError,
    connection=openai.APIConnectionError,
)
STATUSES = {
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "invalid_prompt": 400,
    "content_filter": 400,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
}
"""For errors that come inside an answer; any other is the server's own, 500."""


def open_client(connection: Connection, secret: Secret) -> openai.AsyncOpenAI:
    """A client of the running event loop."""
    return openai.AsyncOpenAI(
        api_key=secret.value,
        base_url=connection.address,
        timeout=timeout_of(connection.timeout_seconds),
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(**http_options(secret)),
    )


def given(value: Value | None) -> Value | Omit:
    """An option as the SDK wants it: what was not chosen is not sent."""
    return omit if value is None else value


def cache_key(prompt: Prompt) -> str:
    """Equal for prompts that begin alike, so that they reach the machine that has them cached."""
    return hashlib.sha256(f"{prompt.system}\0{prompt.prefix}".encode()).hexdigest()[:32]


def status_of(code: object) -> int:
    """The status that an error inside an answer stands for."""
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return STATUSES.get(code, 500) if isinstance(code, str) else 500


def usage_of(body: object, read: str, written: str) -> Usage:
    """The tokens that a body counts; each protocol has its own names for those read and written."""
    details = at(body, "usage", f"{read}_details")
    return Usage(
        input_tokens=count_at(body, "usage", read),
        output_tokens=count_at(body, "usage", written),
        cached_tokens=count_at(details, "cached_tokens"),
        written_tokens=count_at(details, "cache_write_tokens"),
    )
