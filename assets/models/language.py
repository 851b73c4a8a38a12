"""A language model as ideator and implementer: requests become prompts, answers become proposals.

It knows nothing of its provider but how to send a prompt, and keeps no state of its own.
"""

from assets.models.prompts import ideator_prompt, implementer_prompt
from assets.models.proposals import read_ideas
from assets.models.providers.provider import Prompt, Provider
from assets.models.requests import Answer, Call, IdeaRequest, PatchRequest, Place, Proposal


class LanguageModel:
    """Proposes and implements by asking one model of one provider."""

    def __init__(
        self, provider: Provider, *, name: str, at_once: int = 1, options: str | None = None
    ) -> None:
        """Stands for one model.

        Args:
            provider: who is asked.
            name: what the model is called in `Answer.model`.
            at_once: most calls that it is asked at the same time.
            options: JSON of how it is asked, kept with each call.
        """
        self.provider = provider
        self.name = name
        self.at_once = at_once
        self.options = options

    def propose(self, request: IdeaRequest) -> Call:
        """Ask for ideas; an answer may still hold more or fewer than `request.count`."""
        return self._call(ideator_prompt(request))

    def proposals(self, response: str) -> tuple[Proposal, ...]:
        """All ideas in an answer, in its order; a parent is a label such as `e3i17`.

        Raises:
            AnswerError: if there are none that can be read.
        """
        return read_ideas(response)

    def implement(self, request: PatchRequest) -> Call:
        """Ask for a patch, or for a better one after failures."""
        return self._call(implementer_prompt(request))

    def _call(self, prompt: Prompt) -> Call:
        async def send(place: Place) -> Answer:
            return await self.provider.send(prompt, key=place.key)

        return Call(request=prompt.as_json(), prefix=prompt.prefix, send=send, options=self.options)

    def halt(self) -> None:
        """Begin no new try."""
        self.provider.halt()

    async def close(self) -> None:
        """End the provider's connections."""
        await self.provider.close()
