"""What our providers cost over the bare SDKs, and how well they keep calls in the air.

    python -m tests.bench_models [--calls 200]

CPU is that of this process alone (user and system); the server is a process of its own, on the same
cores. The bare side joins the texts of the SDK's own events, and nothing more. Both sides send the
same prompt of 20 kB to the same server over one kept connection, in turns of 20 calls, so that a
slow hour of the machine hits both. An answer has 2,000 characters, 40 in an event. The makespan is
the wall time of 800 streamed calls of 0.5 s each, 40 at once; the bare SDK's, right before it, says
how much of that is the machine's: the server's CPU takes its share of the cores.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import NamedTuple

import anthropic
import openai
from rich.console import Console
from rich.table import Table

from assets.config.connection import Connection
from assets.models.providers.client import Client
from assets.models.providers.limits import Limiter
from assets.models.providers.provider import Prompt, Turn
from assets.models.requests import Finish
from tests.asking import PROTOCOLS

Call = Callable[[], Awaitable[object]]
PROMPT = Prompt(
    system="You improve the training of a small language model.",
    prefix=("def step(x):\n    return x @ w + b  # a line of code\n" * 400)[:20_000],
    turns=(Turn(role="user", text="Propose one change and write it as a diff."),),
)
MODEL = "a-model"
TURN = 20


class Bare(NamedTuple):
    """A client of the SDK alone."""

    call: Call
    close: Call


@contextmanager
def serving(delay_seconds: float) -> Iterator[int]:
    """The port of a model server in a process of its own."""
    command = [sys.executable, "-m", "tests.model_server", "--delay", str(delay_seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def address(port: int, protocol: str) -> str:
    return f"http://127.0.0.1:{port}" + ("" if protocol == "anthropic" else "/v1")


def connection(port: int, protocol: str, *, stream: bool) -> Connection:
    return Connection(
        provider="bench",
        protocol=protocol,
        model=MODEL,
        base_url=address(port, protocol),
        stream=stream,
        options={"max_tokens": 4096},
    )


def bare_anthropic(port: int, *, stream: bool) -> Bare:
    client = anthropic.AsyncAnthropic(api_key="none", base_url=address(port, "anthropic"))
    asked = {
        "model": MODEL,
        "max_tokens": 4096,
        "system": PROMPT.system,
        "messages": [{"role": "user", "content": PROMPT.prefix + PROMPT.turns[0].text}],
    }

    async def streamed() -> object:
        parts = []
        async for event in await client.messages.create(**asked, stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                parts.append(event.delta.text)
        return "".join(parts)

    return Bare(streamed if stream else partial(client.messages.create, **asked), client.close)


def bare_openai(port: int, *, stream: bool) -> Bare:
    client = openai.AsyncOpenAI(api_key="none", base_url=address(port, "openai"))
    asked = {
        "model": MODEL,
        "max_output_tokens": 4096,
        "instructions": PROMPT.system,
        "input": PROMPT.prefix + PROMPT.turns[0].text,
    }

    async def streamed() -> object:
        parts = []
        async for event in await client.responses.create(**asked, stream=True):
            if event.type == "response.output_text.delta":
                parts.append(event.delta)
        return "".join(parts)

    return Bare(streamed if stream else partial(client.responses.create, **asked), client.close)


def bare_chat(port: int, *, stream: bool) -> Bare:
    client = openai.AsyncOpenAI(api_key="none", base_url=address(port, "openai"))
    asked = {
        "model": MODEL,
        "max_tokens": 4096,
        "messages": [
            {"role": "system", "content": PROMPT.system},
            {"role": "user", "content": PROMPT.prefix + PROMPT.turns[0].text},
        ],
    }

    async def streamed() -> object:
        parts = []
        async for event in await client.chat.completions.create(**asked, stream=True):
            parts += [choice.delta.content or "" for choice in event.choices]
        return "".join(parts)

    return Bare(
        streamed if stream else partial(client.chat.completions.create, **asked), client.close
    )


BARE = {"anthropic": bare_anthropic, "openai": bare_openai, "openai_chat": bare_chat}


@dataclass
class Cost:
    """CPU milliseconds a call, one figure for each turn of calls."""

    turns: list[float] = field(default_factory=list)

    async def measure(self, call: Call) -> None:
        began = time.process_time()
        for _ in range(TURN):
            await call()
        self.turns.append((time.process_time() - began) * 1000 / TURN)

    def __str__(self) -> str:
        return f"{median(self.turns):.2f} ({min(self.turns):.2f}-{max(self.turns):.2f})"


async def compare(port: int, protocol: str, *, stream: bool, calls: int) -> tuple[Cost, Cost]:
    """What a call costs the bare SDK, and what it costs us."""
    client = Client(connection(port, protocol, stream=stream), Limiter())
    bare, cost_bare, cost_ours = BARE[protocol](port, stream=stream), Cost(), Cost()

    async def ours() -> None:
        answer = await client.send(PROMPT, key="a-key")
        assert answer.finish is Finish.STOP, answer

    await bare.call()
    await ours()
    for _ in range(calls // TURN):
        await cost_bare.measure(bare.call)
        await cost_ours.measure(ours)
    await client.close()
    await bare.close()
    return cost_bare, cost_ours


@dataclass(frozen=True)
class Span:
    """Wall and CPU seconds of many calls."""

    wall: float
    cpu: float


async def span_of(work: Awaitable[object]) -> Span:
    began, cpu = time.monotonic(), time.process_time()
    await work
    return Span(time.monotonic() - began, time.process_time() - cpu)


async def makespans(port: int, *, calls: int, at_once: int) -> tuple[Span, Span]:
    """Of the bare SDK and of us."""
    bare, slots = bare_anthropic(port, stream=True), asyncio.Semaphore(at_once)
    client = Client(connection(port, "anthropic", stream=True), Limiter(concurrency=at_once))

    async def one_bare() -> None:
        async with slots:
            await bare.call()

    async def all_ours() -> None:
        keys = [str(n) for n in range(calls)]
        answers = await asyncio.gather(*(client.send(PROMPT, key=key) for key in keys))
        assert all(answer.finish is Finish.STOP for answer in answers)

    await bare.call()
    await client.send(PROMPT, key="warm")
    span_bare = await span_of(asyncio.gather(*(one_bare() for _ in range(calls))))
    span_ours = await span_of(all_ours())
    await bare.close()
    await client.close()
    return span_bare, span_ours


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--calls", type=int, default=200, help="of each kind and side")
    given = parser.parse_args()
    table = Table(title=f"CPU ms a call: median (least-most) of turns of {TURN}, n={given.calls}")
    for column in ("protocol", "stream", "bare SDK", "ours", "ours over bare"):
        table.add_column(column)
    with serving(0.0) as port:
        for protocol in PROTOCOLS:
            for stream in (True, False):
                run = compare(port, protocol, stream=stream, calls=given.calls)
                bare, ours = asyncio.run(run)
                over = median(ours.turns) - median(bare.turns)
                table.add_row(protocol, str(stream), str(bare), str(ours), f"{over:+.2f}")
    calls, at_once, delay = 800, 40, 0.5
    ideal = calls / at_once * delay
    with serving(delay) as port:
        spans = asyncio.run(makespans(port, calls=calls, at_once=at_once))
    console = Console(width=100)
    console.print(table)
    console.print(f"{calls} calls of {delay} s, {at_once} at once; ideal {ideal:.2f} s")
    for side, span in zip(("bare SDK", "ours"), spans, strict=True):
        ratio = span.wall / ideal
        console.print(f"  {side}: {span.wall:.2f} s, ratio {ratio:.3f}, CPU {span.cpu:.2f} s")
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
