"""Reads of data files that end.

The engine with which polars reads files loses a query now and then, for good: all of its threads
sleep, and the caller waits (polars 2.1.0; pola-rs/polars#27969 tells of the same). It was seen once
in a run of all tests. Another query of the same process is answered meanwhile, so a read that takes
long is begun again beside the one that may be lost, and the first that ends counts.
"""

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

PATIENCE_SECONDS = 30.0
"""After this a read is begun once more, after twice that again, and so on."""


def collected(
    frame: "pl.LazyFrame", *, patience_seconds: float = PATIENCE_SECONDS
) -> "pl.DataFrame":
    """What a lazy frame over files that do not change holds.

    Raises:
        PolarsError: the frame cannot be read.
    """
    answers: SimpleQueue[pl.DataFrame | BaseException] = SimpleQueue()

    def read() -> None:
        try:
            answers.put(frame.collect())
        except BaseException as error:  # noqa: BLE001  raised by who waits
            answers.put(error)

    while True:
        threading.Thread(target=read, name="lake-read", daemon=True).start()
        try:
            answer = answers.get(timeout=patience_seconds)
        except Empty:
            patience_seconds *= 2
            continue
        if isinstance(answer, BaseException):
            raise answer
        return answer
