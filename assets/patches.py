"""Patches: tries to turn each idea into a changed tree. One row per try.

Several samples of an idea are asked for at once. They are looked at in order and the first one that
holds is taken; an order of arrival could not be replayed. Where none holds, each is given back to
the model with the exact reason, and the repaired ones are looked at in the same way. A patch holds
if it applies, compiles, and survives its smoke run, where the environment has one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assets.attempt.asking import Asking, ask, no_answer
from assets.attempt.context import Context, Produced
from assets.jobs.smoke import SmokeRun, may_smoke
from assets.ladder import Applied, Form, apply_answer, kept
from assets.models.requests import FailedTry, Finish, PatchRequest
from lake.ids import patch_id
from lake.tables import (
    Blame,
    Completion,
    Idea,
    IdeaKind,
    IdeaStatus,
    Patch,
    PatchStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer to the request for a patch, and the answers before it that it repairs."""

    idea: Idea
    ordinal: int
    revision: int
    completion: Completion
    failures: tuple[FailedTry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A sample that was looked at."""

    sample: Sample
    patch: Patch
    log_tail: str | None = None
    """What its smoke run printed last."""


def produce(context: Context) -> Produced:
    """Turn every idea of the epoch into a patch, side by side; the baseline is the empty patch."""
    ideas = [i for i in context.view.rows(Idea) if i.status is IdeaStatus.PROPOSED]
    asked = [idea for idea in ideas if idea.kind is not IdeaKind.BASELINE]
    rows = [_baseline(context, idea) for idea in ideas if idea.kind is IdeaKind.BASELINE]
    rows += ask(context, [context.models.implementer], lambda asking: _all(asking, context, asked))
    counts = {status.value: sum(row.status is status for row in rows) for status in PatchStatus}
    return Produced(
        rows=rows, counts=counts | {"ideas_without_a_patch": len(ideas) - counts["applied"]}
    )


async def _all(asking: Asking, context: Context, ideas: Sequence[Idea]) -> list[Patch]:
    asking.total = len(ideas) * context.view.settings.samples
    smoke = SmokeRun(context) if may_smoke(context.view.setup) else None
    tries = [Try(asking, context, idea, smoke) for idea in ideas]
    found = await asking.all(each.rows() for each in tries)
    unanswered = [each.unanswered for each in tries if each.unanswered is not None]
    if tries and len(unanswered) == len(tries):
        raise no_answer(unanswered[0])
    return [row for rows in found for row in rows]


class Try:
    """The tries of one idea."""

    def __init__(
        self, asking: Asking, context: Context, idea: Idea, smoke: SmokeRun | None
    ) -> None:
        self.asking = asking
        self.context = context
        self.idea = idea
        self.smoke = smoke
        self.unanswered: Completion | None = None
        """One of its calls, if none of them was answered."""

    async def rows(self) -> list[Patch]:
        """One row per try, in the order in which they were asked for."""
        settings = self.context.view.settings
        samples = await self.asking.all(self._ask(k, 0, ()) for k in range(settings.samples))
        if all(sample.completion.finish_reason == Finish.ERROR for sample in samples):
            self.unanswered = samples[0].completion
        rows: list[Patch] = []
        for revision in range(settings.revisions + 1):
            tried = await self._look_at(samples)
            rows += [each.patch for each in tried]
            if any(each.patch.status is PatchStatus.APPLIED for each in tried):
                break
            if revision < settings.revisions:
                failed = [each for each in tried if _may_help(each)]
                samples = await self.asking.all(self._repair(each) for each in failed)
        return rows

    async def _look_at(self, samples: Sequence[Sample]) -> list[Tried]:
        """The samples in their order; those after the first one that holds are not tried."""
        tried: list[Tried] = []
        won = False
        for sample in samples:
            one = Tried(sample=sample, patch=_untried(self.context, sample))
            if not won:
                one = await self._try(sample)
                won = one.patch.status is PatchStatus.APPLIED
            tried.append(one)
        return tried

    async def _try(self, sample: Sample) -> Tried:
        completion = sample.completion
        if completion.blame is not None:
            return Tried(sample=sample, patch=_unanswered(self.context, sample))
        answer = completion.response or ""
        applied = await asyncio.to_thread(apply_answer, self.context.view.environment, answer)
        patch = _row(self.context, sample, applied)
        if self.smoke is None or patch.status is not PatchStatus.APPLIED:
            return Tried(sample=sample, patch=patch)
        failed = await self.smoke.failure(patch, ordinal=self._place(sample))
        if failed is None:
            return Tried(sample=sample, patch=patch)
        patch = replace(
            patch, status=PatchStatus.FAILED, tree=None, blame=failed.blame, reason=failed.reason
        )
        return Tried(sample=sample, patch=patch, log_tail=failed.log_tail)

    def _place(self, sample: Sample) -> int:
        """Place of a sample among all that the attempt may ask for."""
        settings = self.context.view.settings
        asked = self.idea.ordinal * settings.samples + sample.ordinal
        return asked * (settings.revisions + 1) + sample.revision

    async def _repair(self, tried: Tried) -> Sample:
        sample = tried.sample
        failure = FailedTry(
            answer=sample.completion.response or "",
            reason=tried.patch.reason or "",
            log_tail=tried.log_tail,
        )
        self.asking.total += 1
        return await self._ask(sample.ordinal, sample.revision + 1, (*sample.failures, failure))

    async def _ask(self, ordinal: int, revision: int, failures: tuple[FailedTry, ...]) -> Sample:
        context, idea = self.context, self.idea
        request = PatchRequest(
            environment=context.view.brief,
            title=idea.title,
            text=idea.text,
            edits=idea.edits,
            failures=failures,
            seed=context.view.seed("patches", idea.ordinal, ordinal),
        )
        completion = await self.asking.complete(
            context.models.implementer.implement(request),
            role="implementer",
            ordinal=idea.ordinal * context.view.settings.samples + ordinal,
            revision=revision,
            group=idea.idea_id,
        )
        return Sample(
            idea=idea,
            ordinal=ordinal,
            revision=revision,
            completion=completion,
            failures=failures,
        )


def _may_help(tried: Tried) -> bool:
    """Whether asking again may help: not where the model declined, or no answer came at all."""
    return tried.sample.completion.finish_reason not in (Finish.REFUSAL, Finish.ERROR)


def _baseline(context: Context, idea: Idea) -> Patch:
    return Patch(
        **context.view.keys,
        patch_id=patch_id(idea_id=idea.idea_id, n=context.view.n, ordinal=0, revision=0, diff=""),
        idea_id=idea.idea_id,
        ordinal=0,
        revision=0,
        format=Form.NONE.value,
        diff="",
        base_tree=context.view.environment.tree,
        tree=context.view.environment.tree,
        status=PatchStatus.APPLIED,
    )


def _row(context: Context, sample: Sample, applied: Applied) -> Patch:
    idea, failed = sample.idea, applied.tree is None
    return Patch(
        **context.view.keys,
        patch_id=patch_id(
            idea_id=idea.idea_id,
            n=context.view.n,
            ordinal=sample.ordinal,
            revision=sample.revision,
            diff=applied.diff,
        ),
        idea_id=idea.idea_id,
        ordinal=sample.ordinal,
        revision=sample.revision,
        format=applied.form.value,
        diff=applied.diff,
        base_tree=context.view.environment.tree,
        tree=applied.tree,
        repairs=applied.repairs,
        status=PatchStatus.FAILED if failed else PatchStatus.APPLIED,
        blame=Blame.PATCH if failed else None,
        reason=applied.reason,
        completion_id=sample.completion.completion_id,
    )


def _unanswered(context: Context, sample: Sample) -> Patch:
    """The row of a call that gave nothing to try: refused, cut off, empty, or no answer at all."""
    completion = sample.completion
    said = completion.reason or f"the answer ended with {completion.finish_reason}"
    row = _row(context, sample, _not_applied(completion, said))
    return replace(row, blame=completion.blame)


def _untried(context: Context, sample: Sample) -> Patch:
    said = "another try of the idea was taken before this one was looked at"
    row = _row(context, sample, _not_applied(sample.completion, said))
    return replace(row, status=PatchStatus.UNTRIED, blame=sample.completion.blame)


def _not_applied(completion: Completion, reason: str) -> Applied:
    return Applied(form=Form.NONE, diff=kept(completion.response or ""), reason=reason)
