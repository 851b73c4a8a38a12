"""Which runs the patches of an epoch ask for, and what makes two runs the same work."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

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
    is_bygone: bool = False
    """Whether it was begun with something that is no longer here, such as another torch: it can be
    waited for, and cannot be begun again."""

    @property
    def is_baseline(self) -> bool:
        """Whether it runs the unpatched environment."""
        return self.idea.kind is IdeaKind.BASELINE

    @property
    def is_screening(self) -> bool:
        """Whether it is the first run of its patch, or a baseline's."""
        return self.purpose is RunPurpose.SCREENING

    def placed(self, ordinal: int) -> "PlannedRun":
        """The same run at another place of its attempt."""
        return replace(self, ordinal=ordinal)

    def recorded_as(self, run_id: str, run_key: str) -> "PlannedRun":
        """The same run under the ids that were recorded when it was begun."""
        is_bygone = run_key != self.run_key
        return replace(self, run_id=run_id, run_key=run_key, is_bygone=is_bygone)


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
        _screening(view, idea, patch, ordinal=ordinal, seed=seed)
        for ordinal, (idea, patch, seed) in enumerate(wanted)
    ]


class RunIds(NamedTuple):
    """What a run computes, and its name in its attempt."""

    run_key: str
    run_id: str


def run_ids(view: AttemptView, patch: Patch, files: Mapping[str, bytes], seed: int) -> RunIds:
    """The ids of the run of a patch, which makes `files`, with a seed."""
    scope = view.campaign if view.profile.compute == "cpu" else ""
    measurement = view.n if view.settings.remeasure else 0
    key = run_key(files, view.setup, seed=seed, scope=scope, measurement=measurement)
    return RunIds(key, run_id(patch_id=patch.patch_id, n=view.n, run_key=key))


def _screening(
    view: AttemptView, idea: Idea, patch: Patch, *, ordinal: int, seed: int
) -> PlannedRun:
    files = apply_diff(view.environment.files, patch.diff)
    return PlannedRun(
        ordinal=ordinal,
        idea=idea,
        patch=patch,
        seed=seed,
        purpose=RunPurpose.SCREENING,
        files=files,
        **run_ids(view, patch, files, seed)._asdict(),
    )
