"""Ask a model once: every call is a row before its answer is used, and is never paid for again."""

from collections.abc import Callable

from assets.models import Answer
from assets.stage import Context
from lake.ids import completion_id
from lake.tables import Completion


def complete_once(
    context: Context, *, role: str, ordinal: int, request: str, call: Callable[[], Answer]
) -> Completion:
    """The attempt's completion for (role, ordinal): the stored one, else the answer to `call`.

    Args:
        context: the stage attempt that asks.
        role: ideator or implementer.
        ordinal: place of the call within the attempt.
        request: JSON of what is asked.
        call: does ask; the answer is durable before this function returns.
    """
    identity = completion_id(
        **context.keys, stage=context.stage, role=role, ordinal=ordinal, revision=0
    )
    stored = context.stored_completions.get(identity)
    if stored is not None:
        return stored
    answer = call()
    completion = Completion(
        **context.keys,
        completion_id=identity,
        stage=context.stage,
        role=role,
        ordinal=ordinal,
        model=answer.model,
        request=request,
        response=answer.response,
        finish_reason=answer.finish_reason,
    )
    context.record(completion)
    return completion
