"""Lineage: the ancestors of an idea, over history.

A recursive query scans a million ideas once per generation; here two columns are read once, and the
walk goes through an index of 64-bit hashes. A hash only finds candidates: the id itself decides.
"""

from typing import NamedTuple

from lake.delta import Lake
from lake.tables import Idea


class Ancestor(NamedTuple):
    """An idea in a lineage."""

    idea_id: str
    depth: int
    """Generations back; 0 is the idea itself, 1 its parents."""


def ancestors(lake: Lake, idea_id: str, *, campaign: str | None = None) -> list[Ancestor]:
    """The idea and everything that it descends from, nearest first, each once.

    Args:
        lake: The lake.
        idea_id: Where to start.
        campaign: Look only here; None looks through the whole lake.

    Returns:
        The lineage; empty when the idea is not known. A parent that is nowhere in the lake is left
        out.
    """
    files = lake.files(Idea, campaign=campaign)
    if not files:
        return []
    import numpy as np
    import polars as pl

    frame = lake.scan(Idea, files).select("idea_id", "parents").collect()
    buckets = (frame["idea_id"].hash(0).to_numpy() >> np.uint64(48)).astype(np.uint16)
    order = np.argsort(buckets, kind="stable")
    starts = np.searchsorted(buckets[order], np.arange(2**16 + 1))
    ids, parents = frame["idea_id"], frame["parents"]

    def find(wanted: str) -> int | None:
        bucket = int(pl.Series([wanted]).hash(0)[0]) >> 48
        for row in order[starts[bucket] : starts[bucket + 1]]:
            if ids[int(row)] == wanted:
                return int(row)
        return None

    found: dict[str, int] = {}
    generation, depth = [idea_id], 0
    while generation:
        following: list[str] = []
        for each in generation:
            row = find(each) if each not in found else None
            if row is not None:
                found[each] = depth
                following += parents[row].to_list()
        generation, depth = list(dict.fromkeys(following)), depth + 1
    return [Ancestor(key, generations) for key, generations in found.items()]
