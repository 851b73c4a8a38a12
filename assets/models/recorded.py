"""The recorded model: a campaign repeated from its own completions, without asking anybody.

A call is identified by its place: epoch, stage, role, ordinal and revision. What is asked now is
compared with what was asked then; a difference is written into the new completion's `reason`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assets.errors import ProviderError
from assets.models.requests import (
    Answer,
    Call,
    Finish,
    IdeaRequest,
    Model,
    PatchRequest,
    Place,
    Proposal,
    Usage,
)
from lake.tables import Completion, Stage

Spot = tuple[int, Stage, str, int, int]
"""Epoch, stage, role, ordinal, revision."""
DIFFERS = "what is asked differs from what was asked when this answer was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a campaign's models said in its current attempts."""

    campaign: str
    completions: Mapping[Spot, Completion]


class Recorded:
    """Answers from a recording; another model still writes the requests and reads the answers."""

    at_once = 64

    def __init__(self, inner: Model, load: Callable[[], Recording]) -> None:
        """Take the model that was recorded, and what reads the recording when it is needed."""
        self.inner = inner
        self.load = load
        self._recording: Recording | None = None

    @property
    def name(self) -> str:
        """Of the model that was recorded."""
        return self.inner.name

    def propose(self, request: IdeaRequest) -> Call:
        """The request as the inner model writes it, answered from the recording."""
        return self._from_record(self.inner.propose(request))

    def implement(self, request: PatchRequest) -> Call:
        """The request as the inner model writes it, answered from the recording."""
        return self._from_record(self.inner.implement(request))

    def proposals(self, response: str) -> tuple[Proposal, ...]:
        """As the inner model reads them."""
        return self.inner.proposals(response)

    def halt(self) -> None:
        """Nothing waits."""

    async def close(self) -> None:
        """Nothing is open."""

    def _from_record(self, call: Call) -> Call:
        async def send(place: Place) -> Answer:
            return answer_of(self._find(place), call)

        return Call(request=call.request, prefix=call.prefix, send=send)

    def _find(self, place: Place) -> Completion:
        self._recording = self._recording or self.load()
        recording = self._recording
        spot = (place.epoch, place.stage, place.role, place.ordinal, place.revision)
        found = recording.completions.get(spot)
        if found is None:
            raise ProviderError(
                f"campaign {recording.campaign} has no recorded completion for epoch "
                f"{place.epoch:04d}, {place.stage}, {place.role} {place.ordinal}, revision "
                f"{place.revision}. Expected the settings under which it was recorded: compare "
                "batch, ideas_per_call, diffs, revisions and the seed of both campaigns"
            )
        return found


def answer_of(completion: Completion, call: Call) -> Answer:
    """A recorded answer, given again; it costs nothing."""
    same = (completion.request, completion.prefix) == (call.request, call.prefix)
    return Answer(
        model=completion.model,
        response=completion.response or "",
        finish=Finish(completion.finish_reason),
        reason="; ".join(filter(None, [completion.reason, None if same else DIFFERS])) or None,
        thinking=completion.thinking,
        usage=Usage(
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cached_tokens=completion.cached_tokens,
            written_tokens=completion.written_tokens,
        ),
        tries=0,
    )
