"""Sandbox levels that are named by a tag of a Dagster run: sealed at launch, checked in the worker.

What the token and the permits are is told in `assets.config.permit`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from graphql import GraphQLError, GraphQLResolveInfo

from assets.config.permit import TOKEN_TAG, is_permit, is_token, new_permit, ui_token
from assets.config.sandbox import LEVEL_TAG

PARENT_BACKFILL_TAG = "dagster/parent_backfill_id"
WRONG_TOKEN = (
    f"varve ui: tag {TOKEN_TAG}: found another value than the token that this `varve ui` printed "
    "when it started, expected that token; a run that is launched again needs it again"
)
NO_LEVEL = (
    f"varve ui: tag {TOKEN_TAG}: found without {LEVEL_TAG}, expected both; add the tag "
    f"{LEVEL_TAG} with the level that is wanted"
)


class Sealing:
    """GraphQL middleware: no token goes further than here, and no permit comes from outside."""

    def __init__(self, token: str) -> None:
        self._token = token

    def resolve(
        self,
        resolver: Callable[..., object],
        root: object,
        info: GraphQLResolveInfo,
        **arguments: object,
    ) -> object:
        """Resolve a field; of a mutation, with every token replaced by a permit.

        Raises:
            GraphQLError: a mutation holds another value in the token's place.
        """
        if info.parent_type is info.schema.mutation_type:
            for tags in _tag_lists(arguments):
                self._seal(tags, info)
        return resolver(root, info, **arguments)

    def _seal(self, tags: Sequence[Any], info: GraphQLResolveInfo) -> None:
        levels = [tag["value"] for tag in tags if tag["key"] == LEVEL_TAG]
        for tag in tags:
            if tag["key"] != TOKEN_TAG:
                continue
            if not is_token(tag["value"], self._token):
                raise GraphQLError(WRONG_TOKEN, path=info.path.as_list())
            if not levels:
                raise GraphQLError(NO_LEVEL, path=info.path.as_list())
            tag["value"] = tag.value = new_permit(self._token, levels[-1])


def _tag_lists(argument: object) -> Iterator[Sequence[Any]]:
    """Every list of tags in the arguments of a field, at any depth."""
    if isinstance(argument, Mapping):
        for value in argument.values():
            yield from _tag_lists(value)
    elif isinstance(argument, list):
        if all(isinstance(each, dict) and {"key", "value"} <= each.keys() for each in argument):
            yield argument
        for each in argument:
            yield from _tag_lists(each)


def is_permitted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the level that a run's tag names was permitted, and for this very launch."""
    level, given, token = run.tags.get(LEVEL_TAG), run.tags.get(TOKEN_TAG), ui_token()
    if level is None or given is None or token is None or not is_permit(given, token, level):
        return False
    return all(tags is not None and tags.get(TOKEN_TAG) != given for tags in _before(instance, run))


def _before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[Mapping[str, str] | None]:
    """Tags of the run or backfill that a run repeats, which Dagster copies; None if deleted."""
    if run.parent_run_id is not None:
        parent = instance.get_run_by_id(run.parent_run_id)
        yield parent.tags if parent else None
    if PARENT_BACKFILL_TAG in run.tags:
        backfill = instance.get_backfill(run.tags[PARENT_BACKFILL_TAG])
        yield backfill.tags if backfill else None
