"""Layers of a campaign, read once in a process: the rows of an epoch, put together.

A layer is named by the attempts that it rests on. What an attempt holds up to an event never
changes, so a layer that was read stays true for as long as its lake is there. Not here: what is
made of the rows (`assets.results.history`), and which attempts are current (`lake.attempts`).
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from lake.attempts import Read
from lake.delta import Lake
from lake.tables import Idea, Patch, Row, Run, Score, Stage

T = TypeVar("T")
R = TypeVar("R", bound=Row)
Chain = Mapping[Stage, Read]
Name = tuple[str, tuple[Read | None, ...]]
"""Campaign, and the reads of STAGES."""
STAGES = (Stage.IDEAS, Stage.PATCHES, Stage.RUNS, Stage.SCORES)
MOST_BYTES = 256 << 20
"""Of the layers of one lake that are kept; what is beyond is read again each time."""
AT_ONCE = 50
"""Epochs whose rows are in memory at once while they are put together."""


class Rows(NamedTuple):
    """The rows of one epoch."""

    ideas: Sequence[Idea]
    patches: Sequence[Patch]
    runs: Sequence[Run]
    scores: Sequence[Score]


class Kept(Generic[T]):
    """Layers that were put together, up to a size."""

    def __init__(self) -> None:
        """Holds nothing yet."""
        self._lock = threading.Lock()
        self._layers: dict[Name, tuple[Sequence[T], int]] = {}
        self._bytes = 0

    def get(self, name: Name) -> Sequence[T] | None:
        """The layer, if it is kept."""
        with self._lock:
            found = self._layers.get(name)
        return found[0] if found else None

    def add(self, name: Name, layer: Sequence[T], size: int, *, wanted: set[Name]) -> None:
        """Keeps a layer, in place of such as are not wanted by this call where there is no room."""
        with self._lock:
            if self._bytes + size > MOST_BYTES:
                self._drop(self._layers.keys() - wanted)
            if name not in self._layers and self._bytes + size <= MOST_BYTES:
                self._layers[name] = (layer, size)
                self._bytes += size

    def _drop(self, names: set[Name]) -> None:
        for name in names:
            self._bytes -= self._layers.pop(name)[1]


class Layers(Generic[T]):
    """The layers of one campaign as something makes them of rows."""

    def __init__(
        self,
        lake: Lake,
        campaign: str,
        *,
        kept: Kept[T],
        join: Callable[[Rows], Sequence[T]],
        size: Callable[[Sequence[T]], int],
    ) -> None:
        """Reads nothing yet.

        Args:
            lake: Where the rows are.
            campaign: Whose.
            kept: Layers of this lake that were made in the same way.
            join: Makes a layer of the rows of an epoch; always the same.
            size: Bytes that a layer takes in memory, about.
        """
        self._lake, self._campaign = lake, campaign
        self._kept, self._join, self._size = kept, join, size

    def of(self, chains: Sequence[Chain]) -> list[T]:
        """The layers that rest on these attempts, one after the other."""
        names = [(self._campaign, tuple(map(chain.get, STAGES))) for chain in chains]
        found = {name: layer for name in names if (layer := self._kept.get(name)) is not None}
        wanted = set(names)
        for name, layer in self._read([name for name in wanted if name not in found]):
            found[name] = layer
            self._kept.add(name, layer, self._size(layer), wanted=wanted)
        return [one for name in names for one in found[name]]

    def _read(self, names: list[Name]) -> Iterator[tuple[Name, Sequence[T]]]:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            ideas = self._rows(Idea, [reads[0] for _, reads in some])
            patches = self._rows(Patch, [reads[1] for _, reads in some])
            runs = self._rows(Run, [reads[2] for _, reads in some])
            scores = self._rows(Score, [reads[3] for _, reads in some])
            for name in some:
                read = name[1]
                rows = Rows(ideas[read[0]], patches[read[1]], runs[read[2]], scores[read[3]])
                yield name, self._join(rows)

    def _rows(
        self, row_type: type[R], reads: Sequence[Read | None]
    ) -> Mapping[Read | None, Sequence[R]]:
        """The rows that each read sees; none where there is no read."""
        wanted = {read for read in reads if read is not None}
        layers = self._lake.layers(row_type, self._campaign, wanted)
        return {read: layers[read] if read is not None else () for read in reads}
