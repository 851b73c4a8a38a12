"""A model server for tests: real HTTP on loopback, three protocols, and every way to misbehave.

`ModelServer` runs in a thread of the test's process, so that a test may give any function and read
what was recorded; `python -m tests.model_server --delay 0.5` runs one alone, for measurements. The
bytes are made by hand on asyncio streams: no framework writes half a header or breaks off a chunk.

    with ModelServer(lambda request: Behaviour(text="hello")) as server:
        ...  # base_url=server.url("anthropic")
    assert server.paid == 1
"""

import argparse
import asyncio
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.model_protocols import (
    READERS,
    STREAMS,
    WHOLES,
    Behaviour,
    Fault,
    Request,
    block_prefixes,
    error_body,
    marked_prefixes,
)

__all__ = ["HUGE", "Behaviour", "Fault", "ModelServer", "Request"]

PATHS = {
    "/v1/messages": "anthropic",
    "/v1/responses": "openai",
    "/v1/chat/completions": "openai_chat",
}
TOKEN = 4
"""Characters."""
HUGE = 2 << 20
CRLF = b"\r\n"


Behave = Callable[[Request], Behaviour]


class ModelServer:
    """A server in a thread of its own."""

    def __init__(self, behave: Behave | None = None, *, idempotent: bool = False) -> None:
        """Does nothing yet.

        Args:
            behave: called for each request, in the server's thread; None answers all alike.
            idempotent: whether a key that was answered in full gets the same answer again.
        """
        self.behave: Behave = behave or (lambda request: Behaviour())
        self.idempotent = idempotent
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        """Of `behave` or of the server itself: raised in the test when the server is closed."""
        self.at_once = 0
        self.most_at_once = 0
        self.connections = 0
        self.port = 0
        self._answers: dict[str, Behaviour] = {}
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if self.errors:
            raise self.errors[0]

    def url(self, protocol: str) -> str:
        """The base_url of a connection."""
        return f"http://127.0.0.1:{self.port}" + ("" if protocol == "anthropic" else "/v1")

    @property
    def paid(self) -> int:
        """Answers that were sent in full and not given again by their key."""
        return sum(request.answered and not request.repeated for request in self.requests)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self.start())
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def start(self, port: int = 0) -> asyncio.Server:
        """Listen on loopback; a port of 0 is any that is free."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._handle(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001  a test's function may raise anything
            self.errors.append(error)
        finally:
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may be used again."""
        head = (await reader.readuntil(CRLF + CRLF)).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value
            for line in head[1:]
            if ": " in line
            for name, value in [line.split(": ", 1)]
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        path = head[0].split(" ")[1]
        if path not in PATHS:
            await _send(writer, 404, b'{"error": {"message": "no such path"}}')
            return True
        request = self._read(PATHS[path], headers, json.loads(raw))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request, writer)
        finally:
            self.at_once -= 1

    def _read(self, protocol: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Request:
        system, messages, schema = READERS[protocol](body)
        with self._lock:
            request = Request(
                ordinal=len(self.requests),
                protocol=protocol,
                model=body["model"],
                system=system,
                messages=messages,
                schema=schema,
                stream=bool(body.get("stream")),
                headers=headers,
                body=body,
            )
            self.requests.append(request)
        return request

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        known = self._answers.get(request.key) if self.idempotent and request.key else None
        request.repeated = known is not None
        behaviour = known or self.behave(request)
        if behaviour.fault is Fault.NO_SCHEMA and request.schema is not None:
            message = "output_config.format / response_format: json_schema is not supported"
            behaviour = replace(behaviour, status=400, message=message)
        await asyncio.sleep(behaviour.delay_seconds)
        if behaviour.raw is not None:
            for part in behaviour.raw():
                writer.write(part)
                await writer.drain()
            return False
        if behaviour.status != 200:
            body = json.dumps(error_body(request.protocol, behaviour)).encode()
            await _send(writer, behaviour.status, body, headers=behaviour.headers)
            return True
        if behaviour.fault is Fault.REDIRECT:
            await _send(writer, 307, b"", headers={"location": "http://127.0.0.1:9/v1/messages"})
            return True
        if behaviour.fault is Fault.CUT_BEFORE:
            return False
        if behaviour.fault is Fault.SILENCE:
            await asyncio.sleep(behaviour.silence_seconds)
        going_on = await self._write(request, behaviour, writer)
        if request.answered and self.idempotent and request.key:
            self._answers[request.key] = replace(behaviour, fault=None, delay_seconds=0)
        return going_on

    async def _write(
        self, request: Request, behaviour: Behaviour, writer: asyncio.StreamWriter
    ) -> bool:
        usage = self._usage(request, behaviour)
        whole = WHOLES[request.protocol](request, behaviour, usage)
        events = list(STREAMS[request.protocol](request, behaviour, usage, whole))
        if not request.stream:
            parts, kind = _quartered(json.dumps(whole).encode()), "application/json"
        else:
            parts, kind = [_event(*event) for event in events], "text/event-stream"
        if behaviour.fault is Fault.WRONG_TYPE:
            parts, kind = [b"<html>please log in</html>"], "text/html"
        parts = list(_spoilt(parts, behaviour.fault, request, behaviour))
        if behaviour.coding:
            parts = list(_compressed(parts, behaviour.coding))
        body = Body(writer, kind, parts, chunked=request.stream, coding=behaviour.coding)
        return await self._write_parts(body, request, behaviour)

    async def _write_parts(self, body: "Body", request: Request, behaviour: Behaviour) -> bool:
        fault, middle = behaviour.fault, len(body.parts) // 2
        await body.head()
        if fault is Fault.CUT_HEADERS:
            return False
        if fault is Fault.PINGS:
            while True:
                await body.part(b": ping\n\n")
                await asyncio.sleep(0.02)
        for place, part in enumerate(body.parts):
            if place == middle and fault is Fault.SILENCE_MIDDLE:
                await asyncio.sleep(behaviour.silence_seconds)
            if place == middle and fault is Fault.CUT_MIDDLE:
                return False
            if place == len(body.parts) - 1 and fault is Fault.CUT_LATE:
                return False
            # Before its end can be seen: who sees it may count at once.
            request.answered = place == len(body.parts) - 1 and fault not in BROKEN
            await body.part(part)
        if fault is Fault.OPEN_END:
            await asyncio.sleep(behaviour.silence_seconds)
        await body.end()
        return True

    def _usage(self, request: Request, behaviour: Behaviour) -> Mapping[str, int]:
        """Tokens, where what an earlier prompt began with is read from the cache."""
        read = written = 0
        prefixes = (
            marked_prefixes(request) if request.protocol == "anthropic" else block_prefixes(request)
        )
        total = len(request.system) + sum(len(text) for _, text in request.messages)
        with self._lock:
            for size, name in prefixes:
                read = size if name in self._seen else read
                written = size
                self._seen.add(name)
        count = behaviour.output_tokens
        if count is None:
            count = max(1, (len(behaviour.text) + len(behaviour.thinking)) // TOKEN)
        return {
            "input": total // TOKEN,
            "read": read // TOKEN,
            "written": max(0, written - read) // TOKEN,
            "output": count,
        }


BROKEN = {
    Fault.CUT_QUIETLY,
    Fault.BAD_JSON,
    Fault.BAD_UTF8,
    Fault.WRONG_TYPE,
    Fault.ERROR_INSIDE,
}


@dataclass
class Body:
    """A response whose parts can be sent one by one."""

    writer: asyncio.StreamWriter
    kind: str
    parts: list[bytes]
    chunked: bool
    coding: str = ""

    async def head(self) -> None:
        """Status and headers."""
        length = f"content-length: {sum(map(len, self.parts))}"
        lines = [
            "HTTP/1.1 200 OK",
            f"content-type: {self.kind}",
            "transfer-encoding: chunked" if self.chunked else length,
            *([f"content-encoding: {self.coding}"] if self.coding else []),
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        await self.writer.drain()

    async def part(self, data: bytes) -> None:
        """Some bytes of the body."""
        frame = f"{len(data):x}\r\n".encode() + data + CRLF if self.chunked else data
        self.writer.write(frame)
        await self.writer.drain()

    async def end(self) -> None:
        """What ends a body in chunks."""
        if self.chunked:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


def _compressed(parts: list[bytes], coding: str) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    for part in parts[:-1]:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.compress(parts[-1]) + packer.flush()


def _quartered(data: bytes) -> list[bytes]:
    step = max(1, len(data) // 4)
    return [data[start : start + step] for start in range(0, len(data), step)]


def _spoilt(
    parts: list[bytes], fault: Fault | None, request: Request, behaviour: Behaviour
) -> Iterator[bytes]:
    """The parts of a body with a fault that lies in its bytes."""
    middle = len(parts) // 2
    match fault:
        case Fault.CUT_QUIETLY:
            yield from parts[:middle]
        case Fault.BAD_JSON:
            yield from parts[:middle]
            yield b'data: {"type": "mess\n\n' if request.stream else b'{"'
        case Fault.BAD_UTF8:
            yield from parts[:middle]
            yield b'data: {"type": "\xff\xfe"}\n\n' if request.stream else b"\xff\xfe"
            yield from parts[middle:]
        case Fault.ERROR_INSIDE:
            yield from parts[:middle]
            yield _event("error", error_body(request.protocol, behaviour) | {"type": "error"})
        case _:
            yield from parts


def _event(name: str, data: Mapping[str, Any] | str) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    first = f"event: {name}\n" if name else ""
    return f"{first}data: {text}\n\n".encode()


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
) -> None:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"content-length: {len(body)}", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    await writer.drain()


async def _run_alone(delay_seconds: float, text: str) -> None:
    server = ModelServer(lambda request: Behaviour(text=text, delay_seconds=delay_seconds))
    listening = await server.start()
    print(server.port, flush=True)
    await listening.serve_forever()


def main() -> None:
    """Serve one behaviour until the process is ended; the first line printed is the port."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--characters", type=int, default=2000, help="of each answer")
    given = parser.parse_args()
    asyncio.run(_run_alone(given.delay, ("word " * given.characters)[: given.characters]))


if __name__ == "__main__":
    main()
