"""What people see of an attempt in the Dagster UI: metadata, a small plot, asset checks."""

from collections.abc import Sequence

import dagster as dg

from assets.quoting import one_line
from assets.results.summary import Summary
from assets.work import Report
from lake.tables import Blame, Stage

LEAST_COMPLETION = 0.5
BARS = "▁▂▃▄▅▆▇█"


def stage_metadata(report: Report) -> dict[str, dg.MetadataValue]:
    """Counts of the attempt, and how far the campaign has come."""
    summary, attempt = report.summary, report.attempt
    metadata: dict[str, dg.MetadataValue] = {
        "attempt": dg.MetadataValue.int(attempt.n),
        "reads": dg.MetadataValue.text(", ".join(attempt.reads) or "nothing"),
        "dagster/partition_row_count": dg.MetadataValue.int(attempt.counts.get("rows", 0)),
    }
    metadata |= {name: dg.MetadataValue.int(count) for name, count in attempt.counts.items()}
    spent = {"usd_of_the_epoch": report.cost.usd, "gpu_hours_of_the_epoch": report.cost.gpu_hours}
    metadata |= {
        name: dg.MetadataValue.float(round(total, 6)) for name, total in spent.items() if total
    }
    progress = _progress_metadata(summary)
    if attempt.stage is not Stage.SCORES:  # ideas of this epoch have no score yet
        progress.pop("completion_rate", None)
    return metadata | progress


def check_results(report: Report) -> list[dg.AssetCheckResult]:
    """Asset checks of `scores`."""
    summary, counts = report.summary, report.attempt.counts
    violated = counts.get(f"blame_{Blame.GUARD}", 0)
    rate = summary.completion_rate
    baselines = summary.baseline_runs
    return [
        dg.AssetCheckResult(
            check_name="no_guard_violated", passed=violated == 0, metadata={"violated": violated}
        ),
        dg.AssetCheckResult(
            check_name="completion_rate",
            passed=rate is not None and rate >= LEAST_COMPLETION,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"valid": summary.valid, "ideas": summary.ideas},
        ),
        dg.AssetCheckResult(
            check_name="baseline_present",
            passed=baselines > 0,
            metadata={"baseline_runs": baselines},
        ),
    ]


def sparkline(values: Sequence[float | None], *, minimize: bool) -> str:
    """One bar per epoch, higher is better; a gap where an epoch has no value.

    Args:
        values: best value of each epoch.
        minimize: whether lower values are better.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    bars = []
    for value in values:
        if value is None:
            bars.append(" ")
            continue
        height = (value - low) / (high - low) if high > low else 1.0
        height = 1 - height if minimize and high > low else height
        bars.append(BARS[round(height * (len(BARS) - 1))])
    return "".join(bars)


def _progress_metadata(summary: Summary) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    if summary.completion_rate is not None:
        metadata["completion_rate"] = dg.MetadataValue.float(summary.completion_rate)
    if summary.noise:
        metadata["baseline"] = dg.MetadataValue.float(summary.noise.mean)
        metadata["noise_sd"] = dg.MetadataValue.float(summary.noise.sd)
        metadata["noise_n"] = dg.MetadataValue.int(summary.noise.n)
    best = summary.best
    if best is not None and best.value is not None:
        metadata["best"] = dg.MetadataValue.float(best.value)
        title = one_line(best.idea.title)
        metadata["best_idea"] = dg.MetadataValue.text(f"{best.idea.idea_id}: {title}")
        gain = summary.gain(best)
        if gain is not None:
            metadata["best_over_baseline_in_noise_units"] = dg.MetadataValue.float(gain.units)
    plot = sparkline(summary.best_by_epoch, minimize=summary.better.minimize)
    if plot:
        metadata["best_by_epoch"] = dg.MetadataValue.text(f"{plot} (higher is better)")
    return metadata
