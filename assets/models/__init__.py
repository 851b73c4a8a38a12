"""The seam to the models that propose ideas and write patches.

Requests are structured: a language model renders them into a prompt, `catalog` reads them. Every
call gives one completion, which is stored before its result is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lake.tables import IdeaKind


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentBrief:
    """What a model is told of the environment."""

    name: str
    summary: str
    metric: str
    direction: str
    """minimize or maximize."""
    editable: tuple[str, ...]
    """Paths that a patch may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdea:
    """An idea of the past, as a model is shown it."""

    idea_id: str
    title: str
    text: str
    edits: tuple[str, ...] | None
    value: float | None
    """None for an idea that has no score; `reason` says why."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdeaRequest:
    """What one call of the ideator is asked for."""

    environment: EnvironmentBrief
    kind: IdeaKind
    count: int
    parents: tuple[KnownIdea, ...] = ()
    """Best first; exploitation varies them."""
    context: tuple[KnownIdea, ...] = ()
    """Tried before; exploration keeps away from them."""
    avoid: tuple[KnownIdea, ...] = ()
    """Ideas of the same epoch so far."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An idea as it was proposed, before it has a place in the lake."""

    title: str
    text: str
    parents: tuple[str, ...] = ()
    edits: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRequest:
    """What one call of the implementer is asked for."""

    environment: EnvironmentBrief
    title: str
    text: str
    edits: tuple[str, ...] | None
    files: Mapping[str, str]
    """The editable files."""
    reason: str | None = None
    """Why the previous try failed."""
    log_tail: str | None = None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from one call."""

    model: str
    response: str
    finish_reason: str = "stop"


class Model(Protocol):
    """Who answers."""

    def propose(self, request: IdeaRequest) -> Answer:
        """Give up to `request.count` ideas."""
        ...

    def drafts(self, answer: Answer) -> tuple[Draft, ...]:
        """The ideas in an answer to `propose`, fresh or stored."""
        ...

    def implement(self, request: PatchRequest) -> Answer:
        """Give a patch as SEARCH/REPLACE blocks, or as one unified diff."""
        ...
