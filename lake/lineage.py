"""Lineage: the ancestors of an idea, over history.

A recursive query scans a million ideas once per generation; here two columns are read once, and the
walk goes through an index of 64-bit hashes. A hash only finds candidates: the id itself decides.
"""

from typing import TYPE_CHECKING, NamedTuple

from lake.delta import Lake
from lake.tables import Idea

if TYPE_CHECKING:
    import polars as pl


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
    index = _Index(lake.scan(Idea, files).select("idea_id", "parents").collect())
    found: dict[str, int] = {}
    generation, depth = [idea_id], 0
    while generation:
        following: list[str] = []
        for each in generation:
            parents = index.parents(each) if each not in found else None
            if parents is not None:
                found[each] = depth
                following += parents
        generation, depth = list(dict.fromkeys(following)), depth + 1
    return [Ancestor(key, generations) for key, generations in found.items()]


class _Index:
    """Finds an idea's parents by its id, in buckets of equal hashes."""

    def __init__(self, frame: "pl.DataFrame") -> None:
        """Sorts the rows of (idea_id, parents) by a part of their hashes."""
        import numpy as np

        self._ids, self._parents = frame["idea_id"], frame["parents"]
        hashes = self._ids.hash(0).to_numpy()
        buckets = (hashes >> np.uint64(48)).astype(np.uint16)
        self._order = np.argsort(buckets, kind="stable")
        self._starts = np.searchsorted(buckets[self._order], np.arange(2**16 + 1))

    def parents(self, idea_id: str) -> list[str] | None:
        """The parents of an idea; None where there is no such idea."""
        import polars as pl

        bucket = int(pl.Series([idea_id]).hash(0)[0]) >> 48
        for row in self._order[self._starts[bucket] : self._starts[bucket + 1]]:
            if self._ids[int(row)] == idea_id:
                return list(self._parents[int(row)])
        return None
