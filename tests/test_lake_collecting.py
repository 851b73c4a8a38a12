"""A read that is lost is done again, and the first that ends counts."""

import threading

import polars as pl
import pytest

from lake.collecting import collected


def held_up(gate: threading.Event, *, first: int) -> tuple[pl.LazyFrame, list[int]]:
    """A frame of which the first reads wait at a gate, and the number of each read so far."""
    begun: list[int] = []

    def pass_on(frame: pl.DataFrame) -> pl.DataFrame:
        begun.append(len(begun))
        if len(begun) <= first:
            assert gate.wait(60)
        return frame

    return pl.LazyFrame({"a": [1, 2]}).map_batches(pass_on), begun


def test_a_read_that_does_not_come_back_is_begun_again_beside_it():
    gate = threading.Event()
    frame, begun = held_up(gate, first=2)
    assert collected(frame, patience_seconds=0.2)["a"].to_list() == [1, 2]
    assert len(begun) == 3
    gate.set()


def test_a_slow_read_counts_when_it_ends_first():
    gate = threading.Event()
    frame, begun = held_up(gate, first=9)
    threading.Timer(1.0, gate.set).start()
    assert collected(frame, patience_seconds=0.2)["a"].to_list() == [1, 2]
    assert 1 < len(begun) <= 9


def test_an_error_of_the_read_is_that_of_the_caller():
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        collected(pl.LazyFrame({"a": [1]}).select("b"))
