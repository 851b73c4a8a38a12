"""What a campaign knows so far: every idea of its current layers with what became of it."""

from collections.abc import Iterable

from assets.results.layers import Layers
from assets.results.scored import Scored
from lake.attempts import AttemptLog, Read
from lake.delta import Lake
from lake.tables import Run, Stage


class History:
    """The layers of one campaign, as its attempts chain them."""

    def __init__(self, lake: Lake, log: AttemptLog, campaign: str) -> None:
        self._log = log
        self._layers = Layers(lake, campaign)

    def layer(self, epoch: int) -> list[Scored]:
        """The current ideas of one epoch."""
        return self._layers.of([self._current(epoch)])

    def read_by(self, reads: Iterable[str]) -> list[Scored]:
        """The ideas under these scores attempts, as whoever recorded the reads saw them."""
        ordered = sorted(map(Read.parse, reads))
        return self._layers.of([self._log.chain([str(read)], read.epoch) for read in ordered])

    def before(self, epoch: int) -> list[Scored]:
        """The current ideas of all earlier epochs."""
        return self._layers.of([self._current(earlier) for earlier in range(epoch)])

    def baseline_runs(self) -> list[Run]:
        """The current runs of the unpatched environment."""
        return [s.run for s in self.layer(0) if s.is_baseline and s.run is not None]

    def _current(self, epoch: int) -> dict[Stage, Read]:
        return {stage: attempt.read for stage, attempt in self._log.current(epoch).items()}
