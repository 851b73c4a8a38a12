"""How tests ask a model server through the providers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from assets.config.allowed import Allowed
from assets.config.connection import Connection
from assets.models.providers.client import Client
from assets.models.providers.limits import Limiter
from assets.models.providers.provider import Prompt, Turn
from assets.models.providers.retries import Backoff
from assets.models.requests import Answer
from tests.model_server import ModelServer

VARIABLE = "VARVE_TEST_KEY"
KEY = "sk-varve-test/0123456789+abcdef"
BACKOFF = Backoff(first_seconds=0.01, most_seconds=0.02)
PROTOCOLS = ("anthropic", "openai", "openai_chat")
WAYS = [
    pytest.param(protocol, stream, id=f"{protocol}-{'stream' if stream else 'whole'}")
    for protocol in PROTOCOLS
    for stream in (True, False)
]
PROMPT = Prompt(system="You write diffs.", prefix="x" * 4000, turns=(Turn(role="user", text="Go"),))
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}


def connection_to(
    server: ModelServer, protocol: str, *, stream: bool = True, **fields: Any
) -> Connection:
    """A connection to a test's server, with short times."""
    given = {"timeout_seconds": 5.0, "tries": 3, "key_variable": VARIABLE, "model": "m-1"} | fields
    return Connection(
        provider="local",
        protocol=protocol,
        base_url=server.url(protocol),
        stream=stream,
        **given,
    )


def client_of(connection: Connection, limiter: Limiter | None = None) -> Client:
    """A client whose key may go to where its connection leads."""
    allowed = Allowed(keys={VARIABLE: [connection.address]})
    return Client(connection, limiter or Limiter(), allowed=allowed, backoff=BACKOFF)


def ask(
    connection: Connection,
    prompts: Sequence[Prompt] = (PROMPT,),
    *,
    at_once: bool = False,
    limiter: Limiter | None = None,
) -> list[Answer]:
    """Send prompts one after another, or all at once; their keys are their places."""

    async def work() -> list[Answer]:
        client = client_of(connection, limiter)
        try:
            numbered = enumerate(prompts)
            if at_once:
                calls = [client.send(prompt, key=str(n)) for n, prompt in numbered]
                return list(await asyncio.gather(*calls))
            return [await client.send(prompt, key=str(n)) for n, prompt in numbered]
        finally:
            await client.close()

    return asyncio.run(work())


def ask_once(connection: Connection, prompt: Prompt = PROMPT) -> Answer:
    """Send one prompt."""
    [answer] = ask(connection, [prompt])
    return answer
