"""A file as lines; their endings are kept separately, so that no answer has to get them right."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.errors import PatchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The lines of a file without their endings."""

    lines: tuple[str, ...]
    crlf: bool = False
    """Every line ends with CR LF; if only some do, the CR is part of the line."""
    closed: bool = True
    """The last line ends with a line feed."""

    @property
    def text(self) -> str:
        """The file's content."""
        end = "\r\n" if self.crlf else "\n"
        return end.join(self.lines) + (end if self.closed and self.lines else "")


def read_source(path: str, content: bytes) -> Source:
    """Split a file into lines.

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
    """The spaces and tabs that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def least_indentation(lines: Sequence[str]) -> int:
    """The smallest indentation of a line with text, in characters; 0 if there is no such line."""
    return min((len(indentation(line)) for line in lines if line.strip()), default=0)
