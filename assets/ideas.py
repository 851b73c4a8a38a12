"""Ideas: what is tried in an epoch. One row per idea."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from assets.completions import complete_once
from assets.history import Scored
from assets.models import Answer, Draft, IdeaRequest, KnownIdea
from assets.schedule import schedule
from assets.stage import Context, Produced
from lake.ids import idea_id
from lake.tables import Completion, Idea, IdeaKind, Selection, SelectionRole, Stage

Chosen = tuple[SelectionRole, KnownIdea]

BASELINE_TITLE = "Baseline"
BASELINE_TEXT = "The environment as it is, unpatched: what every other idea is measured against."


def split_calls(
    plan: Sequence[tuple[IdeaKind, int]], *, per_call: int
) -> list[tuple[IdeaKind, int]]:
    """Cut the plan into calls of at most `per_call` ideas, in order."""
    return [
        (kind, min(per_call, count - start))
        for kind, count in plan
        for start in range(0, count, per_call)
    ]


def produce(context: Context) -> Produced:
    """Ask the ideator for the epoch's ideas, call by call; the first epoch begins with the baseline."""
    rows = [_baseline(context)] if context.epoch == 0 else []
    chosen = _chosen(context)
    per_call = context.settings.strategy.ideas_per_call
    for call, (kind, count) in enumerate(split_calls(_plan(context, chosen), per_call=per_call)):
        request = _request(context, kind, count, call, chosen, rows)
        completion = _ask(context, call, request)
        answer = Answer(model=completion.model, response=completion.response or "[]")
        for draft in context.ideator.drafts(answer):
            rows.append(_idea(context, len(rows), kind, draft, completion.completion_id))
    counted = {kind.value: sum(row.kind is kind for row in rows) for kind in IdeaKind}
    return Produced(rows=rows, counts={k: v for k, v in counted.items() if v})


def _plan(context: Context, chosen: Sequence[Chosen]) -> list[tuple[IdeaKind, int]]:
    plan = schedule(
        context.settings.strategy,
        epoch=context.epoch,
        batch=context.settings.batch,
        parents=sum(role is SelectionRole.PARENT for role, _ in chosen),
    )
    return [
        (IdeaKind.FRESH, plan.fresh),
        (IdeaKind.EXPLOIT, plan.exploit),
        (IdeaKind.EXPLORE, plan.explore),
    ]


def _request(
    context: Context,
    kind: IdeaKind,
    count: int,
    call: int,
    chosen: Sequence[Chosen],
    rows: Sequence[Idea],
) -> IdeaRequest:
    same_epoch = tuple(_unscored(row) for row in rows if row.kind is not IdeaKind.BASELINE)
    return IdeaRequest(
        environment=context.environment.brief,
        kind=kind,
        count=count,
        parents=tuple(known for role, known in chosen if role is SelectionRole.PARENT),
        context=tuple(known for role, known in chosen if role is SelectionRole.CONTEXT),
        avoid=same_epoch,
        seed=context.seed("ideas", call),
    )


def _chosen(context: Context) -> list[Chosen]:
    """The selected ideas, with what was known of them when evolution chose."""
    evolution = context.log.get(context.chain[Stage.EVOLUTION])
    past = {
        s.idea.idea_id: s for s in context.history.read_by(evolution.reads if evolution else ())
    }
    return [
        (row.role, _known(past[row.idea_id]))
        for row in context.upstream(Selection, Stage.EVOLUTION)
    ]


def _known(scored: Scored) -> KnownIdea:
    return KnownIdea(
        idea_id=scored.idea.idea_id,
        title=scored.idea.title,
        text=scored.idea.text,
        edits=scored.idea.edits,
        value=scored.value,
        reason=scored.reason,
    )


def _unscored(row: Idea) -> KnownIdea:
    return KnownIdea(
        idea_id=row.idea_id,
        title=row.title,
        text=row.text,
        edits=row.edits,
        value=None,
        reason="proposed in this epoch",
    )


def _ask(context: Context, call: int, request: IdeaRequest) -> Completion:
    return complete_once(
        context,
        role="ideator",
        ordinal=call,
        request=json.dumps(asdict(request)),
        call=lambda: context.ideator.propose(request),
    )


def _baseline(context: Context) -> Idea:
    draft = Draft(title=BASELINE_TITLE, text=BASELINE_TEXT, edits=())
    return _idea(context, 0, IdeaKind.BASELINE, draft, None)


def _idea(
    context: Context, ordinal: int, kind: IdeaKind, draft: Draft, completion: str | None
) -> Idea:
    identity = idea_id(
        **context.keys, ordinal=ordinal, kind=kind, text=draft.text, parents=draft.parents
    )
    return Idea(
        **context.keys,
        idea_id=identity,
        ordinal=ordinal,
        kind=kind,
        title=draft.title,
        text=draft.text,
        parents=draft.parents,
        edits=draft.edits,
        completion_id=completion,
    )
