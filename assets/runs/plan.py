"""Which runs the patches of an epoch ask for, and what makes two runs the same work."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from assets.attempt.view import AttemptView
from assets.config.environment import resolved_profile
from assets.config.setup import Setup
from assets.diffs.git import apply_diff
from lake.ids import content_hash, run_id
from lake.tables import Idea, IdeaKind, Patch, PatchStatus, RunPurpose

BASELINE_SEEDS = (0, 1, 2)
IDEA_SEEDS = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
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

    @property
    def is_baseline(self) -> bool:
        """Whether it runs the unpatched environment."""
        return self.idea.kind is IdeaKind.BASELINE

    def placed(self, ordinal: int) -> "PlannedRun":
        """The same run at another place of its attempt."""
        return replace(self, ordinal=ordinal)


def run_key(
    files: Mapping[str, bytes], setup: Setup, *, seed: int, scope: str = "", measurement: int = 0
) -> str:
    """Hash of all that a run's result depends on, except the scoring.

    Args:
        files: the patched tree.
        setup: which files score and do not count; the training data; the profile without its
            declared baseline; torch and the device class of the site where it runs.
        seed: of the run.
        scope: the campaign where compute is CPU time, which compares within one campaign only.
        measurement: attempt number where a rerun must measure again, else 0.
    """
    return content_hash(
        setup.environment.training_tree(files),
        setup.data.train_hash,
        resolved_profile(setup.profile),
        seed,
        setup.site.torch,
        setup.site.device_class,
        scope,
        measurement,
    )


def plan_runs(view: AttemptView) -> list[PlannedRun]:
    """The epoch's screening runs, baselines first; a failed patch asks for none."""
    patches = {p.idea_id: p for p in reversed(view.rows(Patch)) if p.status is PatchStatus.APPLIED}
    ideas = sorted(view.rows(Idea), key=lambda idea: idea.ordinal)
    wanted = [
        (idea, patches[idea.idea_id], seed)
        for idea in ideas
        if idea.idea_id in patches
        for seed in (BASELINE_SEEDS if idea.kind is IdeaKind.BASELINE else IDEA_SEEDS)
    ]
    return [
        planned_run(view, idea, patch, ordinal=ordinal, seed=seed)
        for ordinal, (idea, patch, seed) in enumerate(wanted)
    ]


def planned_run(
    view: AttemptView,
    idea: Idea,
    patch: Patch,
    *,
    ordinal: int,
    seed: int,
    purpose: RunPurpose = RunPurpose.SCREENING,
) -> PlannedRun:
    """The run of a patch with a seed."""
    files = apply_diff(view.environment.files, patch.diff)
    scope = view.campaign if view.profile.compute == "cpu" else ""
    measurement = view.n if view.settings.remeasure else 0
    key = run_key(files, view.setup, seed=seed, scope=scope, measurement=measurement)
    return PlannedRun(
        ordinal=ordinal,
        idea=idea,
        patch=patch,
        seed=seed,
        purpose=purpose,
        run_key=key,
        run_id=run_id(patch_id=patch.patch_id, n=view.n, run_key=key),
        files=files,
    )
