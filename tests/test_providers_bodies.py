"""How much is read of what a model server sends, and that other calls go on meanwhile.

Each flood stands beside an honest answer of the same form.
"""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import repeat

import httpx2
import pytest

from assets.config.connection import Connection
from assets.errors import ProviderError
from assets.models.providers.http import (
    BODY_BYTES,
    ERROR_BYTES,
    STREAM_BYTES,
    OversizedError,
    http_options,
)
from assets.models.providers.reply import IncomingReply, Piece
from assets.models.providers.secrets import Secret
from assets.models.requests import Finish
from tests.asking import KEY, PROTOCOLS, VARIABLE, WAYS, ask_once, connection_to
from tests.model_server import Behaviour, ModelServer
from tests.test_providers_fuzz import dialect

MIB = 1 << 20
JSON, EVENTS = "application/json", "text/event-stream"
COMMENT = b": and so on " * 5461 + b"\n\n"
TEXT = "--- a/train.py\n+++ b/train.py\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer() as server:
        yield server


@cache
def packed(part: bytes, mib: int, wbits: int) -> bytes:
    """A part, again and again, as a compressed body of so many MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    whole = part * (MIB // len(part))
    return b"".join([*(packer.compress(whole) for _ in range(mib)), packer.flush()])


def head(status: int, kind: str, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close", *more, "", ""]
    return "\r\n".join(lines).encode()


def bomb(
    status: int, kind: str, *, part: bytes = b"a" * 64, coding: str = "gzip", mib: int = 256
) -> Behaviour:
    wbits = {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding]
    named = f"content-encoding: {coding.split()[-1]}"
    return Behaviour(raw=lambda: [head(status, kind, named), packed(part, mib, wbits)])


def endless(status: int, kind: str, part: bytes, *more: str) -> Behaviour:
    """Chunks without end, or until the client has enough."""
    chunk = f"{len(part):x}\r\n".encode() + part + b"\r\n"
    start = head(status, kind, "transfer-encoding: chunked", *more)

    def parts() -> Iterator[bytes]:
        yield start
        yield from repeat(chunk)

    return Behaviour(raw=parts)


def empty_blocks() -> Behaviour:
    """A gzip body of blocks that hold nothing: no byte ever comes out of it."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(b"{") + packer.flush(zlib.Z_SYNC_FLUSH)
    blocks = b"\x00\x00\x00\xff\xff" * 13107

    def parts() -> Iterator[bytes]:
        yield head(200, JSON, "content-encoding: gzip") + first
        yield from repeat(blocks)

    return Behaviour(raw=parts)


FLOODS: dict[str, tuple[Callable[[], Behaviour], int]] = {
    "error, gzip": (lambda: bomb(400, JSON), ERROR_BYTES),
    "error, deflate": (lambda: bomb(422, JSON, coding="deflate"), ERROR_BYTES),
    "error, raw deflate": (lambda: bomb(413, JSON, coding="raw deflate"), ERROR_BYTES),
    "error as events": (lambda: bomb(400, EVENTS, part=COMMENT), ERROR_BYTES),
    "error without end": (lambda: endless(400, JSON, b"x" * 65536), ERROR_BYTES),
    "answer, gzip": (lambda: bomb(200, JSON), BODY_BYTES),
    "answer, deflate": (lambda: bomb(200, "", coding="deflate"), BODY_BYTES),
    "answer without end": (lambda: endless(200, JSON, b" " * 65536), BODY_BYTES),
    "answer of nothing": (empty_blocks, BODY_BYTES),
    "one line": (lambda: bomb(200, EVENTS, part=b"data: a" * 9), BODY_BYTES),
    "one event": (lambda: bomb(200, EVENTS, part=b"data: aa\n"), BODY_BYTES),
    "comments": (lambda: bomb(200, EVENTS, part=COMMENT), STREAM_BYTES),
    "comments without end": (lambda: endless(200, EVENTS, COMMENT), STREAM_BYTES),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_a_failed_call_that_says_how_much_was_read(server, name):
    make, most = FLOODS[name]
    flood = make()
    server.behave = lambda request: flood
    answer = ask_once(connection_to(server, "openai_chat", timeout_seconds=60.0))
    assert (answer.finish, answer.response, answer.tries) == (Finish.ERROR, "", 1)
    assert f"a body of more than {most // MIB} MiB, whose rest was not read" in answer.reason


@pytest.mark.parametrize("name", ["error, gzip", "answer, gzip", "one line"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_bounded(server, protocol, name):
    make, _ = FLOODS[name]
    flood = make()
    server.behave = lambda request: flood
    answer = ask_once(connection_to(server, protocol))
    assert (answer.finish, answer.tries) == (Finish.ERROR, 1)
    assert "whose rest was not read" in answer.reason


def test_what_a_status_means_does_not_depend_on_its_body(server):
    busy, refused = bomb(429, JSON), bomb(401, JSON)
    server.behave = lambda request: Behaviour() if request.ordinal == 1 else busy
    answer = ask_once(connection_to(server, "openai"))
    assert (answer.finish, answer.tries) == (Finish.STOP, 2)
    server.behave = lambda request: refused
    with pytest.raises(ProviderError, match="refused the key: status 401: a body of more than"):
        ask_once(connection_to(server, "openai"))


MEMORY = """
import resource, sys
from tests.asking import ask_once
from tests.test_providers_bodies import connection_at
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
ask_once(connection_at(sys.argv[1]))
before = peak()
print(ask_once(connection_at(sys.argv[1])).finish, peak() - before)
"""


def connection_at(address: str) -> Connection:
    """As `connection_to`, from another process."""
    fields = {"protocol": "openai_chat", "timeout_seconds": 60.0, "tries": 1}
    return Connection(provider="local", model="m", base_url=address, **fields)


@pytest.mark.parametrize("name", ["error, gzip", "error without end", "answer, gzip", "comments"])
def test_a_flood_takes_little_more_memory_than_is_read_of_it(server, name):
    make, _ = FLOODS[name]
    flood = make()
    server.behave = lambda request: Behaviour() if request.ordinal == 0 else flood
    program = [sys.executable, "-c", MEMORY, server.url("openai_chat")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
    finish, mib = done.stdout.split()
    assert finish == "error"
    assert int(mib) <= 4 * BODY_BYTES // MIB


@pytest.mark.parametrize("status", [200, 400])
def test_others_get_a_turn_after_each_piece_of_a_flood(server, status):
    flood = bomb(status, EVENTS, part=COMMENT)
    server.behave = lambda request: flood
    read = known = most = 0

    async def other() -> None:
        nonlocal known, most
        while True:
            most, known = max(most, read - known), read
            await asyncio.sleep(0)

    async def flooded() -> None:
        nonlocal read
        task = asyncio.ensure_future(other())
        address = f"{server.url('openai_chat')}/chat/completions"
        body = {"model": "m", "messages": []}
        async with (
            httpx2.AsyncClient(**http_options(Secret(None, "none")), timeout=60) as client,
            client.stream("POST", address, json=body) as response,
        ):
            with suppress(OversizedError):
                async for part in response.aiter_bytes():
                    read += len(part)
        task.cancel()

    asyncio.run(flooded())
    assert read > (STREAM_BYTES if status == 200 else ERROR_BYTES) - MIB
    assert most <= MIB


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_an_honest_answer_may_be_compressed(server, protocol, stream, coding):
    server.behave = lambda request: Behaviour(text=TEXT, coding=coding)
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert (answer.finish, answer.response, answer.tries) == (Finish.STOP, TEXT, 1)
    assert answer.usage.output_tokens


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_honest_stream_may_be_many_times_larger_than_its_text(server, protocol):
    server.behave = lambda request: Behaviour(text="word " * 40_000, part_characters=1)
    answer = ask_once(connection_to(server, protocol, timeout_seconds=60.0))
    assert (answer.finish, len(answer.response)) == (Finish.STOP, 200_000)


def test_an_honest_error_may_quote_the_whole_prompt(server):
    words = "your prompt was " + "x" * (ERROR_BYTES - 1000)
    server.behave = lambda request: Behaviour(status=400, message=words)
    answer = ask_once(connection_to(server, "openai"))
    assert answer.reason.startswith("status 400: your prompt was xxx")


@pytest.mark.parametrize("charset", ["zlib", "punycode", "idna", "utf-16", "no such", "\xff"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_charset_is_not_looked_up(server, status, charset):
    body = json.dumps({"error": {"message": "é is wrong", "code": "x"}}).encode()
    kind = f"application/json; charset={charset}"
    length = f"content-length: {len(body)}"
    raw = [head(status, kind, length).decode().encode("latin-1"), body]
    server.behave = lambda request: Behaviour(raw=lambda: raw)
    answer = ask_once(connection_to(server, "openai_chat", tries=1))
    assert answer.finish is Finish.ERROR
    assert "é is wrong" in answer.reason


@pytest.mark.parametrize("codings", ["gzip, gzip", ", ".join(["gzip"] * 9000)])
def test_codings_of_codings_are_not_undone(server, codings):
    body = zlib.compress(zlib.compress(b"{}", wbits=31), wbits=31)
    raw = [head(200, JSON, f"content-encoding: {codings}"), body]
    server.behave = lambda request: Behaviour(raw=lambda: raw)
    answer = ask_once(connection_to(server, "openai_chat", tries=1))
    assert answer.finish is Finish.ERROR
    assert answer.reason.startswith("no UTF-8 in the application/json answer")


@pytest.mark.parametrize("body", [b"no gzip at all", packed(b" ", 1, 31)[:500]])
@pytest.mark.parametrize("status", [200, 400])
def test_a_body_that_cannot_be_decompressed_is_a_failed_call(server, status, body):
    raw = [head(status, JSON, "content-encoding: gzip"), body]
    server.behave = lambda request: Behaviour(raw=lambda: raw)
    answer = ask_once(connection_to(server, "openai_chat", tries=1))
    assert answer.finish is Finish.ERROR


@pytest.mark.parametrize("part", [b"[],", b"{},", b'"ab",', b"0.5,", b'{"a":1},'])
def test_an_answer_of_millions_of_values_is_not_made_into_objects(server, part):
    body = b'{"choices": [' + part * (BODY_BYTES // len(part) - 10) + b"0]}"
    raw = [head(200, JSON, f"content-length: {len(body)}"), body]
    server.behave = lambda request: Behaviour(raw=lambda: raw)
    answer = ask_once(connection_to(server, "openai_chat", tries=1))
    assert answer.finish is Finish.ERROR
    assert answer.reason == "more than 1000000 values in the application/json answer"


def test_an_honest_answer_may_bring_the_probabilities_of_its_tokens(server):
    entry = {"token": " word", "logprob": -0.25, "bytes": list(b" word")}
    tokens = [entry | {"top_logprobs": [entry] * 5}] * 10_000
    choice = {"message": {"content": TEXT}, "logprobs": {"content": tokens}}
    body = json.dumps({"choices": [choice | {"finish_reason": "stop"}]}).encode()
    assert BODY_BYTES // 2 < len(body) < BODY_BYTES
    raw = [head(200, JSON, f"content-length: {len(body)}"), body]
    server.behave = lambda request: Behaviour(raw=lambda: raw)
    answer = ask_once(connection_to(server, "openai_chat", stream=False, tries=1))
    assert (answer.finish, answer.response) == (Finish.STOP, TEXT)


def test_headers_without_end_are_a_failed_call(server):
    def lines() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        yield from repeat(b"x-more: " + b"y" * 4000 + b"\r\n")

    server.behave = lambda request: Behaviour(raw=lines)
    answer = ask_once(connection_to(server, "openai_chat", tries=1))
    assert (answer.finish, answer.reason) == (
        Finish.ERROR,
        "the connection broke (RemoteProtocolError)",
    )


def test_thoughts_are_not_joined_again_at_each_of_their_parts(monkeypatch):
    joined: list[int] = []
    text = Piece.text
    monkeypatch.setattr(Piece, "text", lambda piece: joined.append(1) or text(piece))
    incoming, spoken = IncomingReply(), dialect("openai")
    for _ in range(3):
        spoken.hear(incoming, {"type": "response.reasoning_summary_part.added"})
        spoken.hear(incoming, {"type": "response.reasoning_summary_text.delta", "delta": "hm"})
    assert joined == []
    assert incoming.thinking.text() == "hm\n\nhm\n\nhm"
