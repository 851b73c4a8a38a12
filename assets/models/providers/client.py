"""The provider of a connection: tries until there is an answer, or none can be expected.

A try that breaks off in the middle of an answer is sent again, with the same idempotency key.
Providers that do not honour that header bill both. What the broken one cost is not reported, so
`Answer.cost_usd` is that of the last try alone, and `Answer.tries` says how many there were.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from assets.config.allowed import Allowed
from assets.config.connection import Connection
from assets.config.keys import check_key
from assets.config.prices import own_price, price_of
from assets.errors import Interrupted, ProviderError
from assets.models.providers.costs import cost
from assets.models.providers.limits import Breaker, Limiter
from assets.models.providers.provider import Prompt
from assets.models.providers.reply import Reply
from assets.models.providers.retries import Backoff, Fault, Hide, Then, quoted_words
from assets.models.providers.secrets import Secret, read_key
from assets.models.requests import Answer, Finish

if TYPE_CHECKING:
    from assets.models.providers.exchange import Dialect

FAILED_CALLS = 8
"""In a row without an answer: an outage, or settings with which no call can succeed."""
KEPT = "; nothing is lost"
HALTED = "stopped at your request while a call waited to be sent; search again to go on"


@dataclass(slots=True)
class CallProgress:
    """How far a call has come."""

    tries: int = 0
    began: float | None = None
    """Monotonic; None while it waits for its first turn."""


class Client:
    """A client of one model at one provider."""

    def __init__(
        self,
        connection: Connection,
        limiter: Limiter,
        *,
        allowed: Allowed | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Nothing is sent, read or imported yet.

        Args:
            connection: how the model is reached.
            limiter: the provider's.
            allowed: where keys may go; None is a vendor's to the vendor.
            backoff: waits between tries.
        """
        self._connection = connection
        self._allowed = allowed or Allowed()
        self._limiter = limiter
        self._backoff = backoff or Backoff()
        where = f"{connection.name} at {connection.address}"
        self._breaker = Breaker(where, limit=FAILED_CALLS)
        self._takes_schemas = True
        self._halted = False
        self._waits: set[asyncio.Timeout] = set()
        """Of calls that are between two tries, or wait for a slot."""
        self._secret: Secret | None = None
        self._dialect: Dialect | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"Client({self._connection.name})"

    async def send(self, prompt: Prompt, *, key: str) -> Answer:
        """Ask, and ask again while that may help; see `Provider.send`."""
        self._breaker.check()
        progress = CallProgress()
        outcome = await self._outcome(prompt, key, progress)
        answer = self._answer(outcome, progress)
        if answer.finish is Finish.ERROR:
            self._breaker.failed(answer.reason or "")
        else:
            self._breaker.succeeded()
        return answer

    def halt(self) -> None:
        """Begin no new try; called in the event loop."""
        self._halted = True
        while self._waits:
            self._waits.pop().reschedule(0)

    async def close(self) -> None:
        """Close its connections and forget its failures; a later call opens new connections."""
        self._breaker.succeeded()
        dialect, self._dialect = self._dialect, None
        if dialect is not None:
            await dialect.close()

    async def _outcome(self, prompt: Prompt, key: str, progress: CallProgress) -> Reply | Fault:
        left = self._connection.tries
        while True:
            asked = prompt if self._takes_schemas else replace(prompt, schema=None)
            outcome = await self._try(asked, key, progress)
            if isinstance(outcome, Reply):
                return outcome
            if outcome.then is Then.HOPELESS:
                raise ProviderError(self._hint(outcome))
            if outcome.names_schema and asked.schema is not None:
                self._takes_schemas = False
                continue
            left -= 1
            if outcome.then is not Then.AGAIN or left == 0:
                return outcome
            await self._wait(outcome, self._connection.tries - left)

    async def _try(self, prompt: Prompt, key: str, progress: CallProgress) -> Reply | Fault:
        from assets.models.providers.exchange import exchange

        dialect, hide = self._opened(), self._hiders()[0]
        async with self._slot():
            progress.began = progress.began or monotonic()
            progress.tries += 1
            seconds = self._connection.timeout_seconds
            return await exchange(dialect, prompt, key, seconds=seconds, hide=hide)

    async def _wait(self, fault: Fault, failed: int) -> None:
        """Wait without a slot, so that other calls go on."""
        if fault.busy and fault.wait_seconds is not None:
            self._limiter.pause(self._connection.model, fault.wait_seconds)
        seconds = self._backoff.wait(failed, fault.wait_seconds)
        async with self._until_halted():
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold a slot for one try, unless none may begin any more."""
        async with AsyncExitStack() as stack:
            async with self._until_halted():
                await stack.enter_async_context(self._limiter.slot(self._connection.model))
            self._check_halted()
            yield

    @asynccontextmanager
    async def _until_halted(self) -> AsyncIterator[None]:
        """Let what is awaited in it end with Interrupted as soon as no new try may begin."""
        self._check_halted()
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            raise Interrupted(HALTED) from None

    def _check_halted(self) -> None:
        if self._halted:
            raise Interrupted(HALTED)

    def _opened(self) -> "Dialect":
        loop = asyncio.get_running_loop()
        if self._dialect is None or self._loop is not loop:
            self._loop = loop
            check_key(self._connection, self._allowed.keys)
            self._secret = read_key(self._connection.variable)
            self._dialect = open_dialect(self._connection, self._secret)
        return self._dialect

    def _answer(self, outcome: Reply | Fault, progress: CallProgress) -> Answer:
        hide, hide_in_answer = self._hiders()
        seconds = monotonic() - (progress.began or monotonic())
        if isinstance(outcome, Fault):
            refused = outcome.then is Then.REFUSED
            return Answer(
                model=self._connection.name,
                response="",
                finish=Finish.REFUSAL if refused else Finish.ERROR,
                reason=hide(outcome.reason),
                latency_seconds=seconds,
                tries=progress.tries,
            )
        own = self._connection.price
        price = own_price(own) if own else price_of(*self._priced())
        return Answer(
            model=self._connection.name,
            response=hide_in_answer(outcome.text),
            finish=outcome.finish,
            reason=quoted_words(hide(outcome.reason)) if outcome.reason else None,
            thinking=hide_in_answer(outcome.thinking) if outcome.thinking else None,
            usage=outcome.usage,
            cost_usd=cost(price, outcome.usage) if price else None,
            price=price.as_json() if price else None,
            latency_seconds=seconds,
            tries=progress.tries,
        )

    def _priced(self) -> tuple[str, str]:
        return self._connection.protocol, self._connection.model

    def _hiders(self) -> tuple[Hide, Hide]:
        secret = self._secret or Secret(None, "")
        return secret.hide, secret.hide_in_answer

    def _hint(self, fault: Fault) -> str:
        """What to do about a provider that answers no call; names the variable, never the key."""
        unnamed = f"a variable that providers.{self._connection.provider}.key names"
        variable = self._connection.variable or unnamed
        what, do = {
            401: ("refused the key", f"put a valid key into {variable}"),
            402: ("asks for payment", f"check the account of the key in {variable}"),
            403: ("forbids this", f"check what the key in {variable} may use"),
            404: ("knows no such model or address", "correct model or base_url"),
            405: ("does not speak this protocol", "correct protocol or base_url"),
        }.get(fault.status or 0, ("answers no call", "check the provider, its address and account"))
        hide, _ = self._hiders()
        return hide(
            f"{self._connection.name} at {self._connection.address} {what}: {fault.reason}. "
            f"Expected an answer: {do}, then run the same command again{KEPT}"
        )


def open_dialect(connection: Connection, secret: Secret) -> "Dialect":
    """The client of a connection's protocol; its SDK is imported here and nowhere earlier."""
    match connection.protocol:
        case "anthropic":
            from assets.models.providers.anthropic_messages import AnthropicMessages

            return AnthropicMessages(connection, secret)
        case "openai":
            from assets.models.providers.openai_responses import OpenAIResponses

            return OpenAIResponses(connection, secret)
        case "openai_chat":
            from assets.models.providers.openai_chat import OpenAIChat

            return OpenAIChat(connection, secret)
