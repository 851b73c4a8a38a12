"""What became of an idea, in words: pure, from rows to lines.

Everything that a model or a job wrote is quoted: on one line with hidden characters shown, or after
the mark `| ` on each line, so that no text can pass for a line of the story.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assets.diffs.validator import read_diff
from assets.errors import PatchError
from assets.quoting import one_line, quotation
from assets.results.noise import Noise
from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    IdeaStatus,
    Patch,
    PatchStatus,
    Row,
    Run,
    RunStatus,
    Score,
)

REASON_CHARACTERS = 2000
KINDS: Mapping[IdeaKind, str] = {
    IdeaKind.BASELINE: "the unpatched environment, run for reference",
    IdeaKind.FRESH: "proposed without history",
    IdeaKind.EXPLOIT: "a variant of parents that beat the baseline",
    IdeaKind.EXPLORE: "meant to differ from the ideas that its model was shown",
    IdeaKind.POLICY: "sampled from a policy under reinforcement learning",
}
BLAMED: Mapping[Blame, str] = {
    Blame.MODEL: "The language model is to blame: it refused, was cut off, or answered nothing "
    "usable. There was nothing to try.",
    Blame.PATCH: "The implementer is to blame: its answer could not be applied to the environment. "
    "It was not tried.",
    Blame.SETUP: "The environment is to blame: it or its data could not be prepared. It says "
    "nothing of the idea.",
    Blame.TRAIN: "The patched training is to blame: it failed by itself, or left less than it "
    "has to.",
    Blame.EVALUATE: "The patched model is to blame: it was trained, and failed while it was "
    "scored.",
    Blame.GUARD: "The patch is to blame: a rule of honest scoring was broken, so its value does "
    "not count.",
    Blame.TIMEOUT: "The patch is to blame for its cost: it used more time or compute than the "
    "rules give.",
    Blame.INFRASTRUCTURE: "The machine, the disk or Varve itself is to blame. It says nothing of "
    "the idea.",
}
"""Who is to blame, in a sentence."""


ANSWERS: Mapping[PatchStatus, str] = {
    PatchStatus.APPLIED: "the diff",
    PatchStatus.FAILED: "the answer that did not apply",
    PatchStatus.UNTRIED: "the answer that was not looked at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An idea with all or some of what became of it, in any attempt."""

    idea: Idea
    parents: Sequence[Idea]
    """Those of its parents that the lake has."""
    patches: Sequence[Patch]
    runs: Sequence[Run]
    scores: Sequence[Score]
    current: frozenset[tuple[str, int]]
    """Id and attempt of the rows that are current."""
    noise: Noise | None
    """Of the campaign's baseline; None where it cannot be known."""
    minimize: bool
    """Whether lower values are better."""


def tell(story: Story, *, diff: bool) -> Iterator[str]:
    """The lines of the story.

    Args:
        story: what to tell.
        diff: whether the diffs are shown in full.
    """
    yield from _tell_idea(story)
    if not story.patches and story.idea.status is IdeaStatus.PROPOSED:
        yield "no patch yet: the stage that writes patches has not ended"
    untried = [patch for patch in story.patches if patch.status is PatchStatus.UNTRIED]
    if len(untried) > 1:
        yield ""
        yield f"{len(untried)} more answers were asked for and not looked at: another one was taken"
    for patch in story.patches:
        if len(untried) > 1 and patch.status is PatchStatus.UNTRIED:
            continue
        yield ""
        yield from _tell_patch(story, patch, diff=diff)
        runs = [run for run in story.runs if run.patch_id == patch.patch_id]
        if not runs and patch.status is PatchStatus.APPLIED:
            yield "no run yet: the stage that runs patches has not ended"
        for run in runs:
            yield ""
            yield from _tell_run(story, run)
            scores = [score for score in story.scores if score.run_id == run.run_id]
            if not scores:
                yield "no score yet: the stage that judges runs has not ended"
            for score in scores:
                yield from _tell_score(story, score, run)
            yield from _tell_log(run)


def _heading(story: Story, row: Row, *facts: str) -> str:
    identity = getattr(row, row.key)
    standing = "current" if (identity, row.n) in story.current else "no longer current"
    words = (f"{row.key.removesuffix('_id')} {identity}", *facts, f"attempt {row.n}, {standing}")
    return " · ".join(words)


def _tell_idea(story: Story) -> Iterator[str]:
    idea = story.idea
    yield _heading(story, idea, f"campaign {idea.campaign}", f"epoch {idea.epoch:04d}")
    yield f"  {one_line(idea.title)}"
    yield f"  {idea.kind}: {KINDS[idea.kind]}"
    known = {parent.idea_id: parent for parent in story.parents}
    for identity in idea.parents:
        said = one_line(known[identity].title) if identity in known else "not in this lake"
        yield f"  parent {identity}: {said}"
    if idea.status is IdeaStatus.REJECTED:
        yield f"  rejected, so that no patch was paid for it: {one_line(idea.reason or '')}"
    if idea.edits:
        yield f"  edits of the catalog: {one_line(', '.join(idea.edits))}"
    yield from _indented(quotation(idea.text))


def _tell_patch(story: Story, patch: Patch, *, diff: bool) -> Iterator[str]:
    tried = f"try {patch.ordinal}, revision {patch.revision}"
    yield _heading(story, patch, tried, f"written as {patch.format}", patch.status)
    applied = patch.status is PatchStatus.APPLIED
    if applied:
        yield f"  {_changes(patch.diff)}{'' if diff or not patch.diff else '; --diff shows how'}"
        yield from (f"  mended: {one_line(repair)}" for repair in patch.repairs)
    elif patch.status is PatchStatus.UNTRIED:
        yield "  Not looked at: another try of the idea was taken."
    else:
        yield from _tell_failure(patch.blame, patch.reason)
    if diff and patch.diff:
        yield f"  {ANSWERS[patch.status]}:"
        yield from _indented(quotation(patch.diff.removesuffix("\n")))


def _changes(diff: str) -> str:
    if not diff:
        return "changes nothing"
    try:
        paths = [section.path for section in read_diff(diff)]
    except PatchError:  # from a version with other rules, or larger than a model may write
        return "changes files"
    return f"changes {', '.join(paths)}"


def _tell_run(story: Story, run: Run) -> Iterator[str]:
    yield _heading(story, run, run.purpose, f"seed {run.seed}", run.status)
    yield f"  {_seconds(run.cpu_seconds)} of CPU time, {_seconds(run.wall_seconds)} of wall clock"
    machine = one_line(run.hardware or "unknown hardware")
    yield f"  on {machine}, profile {run.profile}, launcher {run.launcher}"
    if run.reused_from:
        yield (
            f"  taken over from run {run.reused_from}: the same code, data and seed, not run again"
        )
    if run.sandbox_gaps:
        yield f"  sandbox level {run.sandbox_level}, which does not hold against:"
        yield from (f"    - {one_line(gap)}" for gap in run.sandbox_gaps)
    else:
        yield f"  sandbox level {run.sandbox_level or 'unknown'}, with no gap on record"
    if run.status is RunStatus.CANCELLED:
        yield "  Stopped at the user's request. It says nothing of the idea."
    elif run.status is RunStatus.FAILED:
        yield from _tell_failure(run.blame, run.reason)


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else f"{value:.3g} s"


def _tell_score(story: Story, score: Score, run: Run) -> Iterator[str]:
    yield _heading(story, score, score.status)
    if score.value is not None:
        worth = _worth(story, score.value, run.seed)
        yield f"  {one_line(score.metric)} {score.value:.6g}, {worth}"
    elif (score.blame, score.reason) == (run.blame, run.reason):
        yield "  No value, for the reason of its run."
    else:
        yield "  No value."
        yield from _tell_failure(score.blame, score.reason)
    for name, verdict in sorted(score.verdicts.items()):
        yield f"  verdict {one_line(name)}: {one_line(verdict, limit=REASON_CHARACTERS)}"
    for name, number in sorted(score.measures.items()):
        yield f"  measure {one_line(name)}: {number:.6g}"


def _worth(story: Story, value: float, seed: int) -> str:
    noise = story.noise
    if noise is None:
        return "and no baseline to compare it with is known"
    gain = noise.gain(value, seed=seed, minimize=story.minimize)
    same = "" if gain.seed is None else f"{gain.reference:.6g} with the same seed, "
    return (
        f"{abs(gain.units):.1f} noise units {'better' if gain.units >= 0 else 'worse'} than the "
        f"baseline: {same}{noise.mean:.6g} (mean of {noise.mean_n}) ± {noise.sd:.3g} "
        f"(sd of {noise.n})"
    )


def _tell_failure(blame: Blame | None, reason: str | None) -> Iterator[str]:
    yield f"  {BLAMED[blame] if blame else 'Nobody is blamed.'} (blame: {blame or 'none'})"
    if reason and "\n" in reason.strip():
        yield "  Reason:"
        yield from _indented(quotation(reason.strip()))
    else:
        yield f"  Reason: {one_line(reason or 'none was given', limit=REASON_CHARACTERS)}"


def _tell_log(run: Run) -> Iterator[str]:
    if not run.log_tail:
        yield "log: the job printed nothing"
        return
    yield "log, its end, as the job printed it:"
    yield from quotation(run.log_tail.removesuffix("\n"))


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
