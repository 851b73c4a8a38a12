"""The seam to the models that propose ideas and write patches.

Requests are structured: a language model renders them into a prompt, `catalog` reads them. A
request becomes a `Call`, which knows what is stored of the question before it is sent. Every call
gives one completion, which is stored before its answer is used.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lake.tables import IdeaKind, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentBrief:
    """What a model is told about the environment; all of it is in its manifest and its files."""

    name: str
    summary: str
    metric: str
    direction: str
    """minimize or maximize."""
    editable: tuple[str, ...]
    """Globs of paths that a patch may change."""
    files: Mapping[str, str]
    """Path -> text of the files that a model is shown: the editable ones."""
    frozen: tuple[str, ...] = ()
    """Paths that no patch may change, scoring files included."""
    profile: str = ""
    """The size that is run, as the command line of training names it."""
    budget: str = ""
    """What a run may cost, in a sentence."""
    baseline: str = ""
    """What the unpatched environment reaches, in a sentence; empty where it was never measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdea:
    """An idea of the past, as a model is shown it."""

    idea_id: str
    label: str
    """Its place, as `e3i17`: short to copy, and the same where a campaign is repeated under another
    name, which an id is not."""
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
    failure: "FailedTry | None" = None
    """An answer to this very request that could not be read."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An idea as it was proposed, before it has a place in the lake."""

    title: str
    text: str
    parents: tuple[str, ...] = ()
    edits: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTry:
    """An earlier answer to the same request, and what became of it."""

    answer: str
    reason: str
    """Exact, in a sentence or more."""
    log_tail: str | None = None
    """The end of what a run of it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRequest:
    """What one call of the implementer is asked for."""

    environment: EnvironmentBrief
    title: str
    text: str
    edits: tuple[str, ...] | None
    failures: tuple[FailedTry, ...] = ()
    """Of the same sample, oldest first; empty for a first try."""
    seed: int


class Finish(StrEnum):
    """How a call ended."""

    STOP = "stop"
    """The model said all that it wanted to say."""
    LENGTH = "length"
    """Cut off at the limit of tokens that it may write."""
    REFUSAL = "refusal"
    """The model, or a filter before it, declined."""
    EMPTY = "empty"
    """It ended well and said nothing."""
    ERROR = "error"
    """No answer came after all tries; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call; None where the provider does not count them."""

    input_tokens: int | None = None
    """All of the prompt, cached parts included."""
    output_tokens: int | None = None
    """All that was written, thinking included."""
    cached_tokens: int | None = None
    """Of the prompt: read from the provider's cache."""
    written_tokens: int | None = None
    """Of the prompt: written to the provider's cache, where that costs extra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from one call."""

    model: str
    """As `provider/model`, for example `catalog/nanogpt`."""
    response: str
    """Empty where there is none."""
    finish: Finish = Finish.STOP
    reason: str | None = None
    """Why it did not end with STOP; never holds a key."""
    thinking: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    """None if nobody sends a bill or the price is not known."""
    price: str | None = None
    """JSON of the row of the price table that the cost rests on."""
    latency_seconds: float | None = None
    """From the first try to the end of the answer."""
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a campaign a call stands: the same in every repetition of it, but for the key."""

    epoch: int
    stage: Stage
    role: str
    """ideator or implementer."""
    ordinal: int
    revision: int
    key: str
    """Its completion_id; sent as the idempotency key, so that a repeated call is seen as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A question that is ready to be sent."""

    request: str
    """JSON of all that is asked but for the prefix; stored, and compared by the recorded model."""
    prefix: str | None
    """What all calls of a campaign begin with, word for word: the environment and its code."""
    send: Callable[[Place], Awaitable[Answer]]
    options: str | None = None
    """JSON of how it is asked: address, protocol, sampling options; never a key."""


class Model(Protocol):
    """Who answers."""

    @property
    def name(self) -> str:
        """As it stands in `Answer.model`."""
        ...

    @property
    def at_once(self) -> int:
        """Most calls that it is asked at the same time."""
        ...

    def propose(self, request: IdeaRequest) -> Call:
        """Ask for up to `request.count` ideas."""
        ...

    def proposals(self, response: str) -> tuple[Proposal, ...]:
        """The ideas in an answer to `propose`, fresh or stored.

        Raises:
            AnswerError: if there are none that can be read.
        """
        ...

    def implement(self, request: PatchRequest) -> Call:
        """Ask for a patch as SEARCH/REPLACE blocks, one unified diff, or whole files."""
        ...

    def halt(self) -> None:
        """Begin no new try: calls that wait end with Interrupted, those in flight go on."""
        ...

    async def close(self) -> None:
        """Close its connections; a later call opens new ones."""
        ...
