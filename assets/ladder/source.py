"""A file as lines; what ends them is kept aside, so that no answer has to get it right."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.errors import PatchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The lines of a file without their ends."""

    lines: tuple[str, ...]
    crlf: bool = False
    """Every line ends with a carriage return too; where only some do, it is part of the line."""
    closed: bool = True
    """The last line ends with a line feed."""

    @property
    def text(self) -> str:
        """The file's content."""
        end = "\r\n" if self.crlf else "\n"
        return end.join(self.lines) + (end if self.closed and self.lines else "")


def read_source(path: str, content: bytes) -> Source:
    """Take a file apart.

    Raises:
        PatchError: the file is not text.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PatchError(
            f"{path}: is not UTF-8, so only a diff that fits exactly can change it"
        ) from error
    if not text:
        return Source(lines=())
    crlf = text.count("\r\n") == text.count("\n") > 0
    text = text.replace("\r\n", "\n") if crlf else text
    body = text.removesuffix("\n")
    return Source(lines=tuple(body.split("\n")), crlf=crlf, closed=body != text)


def indentation(line: str) -> str:
    """The blanks and tabs that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def least_indentation(lines: Sequence[str]) -> int:
    """The fewest characters that a line with text is indented by; 0 where there is none."""
    return min((len(indentation(line)) for line in lines if line.strip()), default=0)
