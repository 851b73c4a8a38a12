"""Evolution: which earlier ideas an epoch starts from. One row per selected idea."""

from assets.attempt.context import Context, Produced
from assets.strategies import Choice
from lake.ids import selection_id
from lake.tables import Selection, SelectionRole


def produce(context: Context) -> Produced:
    """Choose parents and context of the epoch from the scores of all earlier epochs."""
    view = context.view
    choices = view.strategy.select(
        view.history.read_by(view.attempt.reads), view.proof, seed=view.seed("evolution")
    )
    rows = [_row(context, choice, ordinal) for ordinal, choice in enumerate(choices)]
    parents = sum(row.role is SelectionRole.PARENT for row in rows)
    return Produced(rows=rows, counts={"parents": parents, "context": len(rows) - parents})


def _row(context: Context, choice: Choice, ordinal: int) -> Selection:
    keys, idea_id = context.view.keys, choice.scored.idea.idea_id
    return Selection(
        **keys,
        selection_id=selection_id(**keys, role=choice.role, ordinal=ordinal, idea_id=idea_id),
        ordinal=ordinal,
        role=choice.role,
        idea_id=idea_id,
        value=choice.scored.value,
        reason=choice.reason,
    )
