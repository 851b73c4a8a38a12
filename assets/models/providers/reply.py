"""An answer while it comes in, and once it is complete."""

from dataclasses import dataclass, field, replace

from assets.models.requests import Finish, Usage

MOST_BYTES = 1 << 20
"""Of an answer, and of its thinking; what is longer is neither an idea nor a patch."""
CUT = "the answer is longer than 1 MiB; the rest was not read"
REDACTED = "[thinking that the provider redacted]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one try came to."""

    text: str
    thinking: str | None
    finish: Finish
    reason: str | None
    usage: Usage


class TooLongError(Exception):
    """The answer has reached its largest size."""


class Piece:
    """Text that comes in parts."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = MOST_BYTES

    def add(self, part: str) -> None:
        """Add a part.

        Raises:
            TooLongError: there was no room for all of it.
        """
        if not part:
            return
        size = len(part.encode("utf-8", "surrogatepass"))
        if size > self._room:
            part = part.encode("utf-8", "surrogatepass")[: self._room].decode("utf-8", "ignore")
        self._room -= size
        self._parts.append(part)
        if self._room < 0:
            raise TooLongError

    def __bool__(self) -> bool:
        """Whether it has begun."""
        return bool(self._parts)

    def text(self) -> str:
        """All of it as text that can be stored: halves of a character joined, or replaced."""
        return "".join(self._parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(slots=True)
class IncomingReply:
    """Filled by a dialect, event by event or at once."""

    answer: Piece = field(default_factory=Piece)
    thinking: Piece = field(default_factory=Piece)
    refusal: Piece = field(default_factory=Piece)
    usage: Usage = field(default_factory=Usage)
    finish: Finish | None = None
    """None until the provider has said how it ended; from then on the text is whole."""
    reason: str | None = None
    over: bool = False
    """Nothing more is to come, not even counts."""

    def end(self, finish: Finish, reason: str | None = None) -> None:
        """The provider says that it is done."""
        self.finish, self.reason = finish, reason

    def count(self, usage: Usage) -> None:
        """Take in token counts; a later one that is known replaces an earlier one."""
        known = {
            name: value
            for name in ("input_tokens", "output_tokens", "cached_tokens", "written_tokens")
            if (value := getattr(usage, name)) is not None
        }
        self.usage = replace(self.usage, **known)

    def cut(self) -> Reply:
        """What was read of an answer that is too long."""
        self.end(Finish.LENGTH, CUT)
        return self.reply()

    def reply(self) -> Reply:
        """The answer, with its words of refusal as the reason."""
        text, refusal = self.answer.text(), self.refusal.text()
        finish, reason = self.finish or Finish.STOP, self.reason
        if refusal:
            finish, reason = Finish.REFUSAL, refusal
        if finish is Finish.STOP and not text.strip():
            finish, reason = Finish.EMPTY, "the model ended without a word"
        thinking = self.thinking.text() or None
        return Reply(text=text, thinking=thinking, finish=finish, reason=reason, usage=self.usage)
