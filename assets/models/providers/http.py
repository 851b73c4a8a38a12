"""What leaves with a request, and how much is read of what comes back: one rule for both SDKs.

The rule is a pair of hooks of their HTTP client, which run whatever carries the request: a
transport of our own would lose the proxies that the user's environment names. Redirects are not
followed, so that a key goes to the connection's address and nowhere else. Headers are bounded by
the HTTP library itself (h11: 100 KiB).

Bodies are counted twice, as they come in and after decompression, which is done piece by piece, and
other calls get their turn after each piece: a small body may hold gigabytes.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from assets.models.providers.retries import Fault, Hide, Then, fault_of_status
from assets.models.providers.secrets import Secret

STREAM_BYTES = 64 << 20
"""Most of a stream of events, which are many times larger than their text. Not held at once."""
BODY_BYTES = 8 << 20
"""Most of any other answer, and of one event: 1 MiB of text, escaped, and its thinking."""
ERROR_BYTES = 1 << 20
"""Most of an error, which may quote the whole prompt."""
SENT = {
    "accept",
    "accept-encoding",
    "anthropic-version",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "user-agent",
}
"""Headers of a request. The SDKs add what variables of theirs hold (`OPENAI_CUSTOM_HEADERS`), for
any address; cookies would be a server's own."""
OF_THE_SDKS = "x-stainless-"
"""Version, platform and timeouts."""


class OversizedError(Exception):
    """More came than is read of a body of its kind."""

    def __init__(self, most: int, response: httpx2.Response | None = None) -> None:
        super().__init__(most)
        self._words = f"a body of more than {most >> 20} MiB, whose rest was not read"
        self._response = response

    def fault(self, hide: Hide) -> Fault:
        """What it means for the call: no second try, as the server would send as much again."""
        response = self._response
        if response is None or response.is_success:
            return Fault(reason=f"the server sent {self._words}", then=Then.REJECTED)
        return fault_of_status(response.status_code, response.headers, self._words, hide)


@dataclass(frozen=True, slots=True)
class _Counted(httpx2.AsyncByteStream):
    """The parts of a body, up to a number of bytes."""

    parts: AsyncIterable[bytes]
    most: int
    response: httpx2.Response
    source: httpx2.AsyncByteStream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.most
        async for part in self.parts:
            left -= len(part)
            if left < 0:
                await self.aclose()
                raise OversizedError(self.most, self.response)
            yield part

    async def aclose(self) -> None:
        await self.source.aclose()


def http_options(secret: Secret) -> Mapping[str, Any]:
    """How the HTTP client of an SDK is made.

    Args:
        secret: the key that goes with each request, and no other.
    """

    async def send_no_more(request: httpx2.Request) -> None:
        for name in set(request.headers):
            if name not in SENT and not name.startswith(OF_THE_SDKS):
                del request.headers[name]
        request.headers["authorization"] = f"Bearer {secret.value}"

    hooks = {"request": [send_no_more], "response": [_read_no_more]}
    return {"follow_redirects": False, "event_hooks": hooks}


async def _read_no_more(response: httpx2.Response) -> None:
    """Let the body be read up to its bound, decompressed and as plain UTF-8.

    More than one coding is not undone, and a charset is not looked up: both take what time and
    memory the server likes.
    """
    source, most, headers = response.stream, _most(response), response.headers
    assert isinstance(source, httpx2.AsyncByteStream)
    coding = headers.pop("content-encoding", "")
    headers["content-type"] = headers.get("content-type", "").partition(";")[0]
    body = httpx2.Response(
        response.status_code,
        headers={"content-encoding": "" if "," in coding else coding},
        stream=_Counted(source, most, response, source),
    )
    response.stream = _Counted(_in_turns(body.aiter_bytes()), most, response, source)


def _most(response: httpx2.Response) -> int:
    if not response.is_success:
        return ERROR_BYTES
    streamed = "event-stream" in response.headers.get("content-type", "")
    return STREAM_BYTES if streamed else BODY_BYTES


async def _in_turns(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for part in parts:
        yield part
        await asyncio.sleep(0)
