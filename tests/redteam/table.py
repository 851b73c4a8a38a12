"""Makes the table of attacks in README.md beside this file from the corpus.

    python tests/redteam/table.py

Attacks of a family that come to the same and are stopped by the same step share a line.
"""

import sys
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from redteam.corpus import LEVELS, Item, attacks, read_corpus

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- redteam:begin -->", "<!-- redteam:end -->"
HEADING = f"| family | attacks | {' | '.join(LEVELS)} | stopped by |"


def table() -> str:
    """The whole text between the two comments."""
    rows = sorted(attacks(), key=_kind)
    lines = [_line(list(group)) for _, group in groupby(rows, key=_kind)]
    twins = [item for item in read_corpus() if item.honest]
    families = {item.family for item in attacks()}
    return "\n".join(
        [
            f"{len(rows)} attacks in {len(families)} families, and {len(twins)} honest twins. "
            "A verdict in brackets follows from the other levels and is not run.",
            "",
            HEADING,
            f"|{'---|' * (HEADING.count('|') - 1)}",
            *lines,
        ]
    )


def update(text: str) -> str:
    """A README with the table between its two comments.

    Raises:
        ValueError: the comments are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{README}: expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _kind(item: Item) -> tuple[str, ...]:
    """What attacks on one line have in common."""
    return (item.family, *(_verdict(item, level) for level in LEVELS), item.stopped_by)


def _verdict(item: Item, level: str) -> str:
    word = item.verdict[level]
    user = item.user.get(level)
    said = f"{word} as root, {user} as user" if user else word
    return said if level in item.levels else f"({said})"


def _line(items: list[Item]) -> str:
    family, *verdicts, stopped_by = _kind(items[0])
    names = ", ".join(item.name for item in items)
    return f"| {family} | {names} | {' | '.join(verdicts)} | {stopped_by} |"


if __name__ == "__main__":
    README.write_text(update(README.read_text(encoding="utf-8")), encoding="utf-8")
