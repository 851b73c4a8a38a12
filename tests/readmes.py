"""The READMEs of the project, taken apart: code blocks, code spans, links, headings, tables."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from conftest import PROJECT

ROOMS = ("assets", "environments", "lake", "launchers", "tests")
TOP_LEVEL = {path.name for path in PROJECT.iterdir() if not path.name.startswith(".")}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One README."""

    path: Path

    @property
    def name(self) -> str:
        """The path from the project's top."""
        return self.path.relative_to(PROJECT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        return FENCED.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The content of each code block of a language."""
        return [content for kind, content in FENCED.findall(self.text) if kind == language]

    @cached_property
    def shell(self) -> list[str]:
        """Command lines, those that go on after a backslash joined."""
        joined = "".join(self.blocks("sh")).replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines()]

    @cached_property
    def printed(self) -> list[str]:
        """Lines of what commands print, and of drawings."""
        return [line.strip() for block in self.blocks("text") for line in block.splitlines()]

    @cached_property
    def spans(self) -> list[str]:
        """What stands in code marks in running text."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @cached_property
    def links(self) -> list[str]:
        """Targets within the project, with their anchors."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if not re.match(r"\w+:", target)]

    @cached_property
    def anchors(self) -> set[str]:
        """How a code host calls the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        bare = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
        return {words.strip().replace(" ", "-") for words in bare}

    def target(self, link: str) -> Path:
        """The file or folder that a link leads to."""
        path = link.partition("#")[0]
        return (self.path.parent / path).resolve() if path else self.path

    def varve_calls(self) -> Iterator[list[str]]:
        """The arguments of each `varve` command line, in code blocks and in running text."""
        for line in (*self.shell, *self.printed, *self.spans):
            if "varve " not in line:
                continue
            words = shlex.split(line)
            while "=" in words[0]:
                words.pop(0)
            if words[0] in ("varve", ".venv/bin/varve"):
                yield words[1:]

    def named_paths(self) -> Iterator[str]:
        """Paths from the project's top."""
        for text in (*self.spans, *(word for line in self.shell for word in line.split())):
            if re.fullmatch(r"[\w./-]+", text) and text.split("/")[0] in TOP_LEVEL:
                yield text

    def tables(self, heading: str) -> list[list[list[str]]]:
        """The cells of each table that has this heading line, code marks and comments taken off."""
        parts = self.text.split(heading + "\n")[1:]
        assert parts, f"{self.name}: no table {heading}"
        return [list(_rows(part)) for part in parts]

    def table(self, heading: str) -> list[list[str]]:
        """The cells of the one table that has this heading line."""
        (rows,) = self.tables(heading)
        return rows


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines()[1:]:
        if not line.startswith("|"):
            return
        bare = re.sub(r"<!--.*?-->|`", "", line)
        yield [cell.strip() for cell in bare.strip("|").split("|")]


def _found() -> Iterator[Page]:
    for room in ROOMS:
        for path in sorted((PROJECT / room).rglob("README.md")):
            yield Page(path=path)


README = Page(path=PROJECT / "README.md")
PAGES = (README, *_found())


def page(name: str) -> Page:
    """The README of a room."""
    (found,) = [each for each in PAGES if each.name == f"{name}/README.md"]
    return found
