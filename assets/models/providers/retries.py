"""What may go wrong with one try of a call, and what is done about it.

The loop over the tries is in `client.py`, and is our own: of tenacity or stamina it would use the
loop alone (ten lines), since the wait follows the provider's header, the slot is given back
meanwhile, and the last failure is a value to be recorded and not an exception. The SDKs' own
retries are off: they would hide how often a call was sent.
"""

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from assets.models.providers.body import text_at
from assets.quoting import one_line

WORDS_CHARACTERS = 400
"""Most characters of a provider's message that are quoted."""
AGAIN = {408, 409, 425, 429}
"""Statuses below 500 of a provider that may answer later."""
BUSY = {429, 503, 529}
"""With a retry-after, these are about the model and not about this call."""
NO_SUCH_CALL = {401, 402, 403, 404, 405}
"""Statuses that every call would get."""
HOPELESS = (
    "insufficient_quota",
    "billing_error",
    "billing_hard_limit",
    "credit balance is too low",
)
"""Said with several statuses, 429 among them; no try helps."""
FILTERS = {"content_filter", "content_policy_violation", "invalid_prompt"}
"""Codes of a 400 that came from a filter before the model."""
SCHEMA_WORDS = ("schema", "output_config", "output_format", "response_format", "text.format")
LONGEST_WAIT_SECONDS = 600.0
"""A provider that asks for a longer wait will not answer this command."""


class Then(Enum):
    """What follows from a failed try."""

    AGAIN = auto()
    """The same request may be answered later."""
    REJECTED = auto()
    """This request never will."""
    REFUSED = auto()
    """A filter before the model declined."""
    HOPELESS = auto()
    """No request will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a try gave no answer."""

    reason: str
    then: Then = Then.AGAIN
    status: int | None = None
    wait_seconds: float | None = None
    """What the provider asked for."""
    busy: bool = False
    """The wait holds for all calls of the model."""
    names_schema: bool = False
    """The provider does not take this schema, or takes none at all."""


Hide = Callable[[str], str]
"""Takes the key out of a text; done before the text is cut, as half a key is a key too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next try: anything up to a ceiling that doubles (full jitter)."""

    first_seconds: float = 1.0
    most_seconds: float = 60.0

    def wait(self, tries: int, asked: float | None) -> float:
        """Seconds until the next try.

        Args:
            tries: failed so far, from 1.
            asked: seconds that the provider asked for; they are kept, with jitter on top.
        """
        if asked is not None:
            return asked + random.uniform(0, self.first_seconds)
        return random.uniform(0, min(self.most_seconds, self.first_seconds * 2.0 ** (tries - 1)))


def fault_of_status(status: int, headers: Mapping[str, str], body: str, hide: Hide) -> Fault:
    """What a response that is no answer means."""
    kind, code, words = _read_error(body)
    words = quoted_words(hide(words))
    reason = f"status {status}" + (f": {words}" if words else "")
    wait = wait_of(headers)
    then = _then(status, {kind, code}, body)
    if then is Then.AGAIN and wait is not None and wait > LONGEST_WAIT_SECONDS:
        reason, then = f"{reason} (asks to wait {wait:.0f} s)", Then.HOPELESS
    return Fault(
        reason=reason,
        then=then,
        status=status,
        wait_seconds=wait,
        busy=status in BUSY and wait is not None,
        names_schema=status in {400, 422} and any(word in body.lower() for word in SCHEMA_WORDS),
    )


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait: retry-after-ms, or retry-after as seconds or a date."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    after = headers.get("retry-after")
    return _seconds(after) if _seconds(after) is not None else _until(after)


def quoted_words(text: str) -> str:
    """A provider's words on one line, hidden characters shown, cut to a bounded length."""
    return one_line(text[: 8 * WORDS_CHARACTERS], limit=WORDS_CHARACTERS)


def _then(status: int, codes: set[str], body: str) -> Then:
    if status < 400 or status in NO_SUCH_CALL or "model_not_found" in codes:
        return Then.HOPELESS
    if status < 500 and any(word in body.lower() for word in HOPELESS):
        return Then.HOPELESS
    if status >= 500 or status in AGAIN:
        return Then.AGAIN
    return Then.REFUSED if codes & FILTERS else Then.REJECTED


def _read_error(body: str) -> tuple[str, str, str]:
    """Type, code and words of an error body; all of it as words if it is not JSON."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", body
    words = (
        text_at(found, "error", "message") or text_at(found, "message") or text_at(found, "error")
    )
    kind, code = text_at(found, "error", "type"), text_at(found, "error", "code")
    return kind, code or text_at(found, "code"), words or body


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(value: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
