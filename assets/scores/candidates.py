"""Which of an epoch's scores may become a parent or the winner, and what they are ranked by."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from assets.attempt.view import AttemptView
from assets.results.better import Better
from lake.tables import Idea, IdeaKind, Patch, Run, RunPurpose, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An idea's score of this epoch with the run that it belongs to."""

    ordinal: int
    """Place among the runs of the epoch."""
    score: Score
    run: Run
    patch: Patch


def candidates_of(view: AttemptView, rows: Sequence[Score]) -> dict[str, Candidate]:
    """The valid scores of ideas' screening runs, by run id."""
    runs = {run.run_id: (ordinal, run) for ordinal, run in enumerate(view.rows(Run))}
    patches = {patch.patch_id: patch for patch in view.rows(Patch)}
    ideas = {idea.idea_id: idea for idea in view.rows(Idea)}
    found = {}
    for row in rows:
        ordinal, run = runs[row.run_id]
        patch = patches[run.patch_id]
        is_baseline = ideas[patch.idea_id].kind is IdeaKind.BASELINE
        if row.value is not None and not is_baseline and run.purpose is RunPurpose.SCREENING:
            found[row.run_id] = Candidate(ordinal=ordinal, score=row, run=run, patch=patch)
    return found


def worth_of(
    view: AttemptView, rows: Sequence[Score], candidates: Mapping[str, Candidate]
) -> dict[str, float]:
    """What each candidate is ranked by, by run id; one that lacks confirmations has none."""
    needed = view.settings.confirm.needed
    if not needed:
        return {run_id: one.score.value or 0.0 for run_id, one in candidates.items()}
    runs = {run.run_id: run for run in view.rows(Run)}
    confirmed: dict[str, list[float]] = {}
    for row in rows:
        run = runs[row.run_id]
        if row.value is not None and run.purpose is RunPurpose.CONFIRMATION:
            confirmed.setdefault(run.patch_id, []).append(row.value)
    return {
        run_id: statistics.fmean(confirmed[one.patch.patch_id])
        for run_id, one in candidates.items()
        if len(confirmed.get(one.patch.patch_id, ())) >= needed
    }


def to_audit(
    values: Mapping[str, float],
    earlier: Iterable[float],
    *,
    bars: Mapping[str, float | None],
    places: int,
    better: Better,
) -> list[str]:
    """Which of an epoch's scores may become a parent or the winner as they stand.

    Args:
        values: run id -> value of this epoch's ideas.
        earlier: values of the ideas that they have to beat.
        bars: run id -> what the baseline came to, with the same seed where one is compared; None
            where there is no baseline.
        places: how many parents an epoch may have.
        better: of the metric.

    Returns:
        Run ids, best first: those in the first place, or above the bar and among the first
        `places`.
    """
    rivals = [better.rank(value) for value in earlier]
    ranked = sorted(values, key=lambda run: (better.rank(values[run]), run))
    chosen = []
    for rank, run in enumerate(ranked):
        place = rank + sum(other <= better.rank(values[run]) for other in rivals)
        above = (bar := bars[run]) is not None and better.beats(values[run], bar)
        if place == 0 or (above and place < places):
            chosen.append(run)
    return chosen
