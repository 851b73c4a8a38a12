"""What a campaign has cost: sums over the facts of all attempts, read from three columns."""

from dataclasses import dataclass

from lake.delta import Lake
from lake.tables import Completion, Row, RunEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one epoch has cost."""

    usd: float
    """Of model calls and jobs whose price is known."""
    gpu_hours: float


def costs(lake: Lake, campaign: str) -> dict[int, Cost]:
    """What each epoch has cost over all attempts, abandoned ones and audits included.

    An adopted job has no end of its own, so it costs nothing again. Facts that are still
    in a journal are not seen: flush first.
    """
    calls, jobs = _sums(lake, Completion, campaign), _sums(lake, RunEvent, campaign)
    nothing = Cost(usd=0.0, gpu_hours=0.0)
    return {
        epoch: Cost(
            usd=calls.get(epoch, nothing).usd + jobs.get(epoch, nothing).usd,
            gpu_hours=jobs.get(epoch, nothing).gpu_hours,
        )
        for epoch in calls.keys() | jobs.keys()
    }


def _sums(lake: Lake, row_type: type[Row], campaign: str) -> dict[int, Cost]:
    timed = row_type is RunEvent
    names = ("epoch", "cost_usd", *(("gpu_hours",) if timed else ()))
    lines = lake.columns(row_type, names, campaign=campaign)
    if lines is None:
        return {}
    import polars as pl

    hours = pl.col("gpu_hours").sum() if timed else pl.lit(0.0)
    sums = lines.group_by("epoch").agg(usd=pl.col("cost_usd").sum(), hours=hours)
    return {
        row["epoch"]: Cost(usd=row["usd"], gpu_hours=row["hours"])
        for row in sums.iter_rows(named=True)
    }
