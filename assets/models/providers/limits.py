"""How many calls a provider gets: at once, per minute, and after how many failures none.

One `Limiter` is shared by all roles that use a provider. It may be used by one event loop after
another, not by two at the same time.

A call holds a slot only while a request of it is in flight. It gives the slot back while it waits
between two tries, so that a call in trouble costs the others nothing. If the provider says that a
model has had its share (429, 503 or 529 with a retry-after), new requests for that model wait too:
sent earlier, each of them would only use up one of its tries. Requests for other models of the
provider go on, as providers count per model.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from assets.errors import ProviderError

BURST_SECONDS = 1.0
"""This much of the allowance may be used at once; providers refill in steps of about that."""


class Limiter:
    """The limits of one provider."""

    def __init__(self, *, concurrency: int = 40, calls_per_minute: float | None = None) -> None:
        """Nothing waits yet.

        Args:
            concurrency: most requests in flight.
            calls_per_minute: most requests begun in a minute; None is no limit.
        """
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seconds_per_call = 60 / calls_per_minute if calls_per_minute else 0.0
        self._next_call = 0.0
        self._paused_until: dict[str, float] = {}

    @asynccontextmanager
    async def slot(self, model: str) -> AsyncIterator[None]:
        """Hold a slot for one request to a model, as soon as that is allowed."""
        while True:
            await self._pause_over(model)
            async with self._slots_here():
                if self._pause_left(model) > 0:
                    continue
                await self._turn()
                yield
                return

    def pause(self, model: str, seconds: float) -> None:
        """Hold back new requests for a model for some seconds; a longer pause stays in force."""
        until = asyncio.get_running_loop().time() + seconds
        self._paused_until[model] = max(until, self._paused_until.get(model, 0.0))

    def _slots_here(self) -> asyncio.Semaphore:
        """The slots of the running loop: a semaphore is bound to the first loop that waits."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._slots = loop, asyncio.Semaphore(self._concurrency)
        return self._slots

    def _pause_left(self, model: str) -> float:
        return self._paused_until.get(model, 0.0) - asyncio.get_running_loop().time()

    async def _pause_over(self, model: str) -> None:
        while (left := self._pause_left(model)) > 0:
            await asyncio.sleep(left)

    async def _turn(self) -> None:
        """Wait for a token of the bucket, which refills evenly."""
        now = asyncio.get_running_loop().time()
        burst = max(0.0, BURST_SECONDS - self._seconds_per_call)
        turn = max(self._next_call, now - burst)
        self._next_call = turn + self._seconds_per_call
        if turn > now:
            await asyncio.sleep(turn - now)


class Breaker:
    """Ends a stage whose provider gives no answers, before it writes off a whole epoch."""

    def __init__(self, where: str, *, limit: int) -> None:
        self._where = where
        self._limit = limit
        self._failures = 0
        self._last = ""

    def succeeded(self) -> None:
        """An answer came, whatever it says."""
        self._failures = 0

    def failed(self, reason: str) -> None:
        """A call ended without one."""
        self._failures += 1
        self._last = reason

    def check(self) -> None:
        """Check that it makes sense to go on.

        Raises:
            ProviderError: too many calls in a row ended without an answer.
        """
        if self._failures >= self._limit:
            raise ProviderError(
                f"{self._where}: no answer for the last {self._failures} calls, expected at "
                f"least one. The last one: {self._last}. Check the provider, then run the same "
                "command again; nothing is lost"
            )
