"""An idea with what became of it: put together from the rows of its epoch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    IdeaStatus,
    Patch,
    PatchStatus,
    Run,
    RunPurpose,
    Score,
)


class Rows(NamedTuple):
    """The rows of one epoch."""

    ideas: Sequence[Idea]
    patches: Sequence[Patch]
    runs: Sequence[Run]
    scores: Sequence[Score]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One idea with its screening run, or with the reason why it has none.

    A baseline has one of these for each of its runs. Every stage ranks them all, so that what is
    made of the rows is made once.
    """

    idea: Idea
    patch: Patch | None
    run: Run | None
    score: Score | None
    confirmations: tuple[Score, ...] = ()
    """Scores of the same patch with seeds that were drawn after it."""

    @property
    def is_baseline(self) -> bool:
        """Whether this is the unpatched environment."""
        return self.idea.kind is IdeaKind.BASELINE

    @property
    def screened(self) -> float | None:
        """The valid score of the screening run, by which confirmations are chosen; or None."""
        return self.score.value if self.score else None

    @cached_property
    def confirmed(self) -> tuple[float, ...]:
        """The valid values of the confirmations."""
        return tuple(score.value for score in self.confirmations if score.value is not None)

    @cached_property
    def value(self) -> float | None:
        """What counts: the mean of the confirmations where there are any, else the screening's.

        The screening's value is not in the mean, since the idea was chosen by it. If a confirmation
        failed through the patch's fault, nothing counts: a mean of those that went well would be
        luck again.
        """
        if self.screened is None or self.unconfirmed is not None:
            return None
        return statistics.fmean(self.confirmed) if self.confirmed else self.screened

    @property
    def seed(self) -> int | None:
        """Of the screening, where that is what counts; None for a mean over drawn seeds."""
        return None if self.confirmed or self.run is None else self.run.seed

    @cached_property
    def unconfirmed(self) -> Score | None:
        """A confirmation that failed for a reason other than the machine."""
        failed = (score for score in self.confirmations if score.value is None)
        return next((score for score in failed if score.blame is not Blame.INFRASTRUCTURE), None)

    def may_win(self, deep: int, confirmations: int) -> bool:
        """Whether a value has what a parent or a winner needs.

        Args:
            deep: cuts of the leak audit that it must rest on.
            confirmations: valid runs with seeds that were drawn after the patch.
        """
        return self.cuts >= deep and len(self.confirmed) >= confirmations

    @property
    def error(self) -> float | None:
        """Standard error of the mean of the confirmations; None where there are not two."""
        if len(self.confirmed) < 2:
            return None
        return statistics.stdev(self.confirmed) / math.sqrt(len(self.confirmed))

    @property
    def cuts(self) -> float:
        """Cuts of the leak audit that the score rests on."""
        return self.score.measures.get("cuts", 0) if self.score else 0

    @property
    def compute(self) -> float | None:
        """The share of the baseline's compute that the score took; None where it is not limited."""
        return self.score.measures.get("compute") if self.score else None

    @property
    def blame(self) -> Blame | None:
        """The boundary that the failure is blamed on, if there is one."""
        if self.score:
            found = self.score if self.screened is None else self.unconfirmed
            return found.blame if found else None
        return self.patch.blame if self.patch else None

    @property
    def reason(self) -> str | None:
        """Why there is no value."""
        if self.screened is not None and self.unconfirmed is not None:
            return f"not confirmed with another seed: {self.unconfirmed.reason}"
        if self.score:
            return self.score.reason
        if self.patch and self.patch.status is PatchStatus.FAILED:
            return self.patch.reason
        return "has no run"


def join_layer(rows: Rows) -> list[Scored]:
    """One entry per idea, in order; for a baseline one per run, for rejected ideas none."""
    patches_by_idea: dict[str, list[Patch]] = {}
    for patch in rows.patches:
        patches_by_idea.setdefault(patch.idea_id, []).append(patch)
    runs_by_patch: dict[str, list[Run]] = {}
    for run in rows.runs:
        runs_by_patch.setdefault(run.patch_id, []).append(run)
    score_by_run = {score.run_id: score for score in rows.scores}
    layer = []
    for idea in sorted(rows.ideas, key=lambda i: i.ordinal):
        if idea.status is IdeaStatus.REJECTED:
            continue
        tries = patches_by_idea.get(idea.idea_id, [])
        entries = [
            Scored(
                idea=idea,
                patch=patch,
                run=run,
                score=score_by_run.get(run.run_id),
                confirmations=_confirmations(runs_by_patch[patch.patch_id], score_by_run),
            )
            for patch in tries
            for run in runs_by_patch.get(patch.patch_id, [])
            if run.purpose is RunPurpose.SCREENING
        ]
        last = tries[-1] if tries else None
        layer += entries or [Scored(idea=idea, patch=last, run=None, score=None)]
    return layer


def _confirmations(runs: Sequence[Run], scores: Mapping[str, Score]) -> tuple[Score, ...]:
    wanted = [run.run_id for run in runs if run.purpose is RunPurpose.CONFIRMATION]
    return tuple(scores[run_id] for run_id in wanted if run_id in scores)
