"""Layers of a campaign, read once in a process: the ideas of an epoch with what became of them.

A layer is named by the attempts that it rests on. What an attempt holds up to an event never
changes, so a layer that was read stays true for as long as its lake is there. Not here: which
attempts are current (`lake.attempts`).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

from assets.results.scored import Rows, Scored, join_layer
from lake.attempts import Read
from lake.delta import Lake
from lake.tables import Idea, Patch, Row, Run, Score, Stage

R = TypeVar("R", bound=Row)
Chain = Mapping[Stage, Read]
Name = tuple[str, tuple[Read | None, ...]]
"""Campaign, and the reads of STAGES."""
STAGES = (Stage.IDEAS, Stage.PATCHES, Stage.RUNS, Stage.SCORES)
MOST_BYTES = 256 << 20
"""Of the layers of one lake that are kept, about; what is beyond is read again each time."""
ROWS_BYTES = 5_000
"""An idea with its patch, run and score, without their long texts (measured)."""
AT_ONCE = 50
"""Epochs whose rows are in memory at once while they are put together."""


class Kept:
    """Layers that were put together, up to a size."""

    def __init__(self) -> None:
        """Holds nothing yet."""
        self._lock = threading.Lock()
        self._layers: dict[Name, tuple[Sequence[Scored], int]] = {}
        self._bytes = 0

    def get(self, name: Name) -> Sequence[Scored] | None:
        """The layer, if it is kept."""
        with self._lock:
            found = self._layers.get(name)
        return found[0] if found else None

    def add(self, name: Name, layer: Sequence[Scored], *, wanted: set[Name]) -> None:
        """Keeps a layer; where there is no room, those that this call does not want go."""
        size = sum(map(_size, layer))
        with self._lock:
            if self._bytes + size > MOST_BYTES:
                self._drop(self._layers.keys() - wanted)
            if name not in self._layers and self._bytes + size <= MOST_BYTES:
                self._layers[name] = (layer, size)
                self._bytes += size

    def _drop(self, names: set[Name]) -> None:
        for name in names:
            self._bytes -= self._layers.pop(name)[1]


_KEPT: "WeakKeyDictionary[Lake, Kept]" = WeakKeyDictionary()
"""By the open lake, with which they go."""


class Layers:
    """The layers of one campaign."""

    def __init__(self, lake: Lake, campaign: str) -> None:
        """Reads nothing yet."""
        self._lake, self._campaign = lake, campaign
        self._kept = _KEPT.setdefault(lake, Kept())

    def of(self, chains: Sequence[Chain]) -> list[Scored]:
        """The layers that rest on these attempts, one after the other."""
        names = [(self._campaign, tuple(map(chain.get, STAGES))) for chain in chains]
        found = {name: layer for name in names if (layer := self._kept.get(name)) is not None}
        wanted = set(names)
        for name, layer in self._read([name for name in wanted if name not in found]):
            found[name] = layer
            self._kept.add(name, layer, wanted=wanted)
        return [one for name in names for one in found[name]]

    def _read(self, names: list[Name]) -> Iterator[tuple[Name, Sequence[Scored]]]:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            ideas = self._rows(Idea, [reads[0] for _, reads in some])
            patches = self._rows(Patch, [reads[1] for _, reads in some])
            runs = self._rows(Run, [reads[2] for _, reads in some])
            scores = self._rows(Score, [reads[3] for _, reads in some])
            for name in some:
                read = name[1]
                rows = Rows(ideas[read[0]], patches[read[1]], runs[read[2]], scores[read[3]])
                yield name, join_layer(rows)

    def _rows(
        self, row_type: type[R], reads: Sequence[Read | None]
    ) -> Mapping[Read | None, Sequence[R]]:
        """The rows that each read sees; none where there is no read."""
        wanted = {read for read in reads if read is not None}
        layers = self._lake.layers(row_type, self._campaign, wanted)
        return {read: layers[read] if read is not None else () for read in reads}


def _size(scored: Scored) -> int:
    """Bytes, about: the texts that can be long, and all the rest of the rows as a lump."""
    texts = [scored.idea.text, scored.patch.diff if scored.patch else ""]
    texts.append((scored.run.log_tail or "") if scored.run else "")
    rows = ROWS_BYTES * (1 + len(scored.confirmations))
    return rows + sum(len(text.encode()) for text in texts)
