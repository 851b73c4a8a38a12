"""One try of a call: sent with the provider's SDK, read here.

The SDKs do addresses, headers, typed requests and connections. The response's body is read here and
not by them, because bodies are what goes wrong: a stream that breaks off must not look complete,
and a server that speaks almost the same protocol must not crash the reader. It also costs less: no
object per event. How much is read at all stands in `http`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

import httpx2

from assets.models.providers.http import BODY_BYTES, OversizedError
from assets.models.providers.provider import Prompt
from assets.models.providers.reply import IncomingReply, Reply, TooLongError
from assets.models.providers.retries import Fault, Hide, fault_of_status, quoted_words
from assets.models.requests import Finish

SILENCES = 6
"""A try may take this many times the longest silence: pings alone do not keep it alive."""
CONNECT_SECONDS = 30.0
DRAIN_SECONDS = 0.5
"""For the rest of a stream after its end, so that its connection can be used again."""
QUOTED_BYTES = 16_384
"""Of a body that cannot be read; more than is shown, so that a key is found before the cut."""
MOST_MARKS = 1_000_000
"""Commas, colons and brackets of an answer: three bytes of JSON can take sixty of memory. Tokens
with their probabilities have one in ten bytes, a text fewer."""
DONE = b"[DONE]"
"""The end of a stream of chat completions, also where no chunk said why it stopped."""


class BrokenError(Exception):
    """A body that is no answer; its text may hold anything, and is not shown as it is."""

    def __init__(self, reason: str, *, quoted: str = "") -> None:
        super().__init__(reason)
        self.reason, self.quoted = reason, quoted

    def fault(self, hide: Hide) -> Fault:
        """What it means for the call."""
        quoted = quoted_words(hide(self.quoted))
        return Fault(reason=f"{self.reason}: {quoted}" if quoted else self.reason)


class ReportedError(Exception):
    """An error that a provider reports inside an answer, with the status that it stands for."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status, self.body = status, body

    def fault(self, hide: Hide) -> Fault:
        """What it means for the call."""
        fault = fault_of_status(self.status, {}, json.dumps(self.body), hide)
        words = fault.reason.replace(f"status {self.status}", "an error inside the answer", 1)
        return replace(fault, reason=words)


READING = (httpx2.RequestError, OversizedError, BrokenError, ReportedError)
"""What may go wrong while an answer comes in; behind the end of its text nothing of it matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """The exceptions of one SDK; the two SDKs share no base class."""

    status: type[Exception]
    timeout: type[Exception]
    connection: type[Exception]


class Response(Protocol):
    """What both SDKs give for a response whose body they leave alone."""

    @property
    def headers(self) -> httpx2.Headers:
        """The response's headers."""
        ...

    def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes in, decompressed."""
        ...


class Dialect(Protocol):
    """How one protocol asks, and what its answers look like."""

    @property
    def errors(self) -> Errors:
        """The exceptions of its SDK."""
        ...

    def open(self, prompt: Prompt, key: str) -> AbstractAsyncContextManager[Response]:
        """Send a prompt once."""
        ...

    def hear(self, incoming: IncomingReply, event: Mapping[str, object]) -> None:
        """Take in one event of a stream.

        Raises:
            ReportedError: the provider says that it failed.
            TooLongError: the answer is too long.
        """
        ...

    def read(self, incoming: IncomingReply, body: Mapping[str, object]) -> None:
        """Take in a whole body; raises what `hear` does."""
        ...

    async def close(self) -> None:
        """End its connections."""
        ...


def timeout_of(seconds: float) -> httpx2.Timeout:
    """A timeout of both SDKs: the longest silence between two bytes."""
    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


async def exchange(
    dialect: Dialect, prompt: Prompt, key: str, *, seconds: float, hide: Hide
) -> Reply | Fault:
    """Ask once.

    Args:
        dialect: the protocol's.
        prompt: what is asked.
        key: the call's idempotency key, for the header.
        seconds: longest silence between two bytes.
        hide: takes the provider's key out of a text.
    """
    errors = dialect.errors
    try:
        async with asyncio.timeout(SILENCES * seconds):
            return await _reply(dialect, prompt, key)
    except (BrokenError, OversizedError, ReportedError) as error:
        return error.fault(hide)
    except errors.status as error:
        return _status_fault(getattr(error, "response", None), hide)
    except (errors.timeout, httpx2.TimeoutException):
        return Fault(reason=f"no byte for {seconds:g} s")
    except TimeoutError:
        return Fault(reason=f"no end of the answer within {SILENCES * seconds:g} s")
    except (errors.connection, httpx2.RequestError) as error:
        return Fault(reason=f"the connection broke ({type(error.__cause__ or error).__name__})")


async def _reply(dialect: Dialect, prompt: Prompt, key: str) -> Reply:
    incoming = IncomingReply()
    async with dialect.open(prompt, key) as response:
        try:
            await _fill(dialect, incoming, response)
        except TooLongError:
            return incoming.cut()
        except (*READING, dialect.errors.connection):
            if incoming.finish is None:
                raise
    return incoming.reply()


async def _fill(dialect: Dialect, incoming: IncomingReply, response: Response) -> None:
    kind = str(response.headers.get("content-type", ""))
    if "event-stream" in kind:
        await _follow(dialect, incoming, response)
    else:
        body = bytearray()  # not a list of parts: they may be of one byte each
        async for chunk in response.iter_bytes():
            body += chunk
        dialect.read(incoming, _parsed(bytes(body), kind))
    if incoming.finish is None:
        raise BrokenError("the answer broke off: its end is missing")


async def _follow(dialect: Dialect, incoming: IncomingReply, response: Response) -> None:
    chunks = aiter(response.iter_bytes())
    async for data in event_data(chunks):
        if data == DONE:
            incoming.finish = incoming.finish or Finish.STOP
            break
        dialect.hear(incoming, _parsed(data, "event"))
        if incoming.over:
            break
    with suppress(TimeoutError, httpx2.RequestError, OversizedError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in chunks:
                pass


async def event_data(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of server-sent events; all other fields add nothing to the data.

    Raises:
        OversizedError: an event is larger than a body may be.
    """
    data: list[bytes] = []
    size = 0
    async for line in _lines(chunks):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
            size += len(line)
            if size > BODY_BYTES:
                raise OversizedError(BODY_BYTES)
        elif not line and data:
            yield b"\n".join(data)
            data, size = [], 0
    if data:
        yield b"\n".join(data)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in chunks:
        searched = len(rest)
        rest += chunk
        start = 0
        while (end := rest.find(b"\n", max(start, searched))) >= 0:
            yield bytes(rest[start:end]).removesuffix(b"\r")
            start = end + 1
        del rest[:start]
        if len(rest) > BODY_BYTES:
            raise OversizedError(BODY_BYTES)
    if rest:
        yield bytes(rest)


def _parsed(data: bytes, kind: str) -> Mapping[str, object]:
    if sum(data.count(mark) for mark in b",:[{") > MOST_MARKS:
        raise BrokenError(f"more than {MOST_MARKS} values in the {kind} answer")
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        start = data[:QUOTED_BYTES].decode("utf-8", "replace")
        problem = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
        raise BrokenError(f"no {problem} in the {kind} answer", quoted=start) from None
    if not isinstance(found, dict):
        raise BrokenError(f"an answer of type {type(found).__name__}, not an object")
    return found


def _status_fault(response: httpx2.Response | None, hide: Hide) -> Fault:
    if response is None:
        return Fault(reason="the provider reports an error without a response")
    return fault_of_status(response.status_code, response.headers, response.text, hide)
