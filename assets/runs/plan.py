"""Which jobs the patches of an epoch ask for, and what makes two jobs the same work."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from assets.attempt.context import Context
from assets.config.data import PreparedData, torch_version
from assets.config.environment import Environment, Profile, resolved_profile
from assets.diffs.git import apply_diff
from lake.ids import content_hash, run_id
from lake.tables import Idea, IdeaKind, Patch, PatchStatus, RunPurpose, Stage

BASELINE_SEEDS = (0, 1, 2)
IDEA_SEEDS = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run that the epoch wants."""

    ordinal: int
    idea: Idea
    patch: Patch
    seed: int
    purpose: RunPurpose
    run_key: str
    run_id: str
    files: Mapping[str, bytes]
    """The patched tree."""


def device_class() -> str:
    """What kind of device a `cpu` job computes on: results are bit-equal within one class."""
    return f"cpu-{platform.machine()}"


def run_key(
    files: Mapping[str, bytes],
    *,
    environment: Environment,
    data: PreparedData,
    profile: Profile,
    seed: int,
    scope: str = "",
    measurement: int = 0,
) -> str:
    """Hash of all that a job's result depends on but the scoring.

    Args:
        files: the patched tree.
        environment: says which files score and do not count.
        data: whose training part counts.
        profile: resolved, without its declared baseline.
        seed: of the job.
        scope: the campaign where compute is CPU time, which compares within one campaign only.
        measurement: attempt number where a rerun must measure again, else 0.
    """
    return content_hash(
        environment.training_tree(files),
        data.train_hash,
        resolved_profile(profile),
        seed,
        torch_version(),
        device_class(),
        scope,
        measurement,
    )


def plan_jobs(context: Context) -> list[Job]:
    """The epoch's jobs, baselines first; a failed patch asks for none."""
    patches = {
        p.idea_id: p
        for p in reversed(context.upstream(Patch, Stage.PATCHES))
        if p.status is PatchStatus.APPLIED
    }
    ideas = sorted(context.upstream(Idea, Stage.IDEAS), key=lambda idea: idea.ordinal)
    wanted = [
        (idea, patches[idea.idea_id], seed)
        for idea in ideas
        if idea.idea_id in patches
        for seed in (BASELINE_SEEDS if idea.kind is IdeaKind.BASELINE else IDEA_SEEDS)
    ]
    return [
        job_of(context, idea, patch, ordinal=ordinal, seed=seed)
        for ordinal, (idea, patch, seed) in enumerate(wanted)
    ]


def job_of(
    context: Context,
    idea: Idea,
    patch: Patch,
    *,
    ordinal: int,
    seed: int,
    purpose: RunPurpose = RunPurpose.SCREENING,
) -> Job:
    """The job that runs a patch with a seed."""
    files = apply_diff(context.environment.files, patch.diff)
    key = run_key(
        files,
        environment=context.environment,
        data=context.data,
        profile=context.profile,
        seed=seed,
        scope=context.campaign if context.profile.compute == "cpu" else "",
        measurement=context.n if context.settings.remeasure else 0,
    )
    identity = run_id(patch_id=patch.patch_id, n=context.n, run_key=key)
    return Job(
        ordinal=ordinal,
        idea=idea,
        patch=patch,
        seed=seed,
        purpose=purpose,
        run_key=key,
        run_id=identity,
        files=files,
    )
