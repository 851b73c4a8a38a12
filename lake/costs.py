"""What a campaign's rows have cost: sums over all attempts, read from three columns."""

from dataclasses import dataclass

from lake.delta import Lake
from lake.tables import Completion, Row, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one epoch."""

    usd: float
    """Of model calls and jobs whose price is known."""
    gpu_hours: float


def costs(lake: Lake, campaign: str) -> dict[int, Cost]:
    """What each epoch has cost, those of abandoned attempts included.

    A run that was taken over has cost nothing again. Facts that are still in a journal are not
    seen: flush first.
    """
    calls = _sums(lake, Completion, campaign)
    jobs = _sums(lake, Run, campaign)
    return {
        epoch: Cost(
            usd=calls.get(epoch, (0.0, 0.0))[0] + jobs.get(epoch, (0.0, 0.0))[0],
            gpu_hours=jobs.get(epoch, (0.0, 0.0))[1],
        )
        for epoch in calls.keys() | jobs.keys()
    }


def _sums(lake: Lake, row_type: type[Row], campaign: str) -> dict[int, tuple[float, float]]:
    """Epoch -> US dollars and GPU-hours."""
    import polars as pl

    files = lake.files(row_type, campaign=campaign)
    if not files:
        return {}
    frame = lake.scan(row_type, files)
    if row_type is Run:
        frame = frame.filter(pl.col("reused_from").is_null())
    hours = pl.col("gpu_hours").sum() if row_type is Run else pl.lit(0.0)
    sums = frame.group_by("epoch").agg(usd=pl.col("cost_usd").sum(), hours=hours).collect()
    return {row["epoch"]: (row["usd"], row["hours"]) for row in sums.iter_rows(named=True)}
