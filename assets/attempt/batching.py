"""Facts made durable many at a time, beside a running event loop.

Each fact waits for the disk, which takes some milliseconds. One batch is written in a thread; what
comes in meanwhile is the next batch.
"""

import asyncio
from collections.abc import Callable

from lake.tables import Row


class BatchRecorder:
    """Writes rows in the order in which they come."""

    def __init__(self, record: Callable[..., None]) -> None:
        """Takes what makes rows durable before it returns, from any thread."""
        self._record = record
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, row: Row) -> None:
        """Returns when the row is durable; it will be, even if whoever waits is cancelled."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def settle(self) -> None:
        """Returns when nothing waits any more."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure = None
            try:
                await asyncio.to_thread(self._record, *(row for row, _ in batch))
            except Exception as error:  # noqa: BLE001  handed to everybody who waits for it
                failure = error
            for _, done in batch:
                if done.cancelled():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
