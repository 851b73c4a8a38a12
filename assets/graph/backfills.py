"""Order within a backfill: an epoch may only rest on what the same backfill has made."""

import dagster as dg

from assets.attempt.order import epochs_completed_by
from assets.errors import OrderError
from lake.attempts import AttemptLog
from lake.tables import Stage

BACKFILL_TAG = "dagster/backfill"


def check_backfill_order(
    instance: dg.DagsterInstance, run: dg.DagsterRun, campaign: str, epoch: int, log: AttemptLog
) -> None:
    """Refuse an epoch while an earlier one of the same backfill has not completed its scores in it.

    Without this, epoch 2 would run on epoch 1's stale scores when epoch 1 has just failed.

    Raises:
        OrderError: naming the epoch that is missing.
    """
    backfill_id = run.tags.get(BACKFILL_TAG)
    if backfill_id is None:
        return
    earlier = [e for e in _scored_epochs(instance, backfill_id, campaign) if e < epoch]
    if not earlier:
        return
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: backfill_id}))
    done = epochs_completed_by((r.run_id for r in runs), log)
    missing = sorted(set(earlier) - done)
    if missing:
        raise OrderError(
            f"campaign {campaign}: epoch {epoch:04d} is part of backfill {backfill_id}, whose "
            f"epoch {missing[0]:04d} has not completed its scores; repair that epoch and launch "
            "the backfill again from there"
        )


def _scored_epochs(instance: dg.DagsterInstance, backfill_id: str, campaign: str) -> list[int]:
    """Epochs whose scores the backfill was asked to make."""
    backfill = instance.get_backfill(backfill_id)
    data = backfill.asset_backfill_data if backfill else None
    scores = dg.AssetKey([campaign, Stage.SCORES])
    if data is None or scores not in data.target_subset.asset_keys:
        return []
    keys = data.target_subset.get_partitions_subset(scores).get_partition_keys()
    return sorted(int(key) for key in keys)
