"""What the launcher is told of a job: the same for training and for scoring again."""

import sys
from typing import Any

from assets.attempt.context import Context
from launchers import JobSpec


def job_spec(
    context: Context, *, run_id: str, run_key: str, tree: str, seed: int, **changes: object
) -> JobSpec:
    """The specification of a job of this attempt.

    Args:
        context: whose profile, data and sandbox level hold.
        run_id: names the run folder.
        run_key: what is computed.
        tree: hash of the patched tree.
        seed: of training.
        changes: other fields of the specification.
    """
    profile, manifest = context.profile, context.environment.manifest
    fields: dict[str, Any] = {
        "run_id": run_id,
        "run_key": run_key,
        "tree": tree,
        "profile": context.settings.profile,
        "seed": seed,
        "python": sys.executable,
        "data": str(context.data.path),
        "budget_seconds": profile.budget_seconds,
        "score_seconds": profile.score_seconds,
        "cpu_limit_seconds": None,
        "threads": profile.threads,
        "outputs": {name: rule.model_dump() for name, rule in profile.outputs.items()},
        "frozen": context.environment.frozen,
        "masked": tuple(profile.masked),
        "cuts": manifest.audit.cuts,
        "memory_bytes": profile.memory_bytes,
        "processes": profile.processes,
        "sandbox": context.sandbox_level,
    }
    return JobSpec(**fields | changes)
