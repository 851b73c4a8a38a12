"""From the indentation that an answer uses to the one that the file has.

Lines that match but for their indentation show the rule, and the lines that are added follow the
same rule. If no rule explains every line, the answer is not applied.
"""

from collections.abc import Callable, Iterator, Sequence

from assets.ladder.source import indentation, least_indentation

TAB_WIDTHS = (2, 4, 8)
Rule = Callable[[str], str | None]
"""The indentation of an answer -> the file's; None if the rule does not say."""


def reindented(
    old: Sequence[str], found: Sequence[str], new: Sequence[str], whole: Sequence[str]
) -> list[str] | None:
    """The added lines, indented as the file is; None if no single rule explains it.

    Args:
        old: the lines that the answer expects.
        found: the lines of the file in their place; the same but for spaces and tabs.
        new: the lines that the answer adds.
        whole: all lines that are there afterwards, as the answer has them.
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
    """Each tab is a fixed number of spaces, or the reverse."""
    for width in TAB_WIDTHS:
        yield lambda blanks, width=width: blanks.replace("\t", " " * width)  # type: ignore[misc]
        yield lambda blanks, width=width: _to_tabs(blanks, width)  # type: ignore[misc]


def _to_tabs(blanks: str, width: int) -> str | None:
    tabs, rest = divmod(len(blanks), width)
    return None if rest or "\t" in blanks else "\t" * tabs


def _shifts(pairs: Sequence[tuple[str, str]], *, level: bool) -> Iterator[Rule]:
    """Every line is indented by the same amount more, or less, on both sides of the change.

    One extra space is not a shift but the mark of a context line that was left out.
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
