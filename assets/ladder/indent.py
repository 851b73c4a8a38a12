"""From the indentation that an answer uses to the one that the file has.

What fits with other blanks and tabs tells the rule by its lines, and the lines that are put there
follow the same rule. Where no rule explains every line, the answer is not applied.
"""

from collections.abc import Callable, Iterator, Sequence

from assets.ladder.source import indentation, least_indentation

TAB_WIDTHS = (2, 4, 8)
Rule = Callable[[str], str | None]
"""The indentation of an answer -> the file's; None where the rule does not say."""


def reindented(
    old: Sequence[str], found: Sequence[str], new: Sequence[str], whole: Sequence[str]
) -> list[str] | None:
    """The lines to put there, indented as the file is; None where no one rule explains it.

    Args:
        old: the lines that the answer expects.
        found: the lines of the file in their place; the same texts, but for blanks.
        new: the lines that the answer adds.
        whole: all lines that the answer has there afterwards.
    """
    pairs = [(indentation(a), indentation(b)) for a, b in zip(old, found, strict=True) if a.strip()]
    for rule in (
        *_tabs(),
        *_shifts(pairs, level=least_indentation(old) == least_indentation(whole)),
    ):
        if any(rule(a) != b for a, b in pairs):
            continue
        lines = [_follow(rule, line) for line in new]
        return None if None in lines else [line for line in lines if line is not None]
    return None


def _follow(rule: Rule, line: str) -> str | None:
    if not line.strip():
        return ""
    kept = indentation(line)
    blanks = rule(kept)
    return None if blanks is None else blanks + line[len(kept) :].rstrip()


def _tabs() -> Iterator[Rule]:
    """Each tab is so many blanks, or the other way about."""
    for width in TAB_WIDTHS:
        yield lambda blanks, width=width: blanks.replace("\t", " " * width)  # type: ignore[misc]
        yield lambda blanks, width=width: _to_tabs(blanks, width)  # type: ignore[misc]


def _to_tabs(blanks: str, width: int) -> str | None:
    tabs, rest = divmod(len(blanks), width)
    return None if rest or "\t" in blanks else "\t" * tabs


def _shifts(pairs: Sequence[tuple[str, str]], *, level: bool) -> Iterator[Rule]:
    """Every line is indented by so much more, or less; as it must be on both sides of the change.

    One blank more is no shift but the mark of a context line that was left out.
    """
    if not pairs or not level:
        return
    asked, found = pairs[0]
    if found.endswith(asked) and len(found) - len(asked) != 1:
        more = found[: len(found) - len(asked)]
        yield lambda blanks: more + blanks
    if asked.endswith(found):
        less = asked[: len(asked) - len(found)]
        yield lambda blanks: blanks.removeprefix(less) if blanks.startswith(less) else None
