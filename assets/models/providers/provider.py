"""What a language model is asked through its provider's interface, whoever the provider is."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from assets.models.requests import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that ends with a user's turn.

    The order is that of the providers' caches: what changes least comes first. `system` and
    `prefix` are the same bytes in all calls of a role, and the cache may end after the prefix.
    """

    system: str
    prefix: str
    """Goes before the first turn, in the same user's message."""
    turns: tuple[Turn, ...]
    """The user's and the assistant's in turn, the user's first and last."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, for providers that can enforce one."""

    def as_json(self) -> str:
        """All of it but the prefix."""
        parts = asdict(self)
        del parts["prefix"]
        return json.dumps(parts, ensure_ascii=False)


class Provider(Protocol):
    """A client of one model at one provider, for one event loop."""

    async def send(self, prompt: Prompt, *, key: str) -> Answer:
        """Ask, and ask again while that may help.

        Args:
            prompt: what is asked.
            key: of the call; equal for repetitions of the same call, also by another process.

        Returns:
            An answer, or `Finish.ERROR` with the reason where none came.

        Raises:
            ProviderError: no call can succeed as things are.
        """
        ...

    def halt(self) -> None:
        """Begin no new try: calls that wait end with Interrupted, those in flight go on."""
        ...

    async def close(self) -> None:
        """End its connections."""
        ...
