"""Keys of providers: read from the environment when a call needs one, and kept out of every text.

A key goes into one header and nowhere else. What a server sends back may hold it all the same (an
error that quotes the request), so every text from a provider goes through `Secret.hide`.
"""

import json
import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from assets.errors import ProviderError

PLACEHOLDER = "none"
"""Sent where no key is needed; without it the SDKs would take their vendor's key instead."""
UNMISTAKABLE = 12
"""No answer holds a key of this length by chance; `EMPTY` is the key of many local servers."""
MASKED = re.compile(r"(?<![^\s\"'])[^\s\"'*]*(?:\*{1,2}[^\s\"'*]+)*\*{3,}[^\s\"']*")
"""What providers show of a wrong key: its ends around stars."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A key and the name of the variable that it came from."""

    variable: str | None
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.variable})"

    def hide(self, text: str) -> str:
        """Text of ours or of an error without the key, plain or as JSON or a URL writes it."""
        return MASKED.sub("[masked key]", self._without(text))

    def hide_in_answer(self, text: str) -> str:
        """The words of a model without the key; a short key may be an ordinary word."""
        return self._without(text) if len(self.value) >= UNMISTAKABLE else text

    def _without(self, text: str) -> str:
        if self.variable is None:
            return text
        for form in _forms(self.value):
            text = text.replace(form, f"[key of {self.variable}]")
        return text


def _forms(value: str) -> tuple[str, ...]:
    escaped = json.dumps(value)[1:-1]
    forms = {value, escaped, escaped.replace("/", "\\/"), quote(value), quote(value, safe="")}
    return tuple(sorted(forms, key=len, reverse=True))


def read_key(variable: str | None) -> Secret:
    """The key in an environment variable; None is for a server that asks for none.

    Raises:
        ProviderError: the variable is not set, or holds what no header can carry.
    """
    if variable is None:
        return Secret(None, PLACEHOLDER)
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ProviderError(
            f"{variable} is not set: expected the provider's key in it. Set it in the environment "
            "of this command and run the command again; what was recorded is kept"
        )
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ProviderError(
            f"{variable} holds characters that no key has: expected printable ASCII without "
            "blanks. Set it again and run the same command; what was recorded is kept"
        )
    return Secret(variable, value)
