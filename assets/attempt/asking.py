"""Ask models: every call is a row before its answer is used, and is never paid for twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from assets.attempt.batching import BatchRecorder
from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress, StopLevel
from assets.errors import AnswerError, Interrupted, ProviderError
from assets.models.requests import Answer, Call, Finish, Model, Place
from lake.ids import completion_id
from lake.tables import Blame, Completion
from launchers.visible import told

T = TypeVar("T")

MOST_ASKED = 2
"""Times that a process asks a question that gets no answer, each with all its tries."""
LOOK_SECONDS = 0.1
"""Pause between two checks whether the user wants to stop."""
WARMING_SECONDS = 60.0
"""Longest that calls wait for the first one with their prefix."""
FLUSH_SECONDS = 1.0
"""Pause between two moves of what was recorded to the lake."""
STOPPED = "stopped at your request before every model had answered; search again to go on"


class Asking:
    """The model calls of one stage attempt, many at a time."""

    def __init__(self, context: Context, models: Sequence[Model]) -> None:
        self.context = context
        self._models = models
        self._slots = asyncio.Semaphore(max(model.at_once for model in models))
        self._warm: dict[str, asyncio.Event] = {}
        self._recorder = BatchRecorder(context.record)
        self.total = 0
        """Calls that are known to be wanted so far."""
        self.done = 0
        self.failed = 0
        self.running = 0
        self._halt: BaseException | None = None
        self._flushed = 0.0

    async def complete(
        self,
        call: Call,
        *,
        role: str,
        ordinal: int,
        revision: int = 0,
        group: str | None = None,
        read: Callable[[str], object] = str,
    ) -> Completion:
        """The attempt's completion for (role, ordinal, revision): the stored one, else the answer.

        A call without an answer (`Finish.ERROR`) is only a row: it is asked again, a few times now,
        and by whoever resumes the attempt.

        Args:
            call: what is asked.
            role: ideator or implementer.
            ordinal: place of the call within the attempt.
            revision: repair of the same sample, from 0.
            group: shared by calls that are samples of the same request.
            read: raises AnswerError where an answer says nothing usable; the row says so then.

        Raises:
            Interrupted: the user wants no new call.
            BudgetReached: the campaign's money is spent.
            ProviderError: no call can succeed as things are.
        """
        stored, asked, repeat = self.context.stored_completions, 0, 0
        while True:
            place = self._place(role, ordinal, revision, repeat)
            asked += place.key not in stored
            found = stored.get(place.key) or await self._ask(call, place, group, read)
            if found.finish_reason != Finish.ERROR or asked == MOST_ASKED:
                break
            repeat += 1
        self.done += 1
        self.failed += found.blame is not None
        self.report()
        return found

    def _place(self, role: str, ordinal: int, revision: int, repeat: int) -> Place:
        view = self.context.view
        identity = completion_id(
            **view.keys,
            stage=view.stage,
            role=role,
            ordinal=ordinal,
            revision=revision,
            repeat=repeat,
        )
        return Place(
            epoch=view.epoch,
            stage=view.stage,
            role=role,
            ordinal=ordinal,
            revision=revision,
            key=identity,
        )

    async def _ask(
        self, call: Call, place: Place, group: str | None, read: Callable[[str], object]
    ) -> Completion:
        async with self._warmed(call.prefix), self._slots:
            self._check()
            self.running += 1
            self.report()
            try:
                answer = await call.send(place)
                completion = _judged(_row(self.context, call, place, group, answer), read)
                self.context.spending.count(usd=completion.cost_usd)
                await self._recorder.keep(completion)
                self._check_price(completion)
            except Exception as error:
                self._halt = self._halt or error
                raise
            finally:
                self.running -= 1
        return completion

    def _check_price(self, completion: Completion) -> None:
        """Refuses to go on where a budget in dollars cannot be held.

        Raises:
            ProviderError: an answer came whose tokens nobody counts.
        """
        uncounted = completion.input_tokens is None or completion.output_tokens is None
        answered = completion.finish_reason == Finish.STOP and completion.price is not None
        if self.context.view.settings.budget.caps_money and answered and uncounted:
            raise ProviderError(
                f"{completion.model} counts no tokens, so that budget.max_usd cannot be enforced. "
                "Take the caps in dollars out of defs.yaml, or ask a server that reports usage; "
                "the answer is kept"
            )

    @asynccontextmanager
    async def _warmed(self, prefix: str | None) -> AsyncIterator[None]:
        """Lets the first call with a prefix go alone, so that all others find it in the cache.

        A provider has a prefix in its cache once the first answer begins: forty calls at once would
        each pay for all of it. Calls that have waited long enough go on without it.
        """
        if prefix is None:
            yield
            return
        if prefix in self._warm:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._warm[prefix].wait(), WARMING_SECONDS)
            yield
            return
        self._warm[prefix] = asyncio.Event()
        try:
            yield
        finally:
            self._warm[prefix].set()

    def _check(self) -> None:
        """Lets a call be sent, or raises why no more may be."""
        if self._halt is not None:
            raise self._halt
        if self.context.stop.level is not StopLevel.GO:
            raise Interrupted(STOPPED)
        self.context.spending.check()

    def report(self) -> None:
        """Tells the monitor where the calls stand."""
        self.context.monitor.jobs(
            JobsProgress(
                epoch=self.context.view.epoch,
                total=max(self.total, self.done),
                done=self.done,
                running=self.running,
                failed=self.failed,
                adopted=0,
                what="calls",
            )
        )

    async def all(self, works: Iterable[Awaitable[T]]) -> list[T]:
        """Results of tasks that run side by side; when one fails, the others are waited for.

        Answers that are on their way are paid for, so nothing is cancelled except at the user's
        request.
        """
        found = await asyncio.gather(*works, return_exceptions=True)
        failures = [each for each in found if isinstance(each, BaseException)]
        if failures:
            raise failures[0]
        return [each for each in found if not isinstance(each, BaseException)]

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a task, while the user may stop it and recorded facts reach the lake."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_SECONDS)
            if self.context.stop.level is not StopLevel.GO:
                for model in self._models:
                    model.halt()
            if self.context.stop.level is StopLevel.CANCEL:
                task.cancel()
            try:
                await self._flush_now_and_then()
            except Exception as error:  # noqa: BLE001  raised by the next call, or by the stage's end
                self._halt = self._halt or error
        await self._recorder.settle()
        with suppress(asyncio.CancelledError):
            return task.result()
        raise Interrupted(STOPPED)

    async def _flush_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._flushed >= FLUSH_SECONDS:
            self._flushed = now
            await asyncio.to_thread(self.context.writer.flush)


def ask(
    context: Context, models: Sequence[Model], work: Callable[[Asking], Coroutine[Any, Any, T]]
) -> T:
    """Run what asks models, as many calls at once as they take, then close their connections."""

    async def whole() -> T:
        asking = Asking(context, models)
        try:
            return await asking.watched(work(asking))
        finally:
            for model in models:
                await model.close()

    return asyncio.run(whole())


def _judged(completion: Completion, read: Callable[[str], object]) -> Completion:
    """The completion, blamed on the model where its answer cannot be read."""
    if completion.blame is None:
        try:
            read(completion.response or "")
        except AnswerError as error:
            return replace(completion, blame=Blame.MODEL, reason=str(error))
        except Exception as error:  # noqa: BLE001  the answer is paid for, and is kept whatever it is
            reason = told(f"cannot be read: {type(error).__name__}: {error}")
            return replace(completion, blame=Blame.INFRASTRUCTURE, reason=reason)
    return completion


def _row(
    context: Context, call: Call, place: Place, group: str | None, answer: Answer
) -> Completion:
    usage = answer.usage
    return Completion(
        **context.view.keys,
        completion_id=place.key,
        stage=place.stage,
        role=place.role,
        ordinal=place.ordinal,
        revision=place.revision,
        group=group,
        model=answer.model,
        prefix=call.prefix,
        request=call.request,
        options=call.options,
        response=answer.response or None,
        thinking=answer.thinking,
        finish_reason=answer.finish.value,
        blame=blame_of(answer.finish),
        reason=answer.reason,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        written_tokens=usage.written_tokens,
        cost_usd=answer.cost_usd,
        price=answer.price,
        latency_seconds=answer.latency_seconds,
        tries=answer.tries,
    )


def no_answer(completion: Completion) -> ProviderError:
    """The error of a stage that cannot go on without an answer that did not come."""
    return ProviderError(
        f"{completion.model}: no answer came: {completion.reason}. Check the provider or the "
        "settings, then run the same command again: what was answered is kept, and what was not is "
        "asked again"
    )


def blame_of(finish: str) -> Blame | None:
    """Whom to blame for a call that gave nothing to work with."""
    if finish == Finish.STOP:
        return None
    return Blame.INFRASTRUCTURE if finish == Finish.ERROR else Blame.MODEL
