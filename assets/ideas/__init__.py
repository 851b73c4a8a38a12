"""Ideas: what is tried in an epoch. One row per idea, those too similar to another one included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from assets.attempt.asking import Asking, ask, no_answer
from assets.attempt.context import Context, Produced
from assets.ideas.novelty import too_similar
from assets.ideas.turns import share_out
from assets.models.requests import FailedTry, Finish, IdeaRequest, KnownIdea, Model, Proposal
from assets.results.scored import Scored
from lake.ids import idea_id
from lake.tables import (
    Blame,
    Completion,
    Idea,
    IdeaKind,
    IdeaStatus,
    Selection,
    SelectionRole,
    Stage,
)

Chosen = tuple[SelectionRole, KnownIdea]

BASELINE_TITLE = "Baseline"
BASELINE_TEXT = "The environment as it is, unpatched: what every other idea is measured against."
NOT_ITS_FAULT = "not tried, for reasons of the machine that say nothing of the idea"
MOST_FAILURES = 2
"""Answers of one call that may be refused, cut off or unreadable before it is given up."""


def produce(context: Context) -> Produced:
    """Ask the ideators for the epoch's ideas; the first epoch begins with the baseline."""
    rows = ask(context, context.models.ideators, lambda asking: _propose(asking, context))
    kept = [row for row in rows if row.status is IdeaStatus.PROPOSED]
    counts = {kind.value: sum(row.kind is kind for row in kept) for kind in IdeaKind}
    counts["rejected"] = len(rows) - len(kept)
    baselines = counts[IdeaKind.BASELINE.value]
    counts["missing"] = max(0, context.view.settings.batch - len(kept) + baselines)
    return Produced(rows=rows, counts={k: v for k, v in counts.items() if v})


async def _propose(asking: Asking, context: Context) -> list[Idea]:
    """Call by call, as many at once as the strategy says: each is told of the ideas before it."""
    past = [_known(scored) for scored in context.view.history.before(context.view.epoch)]
    epoch = _Epoch(context=context, chosen=_chosen(context), past=past)
    parents = sum(role is SelectionRole.PARENT for role, _ in epoch.chosen)
    calls = context.view.strategy.calls(
        epoch=context.view.epoch, batch=context.view.settings.batch, parents=parents
    )
    asking.total = len(calls)
    weights = [ideator.weight for ideator in context.view.settings.ideators]
    turns = share_out(weights, context.view.epoch * len(calls), len(calls))
    models = [context.models.ideators[turn] for turn in turns]
    wanted = [
        _Wanted(model=model, kind=kind, count=count, number=number)
        for number, (model, (kind, count)) in enumerate(zip(models, calls, strict=True))
    ]
    at_once = context.view.strategy.calls_at_once
    for start in range(0, len(wanted), at_once):
        group = wanted[start : start + at_once]
        requests = [_request(epoch, one.kind, one.count, one.number) for one in group]
        asked = [one.ask(asking, request, 0) for one, request in zip(group, requests, strict=True)]
        for one, request, first in zip(group, requests, await asking.all(asked), strict=True):
            await _take_all(asking, epoch, one, request, first)
    return epoch.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What one call of an ideator is to give."""

    model: Model
    kind: IdeaKind
    count: int
    number: int
    """Place of the call in the epoch."""

    async def ask(self, asking: Asking, request: IdeaRequest, revision: int) -> Completion:
        """One answer, stored or fresh."""
        return await asking.complete(
            self.model.propose(request),
            role="ideator",
            ordinal=self.number,
            revision=revision,
            read=self.model.proposals,
        )


@dataclass(slots=True, kw_only=True)
class _Epoch:
    """The epoch's ideas as they come in."""

    context: Context
    chosen: Sequence[Chosen]
    past: Sequence[KnownIdea]
    """Of all earlier epochs."""
    rows: list[Idea] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.context.view.epoch == 0:
            self.rows.append(_baseline(self.context))

    @property
    def proposed(self) -> tuple[KnownIdea, ...]:
        """Ideas of the epoch so far, the rejected ones too: neither is wanted again."""
        return tuple(_unscored(row) for row in self.rows if row.kind is not IdeaKind.BASELINE)

    def take(self, proposal: Proposal, kind: IdeaKind, completion: Completion) -> bool:
        """Makes a row of a proposal; gives whether it is new enough to be tried."""
        twin = None if proposal.edits is not None else self._twin_of(proposal)
        row = _idea(self.context, len(self.rows), kind, proposal, completion.completion_id)
        if twin is not None:
            row = replace(row, status=IdeaStatus.REJECTED, reason=twin)
        self.rows.append(row)
        return twin is None

    def _twin_of(self, proposal: Proposal) -> str | None:
        """Which idea of the campaign a proposal is too similar to, if any, in words."""
        threshold = self.context.view.settings.novelty.threshold
        match = too_similar(proposal, [*self.past, *self.proposed], threshold=threshold)
        if match is None:
            return None
        return (
            f"too like idea {match.known.idea_id} ({match.known.title}): Jaccard similarity "
            f"{match.similarity:.2f} of their words, expected below "
            f"{threshold:g}"
        )


async def _take_all(
    asking: Asking, epoch: _Epoch, wanted: _Wanted, request: IdeaRequest, first: Completion
) -> None:
    """Takes ideas until there are as many new ones as wanted, or it has tried often enough.

    Args:
        asking: the calls of the attempt.
        epoch: takes the ideas.
        wanted: what the call is to give.
        request: what was asked first.
        first: the answer to it.
    """
    tries = epoch.context.view.settings.novelty.tries
    failures, rejections, revision, completion = 0, 0, 0, first
    while True:
        if completion.finish_reason == Finish.ERROR:
            raise no_answer(completion)
        if completion.blame is not None:
            failures += 1
            request = replace(request, failure=_failure(completion))
        else:
            proposals = wanted.model.proposals(completion.response or "")[: request.count]
            new = _take(epoch, wanted, request, proposals, completion)
            if all(proposal.edits is not None for proposal in proposals):
                return  # a catalog that gives fewer has no more
            rejections += 1
            left = request.count - new
            request = replace(request, count=left, avoid=epoch.proposed, failure=None)
        if not request.count or failures == MOST_FAILURES or rejections == tries:
            return
        revision += 1
        completion = await wanted.ask(asking, request, revision)


def _take(
    epoch: _Epoch,
    wanted: _Wanted,
    request: IdeaRequest,
    proposals: Sequence[Proposal],
    completion: Completion,
) -> int:
    """Makes rows of an answer's proposals; gives how many of them are new."""
    shown = {known.label: known.idea_id for known in (*request.parents, *request.context)}
    resolved = [replace(one, parents=_resolve(one.parents, shown)) for one in proposals]
    return sum([epoch.take(one, wanted.kind, completion) for one in resolved])


def _failure(completion: Completion) -> FailedTry:
    return FailedTry(
        answer=completion.response or "", reason=completion.reason or completion.finish_reason
    )


def _resolve(written: Sequence[str], shown: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of parents that an idea names by label or by id; others are left out."""
    ids = {*shown.values()}
    named = (shown.get(name, name) for name in written)
    return tuple(dict.fromkeys(name for name in named if name in ids))


def _request(epoch: _Epoch, kind: IdeaKind, count: int, call: int) -> IdeaRequest:
    context, chosen = epoch.context, epoch.chosen
    return IdeaRequest(
        environment=context.view.brief,
        kind=kind,
        count=count,
        parents=tuple(known for role, known in chosen if role is SelectionRole.PARENT),
        context=tuple(known for role, known in chosen if role is SelectionRole.CONTEXT),
        avoid=epoch.proposed,
        seed=context.view.seed("ideas", call),
    )


def _chosen(context: Context) -> list[Chosen]:
    """The selected ideas, with what was known of them when evolution chose."""
    evolution = context.view.log.get(context.view.chain[Stage.EVOLUTION])
    past = {
        s.idea.idea_id: s
        for s in context.view.history.read_by(evolution.reads if evolution else ())
    }
    return [(row.role, _known(past[row.idea_id])) for row in context.view.rows(Selection)]


def _known(scored: Scored) -> KnownIdea:
    return KnownIdea(
        idea_id=scored.idea.idea_id,
        label=_label(scored.idea),
        title=scored.idea.title,
        text=scored.idea.text,
        edits=scored.idea.edits,
        value=scored.value,
        reason=NOT_ITS_FAULT if scored.blame is Blame.INFRASTRUCTURE else scored.reason,
    )


def _unscored(row: Idea) -> KnownIdea:
    return KnownIdea(
        idea_id=row.idea_id,
        label=_label(row),
        title=row.title,
        text=row.text,
        edits=row.edits,
        value=None,
        reason="proposed in this epoch",
    )


def _label(idea: Idea) -> str:
    return f"e{idea.epoch}i{idea.ordinal}"


def _baseline(context: Context) -> Idea:
    proposal = Proposal(title=BASELINE_TITLE, text=BASELINE_TEXT, edits=())
    return _idea(context, 0, IdeaKind.BASELINE, proposal, None)


def _idea(
    context: Context, ordinal: int, kind: IdeaKind, proposal: Proposal, completion: str | None
) -> Idea:
    identity = idea_id(
        **context.view.keys,
        ordinal=ordinal,
        kind=kind,
        text=proposal.text,
        parents=proposal.parents,
    )
    return Idea(
        **context.view.keys,
        idea_id=identity,
        ordinal=ordinal,
        kind=kind,
        title=proposal.title,
        text=proposal.text,
        parents=proposal.parents,
        edits=proposal.edits,
        completion_id=completion,
    )
