"""How much is asked at once, how long is waited, when it ends: on the clock, against a server."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.errors import Interrupted, ProviderError
from assets.models.providers.client import Client
from assets.models.providers.exchange import event_data
from assets.models.providers.limits import Limiter
from assets.models.providers.retries import Backoff, Then, fault_of_status, wait_of
from assets.models.requests import Finish
from tests.asking import (
    KEY,
    PROMPT,
    PROTOCOLS,
    VARIABLE,
    ask,
    ask_once,
    client_of,
    connection_to,
)
from tests.model_server import Behaviour, Fault, ModelServer, Request


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer() as server:
        yield server


def test_no_more_calls_than_allowed_are_in_the_air(server):
    server.behave = lambda request: Behaviour(delay_seconds=0.02)
    answers = ask(
        connection_to(server, "openai_chat"),
        [PROMPT] * 40,
        at_once=True,
        limiter=Limiter(concurrency=5),
    )
    assert {answer.finish for answer in answers} == {Finish.STOP}
    assert server.most_at_once == 5
    assert server.paid == 40


def test_a_limiter_serves_one_event_loop_after_another(server):
    limiter = Limiter(concurrency=2)
    for _ in range(2):
        ask(connection_to(server, "openai_chat"), [PROMPT] * 6, at_once=True, limiter=limiter)
    assert server.paid == 12


def test_calls_begin_at_the_allowed_rate(server):
    limiter = Limiter(calls_per_minute=600)
    connection = connection_to(server, "openai_chat")
    ask_once(connection)
    began = time.monotonic()
    ask(connection, [PROMPT] * 21, at_once=True, limiter=limiter)
    seconds = time.monotonic() - began
    assert 1.0 <= seconds < 2.5, "20 intervals of 0.1 s, 10 of them as the first burst"


def test_who_waits_out_a_failure_leaves_its_slot_to_others(server):
    def behave(request: Request) -> Behaviour:
        fails = request.key == "0" and request.ordinal == 0
        return Behaviour(status=500, headers={"retry-after": "0.5"}) if fails else Behaviour()

    server.behave = behave
    connection = connection_to(server, "openai_chat")
    answers = ask(connection, [PROMPT] * 5, at_once=True, limiter=Limiter(concurrency=1))
    assert [answer.tries for answer in answers] == [2, 1, 1, 1, 1]
    assert [request.key for request in server.requests] == ["0", "1", "2", "3", "4", "0"]


def test_a_429_pauses_its_model_and_no_other(server):
    """With ten calls and one slot, only the first uses up a try."""
    times: list[tuple[str, float]] = []

    def behave(request: Request) -> Behaviour:
        times.append((request.model, time.monotonic()))
        if request.model == "busy" and request.ordinal == 0:
            return Behaviour(status=429, headers={"retry-after": "0.6"})
        return Behaviour()

    server.behave = behave
    limiter = Limiter(concurrency=1)

    async def work() -> list[int]:
        clients = [
            client_of(connection_to(server, "openai_chat", model=model), limiter)
            for model in ("busy", "free")
        ]
        calls = [client.send(PROMPT, key=str(n)) for client in clients for n in range(10)]
        answers = await asyncio.gather(*calls)
        await asyncio.gather(*(client.close() for client in clients))
        return [answer.tries for answer in answers]

    tries = asyncio.run(work())
    assert Counter(tries) == {1: 19, 2: 1}
    began = times[0][1]
    assert max(moment for model, moment in times if model == "free") - began < 0.6
    assert min(moment for model, moment in times[1:] if model == "busy") - began >= 0.6


def test_a_call_that_is_given_up_gives_its_slot_back(server):
    server.behave = lambda request: Behaviour(delay_seconds=30 if request.ordinal == 0 else 0)

    async def work() -> Finish:
        limiter = Limiter(concurrency=1)
        client = client_of(connection_to(server, "anthropic"), limiter)
        call = asyncio.create_task(client.send(PROMPT, key="0"))
        while not server.requests:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        answer = await client.send(PROMPT, key="1")
        await client.close()
        return answer.finish

    assert asyncio.run(work()) is Finish.STOP


async def halted(client: Client, calls: list[asyncio.Task], ready: Callable[[], bool]) -> list:
    """What became of calls after a halt, said over and over, once something is so."""
    while not ready():
        await asyncio.sleep(0.01)
    for _ in range(3):
        client.halt()
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        found = await asyncio.gather(*calls, return_exceptions=True)
    await client.close()
    return [getattr(one, "finish", type(one)) for one in found]


@pytest.mark.parametrize(
    "limiter", [{"concurrency": 1}, {"calls_per_minute": 60}], ids=["slot", "rate"]
)
def test_after_a_halt_the_calls_in_flight_end_and_those_that_wait_are_not_sent(server, limiter):
    server.behave = lambda request: Behaviour(delay_seconds=0.5)

    async def work() -> list:
        client = client_of(connection_to(server, "openai_chat"), Limiter(**limiter))
        calls = [asyncio.create_task(client.send(PROMPT, key=str(n))) for n in range(12)]
        return await halted(client, calls, lambda: bool(server.requests))

    assert asyncio.run(work()) == [Finish.STOP, *[Interrupted] * 11]
    assert len(server.requests) == server.paid == 1


def test_a_halt_ends_the_wait_for_a_model_that_has_had_its_share(server):
    server.behave = lambda request: Behaviour(status=429, headers={"retry-after": "300"})

    async def work() -> list:
        limiter = Limiter(concurrency=1)
        client = client_of(connection_to(server, "openai_chat"), limiter)
        calls = [asyncio.create_task(client.send(PROMPT, key=str(n))) for n in range(3)]
        await asyncio.sleep(0.5)
        return await halted(client, calls, lambda: bool(server.requests))

    assert asyncio.run(work()) == [Interrupted] * 3
    assert len(server.requests) == 1


def test_a_client_that_was_halted_sends_no_further_call(server):
    async def work() -> None:
        client = client_of(connection_to(server, "openai_chat"), Limiter())
        client.halt()
        await client.send(PROMPT, key="0")

    with pytest.raises(Interrupted, match="while a call waited to be sent"):
        asyncio.run(work())
    assert not server.requests


def test_a_halt_leaves_no_slot_taken(server):
    """Whoever shares the limiter goes on."""
    server.behave = lambda request: Behaviour(delay_seconds=0.2)

    async def work() -> list[Finish]:
        limiter = Limiter(concurrency=1)
        one, other = (client_of(connection_to(server, "openai_chat"), limiter) for _ in "ab")
        calls = [asyncio.create_task(one.send(PROMPT, key=str(n))) for n in range(4)]
        calls += [asyncio.create_task(other.send(PROMPT, key=str(n))) for n in range(4, 8)]
        found = await halted(one, calls, lambda: bool(server.requests))
        await other.close()
        return found

    assert asyncio.run(work()) == [Finish.STOP, *[Interrupted] * 3, *[Finish.STOP] * 4]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_eight_calls_without_an_answer_end_the_stage(server, protocol):
    server.behave = lambda request: Behaviour(status=500)
    connection = connection_to(server, protocol, tries=2)
    with pytest.raises(ProviderError, match=r"no answer for the last 8 calls.*nothing is lost"):
        ask(connection, [PROMPT] * 9)
    assert len(server.requests) == 16


def test_a_client_that_was_closed_begins_anew(server):
    async def work() -> Finish:
        client = client_of(connection_to(server, "openai_chat", tries=1), Limiter())
        server.behave = lambda request: Behaviour(status=500)
        for _ in range(8):
            await client.send(PROMPT, key="0")
        with pytest.raises(ProviderError):
            await client.send(PROMPT, key="0")
        await client.close()
        server.behave = lambda request: Behaviour()
        answer = await client.send(PROMPT, key="0")
        await client.close()
        return answer.finish

    assert asyncio.run(work()) is Finish.STOP


def test_one_answer_in_between_lets_it_go_on(server):
    server.behave = lambda request: Behaviour(status=500 if request.ordinal % 8 else 200)
    answers = ask(connection_to(server, "openai_chat", tries=1), [PROMPT] * 24)
    assert Counter(answer.finish for answer in answers) == {Finish.ERROR: 21, Finish.STOP: 3}


def test_a_repeated_call_has_the_same_key_and_is_paid_once_where_that_is_honoured(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer(lambda request: Behaviour(text=str(request.ordinal)), idempotent=True) as one:
        connection = connection_to(one, "anthropic")
        first, again = ask_once(connection), ask_once(connection)
        assert (first.response, again.response) == ("0", "0")
        assert (len(one.requests), one.paid) == (2, 1)


def test_a_thousand_calls_of_a_bad_day_all_come_to_an_end(server):
    """Every fault in turn, 40 at once: each call is answered or says why not."""
    faults = [None, *(fault for fault in Fault if fault not in (Fault.PINGS, Fault.REDIRECT))]

    def behave(request: Request) -> Behaviour:
        fault = faults[request.ordinal % len(faults)] if request.ordinal % 3 else None
        return Behaviour(text="word " * 40, fault=fault, silence_seconds=0.05)

    server.behave = behave
    connection = connection_to(server, "anthropic", tries=6)
    answers = ask(connection, [PROMPT] * 400, at_once=True, limiter=Limiter(concurrency=40))
    finishes = Counter(answer.finish for answer in answers)
    assert finishes[Finish.STOP] >= 390
    assert set(finishes) <= {Finish.STOP, Finish.ERROR}
    assert sum(answer.tries for answer in answers) == len(server.requests)
    assert server.most_at_once <= 40


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_what_a_provider_asks_to_wait_is_read(headers, seconds):
    assert wait_of(headers) == seconds


def test_a_date_to_wait_for_is_so_many_seconds_away():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert wait_of({"retry-after": date}) == pytest.approx(89.5, abs=1)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_these_statuses_are_tried_again(status):
    assert fault_of_status(status, {}, "", str).then is Then.AGAIN


@pytest.mark.parametrize("status", [400, 413, 418, 422])
def test_these_statuses_are_not_tried_again(status):
    assert fault_of_status(status, {}, "", str).then is Then.REJECTED


@pytest.mark.parametrize(
    "body", ["", "[" * 100_000, '{"error": 7}', '{"error": {"code": 9}}', "\0"]
)
def test_no_error_body_breaks_the_reader(body):
    assert fault_of_status(500, {}, body, str).then is Then.AGAIN
    assert len(fault_of_status(500, {}, body, str).reason) < 500


def test_waits_double_up_to_a_ceiling_and_never_fall_below_what_is_asked():
    backoff = Backoff(first_seconds=1, most_seconds=8)
    for tries, ceiling in ((1, 1), (2, 2), (4, 8), (1000, 8)):
        waits = [backoff.wait(tries, None) for _ in range(200)]
        assert 0 <= min(waits) < ceiling / 4
        assert ceiling * 3 / 4 < max(waits) <= ceiling
    assert all(30 <= backoff.wait(1, 30) <= 31 for _ in range(50))


LINES = st.lists(st.binary(max_size=20).map(lambda line: line.translate(None, b"\r\n")), max_size=4)


@given(st.lists(LINES.filter(bool), max_size=6), st.data(), st.sampled_from([b"\n", b"\r\n"]))
def test_events_are_the_same_however_their_bytes_are_cut(events, data, newline):
    lines = [b"".join(b"data: " + line + newline for line in lines) for lines in events]
    stream = b"".join(event + b": comment" + newline + newline for event in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]

    async def read() -> list[bytes]:
        async def chunks():
            for start, end in pairwise(bounds):
                yield stream[start:end]

        return [event async for event in event_data(chunks())]

    assert asyncio.run(read()) == [b"\n".join(lines) for lines in events]


def test_latency_is_that_of_the_call_and_not_of_its_queue(server):
    server.behave = lambda request: Behaviour(delay_seconds=0.1)
    connection = connection_to(server, "openai_chat")
    answers = ask(connection, [PROMPT] * 8, at_once=True, limiter=Limiter(concurrency=1))
    assert all(0.1 <= answer.latency_seconds < 0.6 for answer in answers)


def test_a_call_without_a_schema_takes_no_notice_of_the_word(server):
    server.behave = lambda request: Behaviour(status=400, message="bad schema")
    answer = ask_once(connection_to(server, "anthropic"), replace(PROMPT, schema=None))
    assert (answer.finish, answer.tries) == (Finish.ERROR, 1)
