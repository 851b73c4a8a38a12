"""Confirmations of a patch that does not use its seed confirm nothing."""

from collections.abc import Sequence
from dataclasses import replace

from assets.attempt.view import AttemptView
from assets.results.noise import Noise
from assets.results.seeds import unused_seed
from assets.scores.verdicts import SEED, refused
from lake.tables import Blame, Run, RunPurpose, Score


def with_seeds_judged(
    view: AttemptView, rows: Sequence[Score], noise: Noise | None
) -> dict[str, Score]:
    """The confirmations that have a value, with the verdict on the seeds of their patch.

    Args:
        view: of the scores stage.
        rows: every score of the attempt.
        noise: of the campaign's baseline.

    Returns:
        Scores by run id.
    """
    runs = {run.run_id: run for run in view.rows(Run)}
    by_patch: dict[str, dict[int, Score]] = {}
    for row in rows:
        if row.value is not None:
            run = runs[row.run_id]
            by_patch.setdefault(run.patch_id, {})[run.seed] = row
    return {
        row.run_id: judged
        for found in by_patch.values()
        for row, judged in _judged(found, noise)
        if runs[row.run_id].purpose is RunPurpose.CONFIRMATION
    }


def _judged(by_seed: dict[int, Score], noise: Noise | None) -> list[tuple[Score, Score]]:
    """Each score of a patch, and what the scores of its other seeds make of it."""
    values = {seed: row.value for seed, row in by_seed.items() if row.value is not None}
    if len(values) < 2:
        return []
    why = unused_seed(values, noise)
    if why is not None:
        told = f"seed not used: {why}"
        return [(row, refused(row, SEED, Blame.GUARD, told)) for row in by_seed.values()]
    passed = {SEED: f"passed: {len(values)} seeds gave values as different as luck makes them"}
    if noise is None:
        passed = {SEED: "not judged: the unpatched environment has no known spread over seeds"}
    return [(row, replace(row, verdicts=row.verdicts | passed)) for row in by_seed.values()]
