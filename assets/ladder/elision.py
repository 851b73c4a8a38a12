"""Lines by which a model says that it left something out, told from text that only looks like it.

What speaks of lines that stay (`# rest unchanged`) is such a mark wherever an answer adds it. What
begins with dots may also be honest. A prompt of a doctest and an index are that wherever Python
reads them so; a comment (`# ... and so on`), a sentence in a text and the body of a stub where no
line of the file is lost near them. All else, and in other files than Python's all, is refused.
"""

import io
import keyword
import re
import tokenize
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from assets.errors import PatchError

MOST_CHARACTERS = 200
"""Of a mark; a longer line says something."""
DOTTED = re.compile(
    r"\s*(?P<sign>#|//|/\*|<!--|;|\"\"\")?\s*(?P<bracket>[\[(<{])?\s*"
    r"(?:\.\.\.|\u2026)(?P<rest>[^\w].*|\s*)"
)
SPEAKS = re.compile(
    r"\s*(?:#|//|/\*|<!--)\W*(?:(?:the )?(?:rest|remainder) of\b|"
    r"(?:the )?rest (?:is |remains |stays )?"
    r"(?:unchanged|the same|as)|(?:existing|previous|original|other|remaining|all other)\b.{0,40}"
    r"(?:code|lines|methods|functions|imports|unchanged|here|same|\.\.\.|\u2026)|"
    r"unchanged\b|same as "
    r"(?:before|above|the original)|(?:keep|leave)s? .{0,40}(?:unchanged|as (?:is|before))|"
    r"no changes?\b|.{0,60}(?:remains?|stays?|is|are) (?:unchanged|the same)\b|omitted\b|"
    r".{0,40}\bomitted for brevity|.{0,60}\b(?:code|file|lines?|as before) ?(?:\.\.\.|\u2026)).*"
    r"|\s*(?:#|//|/\*|<!--).{0,60}(?:\.\.\.|\u2026)[\s)\]]*(?:\*/|-->)?\s*",
    re.IGNORECASE,
)
ABSENT = re.compile(
    r"\b(?:rest|remainder|remain\w*|exist\w*|previous\w*|original\w*|others?|unchanged|same|keeps?|"
    r"leaves?|changes?|omit\w*|code|lines?|files?|here|before|above|below|continu\w*|skip\w*|snip\w*|"
    r"truncat\w*|more|implement\w*|body|methods?|functions?|imports?|todo)\b",
    re.IGNORECASE,
)
"""Words about what is not there; behind dots they make a mark of any sentence."""
DOTS_AT_THE_END = re.compile(r".*(?:\.\.|\u2026)[\s)\]>*/-]*(?:\"\"\")?\s*")
WORD = re.compile(r"\w")
NEAR = 2
"""Lines with a word between two changes that are looked at together."""
ALIKE = 0.6
"""Least likeness of a line that is gone and one that came for it, if they do not begin alike."""
BEGINNING = re.compile(r"return\b|[^=(:]*\w[^=(:]*[=(:]")
"""What a line sets, calls or opens."""
MOST_COMPARED = 1_000
"""Lines of both sides, where they differ, that are compared; between more all dots are marks."""
MOST_PAIRS = 2_500
TEXTS = {"STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE"}
"""Tokens that may hold several lines of text."""


def check_elision(where: str, lines: Sequence[str], known: Sequence[str]) -> None:
    """Refuse lines that leave code out, whatever stands around them.

    Args:
        where: what messages call the part of the answer.
        lines: what it puts into a file.
        known: the lines that the file has, which are no marks.

    Raises:
        PatchError: quoting the first.
    """
    there = {line.strip() for line in known}
    found = next((x for x in lines if x.strip() not in there and _elides(x)), None)
    if found is not None:
        raise _left_out(where, found)


def check_dots(path: str, before: str, after: str) -> None:
    """Refuse added lines that begin with dots, unless they say what stands there.

    Args:
        path: of a file that is changed.
        before: its text; empty for a new one.
        after: its text with all changes.

    Raises:
        PatchError: quoting the first that does not.
    """
    old, new = (text.replace("\r\n", "\n").split("\n") for text in (before, after))
    if not any(_dotted(line) for line in new):
        return
    is_python = path.endswith(".py")
    honest = dict(_honest(new)) if is_python else {}
    there = {x.strip() for x in old if not is_python or x.lstrip().startswith("#")}
    for number, lost in _added(old, new):
        is_honest = number in honest and (honest[number] or not lost)
        if not is_honest and new[number].strip() not in there:
            raise _left_out(f"{path}, line {number + 1} of the result", new[number])


def _left_out(where: str, line: str) -> PatchError:
    return PatchError(
        f"{where}: found {line.strip()[:120]!r}, which stands for lines that are left out; "
        "expected every line that shall be there. Write them out, or change only the lines "
        "that differ by SEARCH/REPLACE blocks"
    )


def _elides(line: str) -> bool:
    """Whether a line is a mark wherever it stands."""
    if len(line) > MOST_CHARACTERS:
        return False
    dotted = DOTTED.fullmatch(line)
    if dotted is None or dotted["sign"] in (None, '"""'):
        return dotted is None and SPEAKS.fullmatch(line) is not None
    return dotted["sign"] != "#" or dotted["bracket"] is not None or not _is_sentence(dotted)


def _dotted(line: str) -> re.Match[str] | None:
    return DOTTED.fullmatch(line) if len(line) <= MOST_CHARACTERS else None


def _is_sentence(dotted: re.Match[str]) -> bool:
    """Whether what follows the dots has words, none of them about what is not there."""
    rest = dotted["rest"]
    about = ABSENT.search(rest) or DOTS_AT_THE_END.fullmatch(rest)
    return WORD.search(rest) is not None and about is None


def _added(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """The added lines that begin with dots, and whether a line is lost near each.

    Blank lines and lone signs do not count, nor does indentation.
    """
    left = [line.strip() for line in old if WORD.search(line) or _dotted(line)]
    numbers = [n for n, line in enumerate(new) if WORD.search(line) or _dotted(line)]
    right = [new[n].strip() for n in numbers]
    begin = _equal(left, right)
    end = _equal(left[begin:][::-1], right[begin:][::-1])
    left, right = left[begin : len(left) - end], right[begin : len(right) - end]
    numbers = numbers[begin : begin + len(right)]
    if left and len(left) + len(right) > MOST_COMPARED:
        yield from ((n, True) for n, x in zip(numbers, right, strict=True) if _dotted(x))
        return
    for group in SequenceMatcher(None, left, right, autojunk=False).get_grouped_opcodes(NEAR):
        gone = [x for tag, i, j, _, _ in group if tag != "equal" for x in left[i:j]]
        come = [n for tag, _, _, k, m in group if tag != "equal" for n in range(k, m)]
        lost = _is_lost(gone, [right[n] for n in come])
        yield from ((numbers[n], lost) for n in come if _dotted(right[n]))


def _equal(left: Sequence[str], right: Sequence[str]) -> int:
    """How many lines two texts have in common at their beginning."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(left), len(right)))


def _is_lost(gone: Sequence[str], come: Sequence[str]) -> bool:
    """Whether a line is gone for which none like it has come; lines of dots stand for none."""
    gone, left = ([x for x in side if not _dotted(x)] for side in (gone, come))
    if len(gone) > len(left) or len(gone) * len(left) > MOST_PAIRS:
        return bool(gone)
    for line in gone:
        like = next((x for x in left if _are_alike(line, x)), None)
        if like is None:
            return True
        left.remove(like)
    return False


def _are_alike(line: str, other: str) -> bool:
    line, other = line[:MOST_CHARACTERS], other[:MOST_CHARACTERS]
    begins = BEGINNING.match(line)
    same = begins is not None and other.startswith(begins[0])
    return same or SequenceMatcher(None, line, other).ratio() >= ALIKE


def _honest(lines: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """The lines that begin with dots and say something, as Python reads the file.

    Returns:
        Their numbers, from 0, each with whether it is beyond doubt, whatever is lost near it.
    """
    for number, line in enumerate(lines):
        dotted = _dotted(line)
        if dotted and dotted["sign"] == "#" and not dotted["bracket"] and _is_sentence(dotted):
            yield number, False
    tokens = [x for x in _tokens(lines) if x.type not in (tokenize.COMMENT, tokenize.NL)]
    stack: list[bool] = []
    for at, token in enumerate(tokens):
        row = token.start[0] - 1
        if tokenize.tok_name[token.type] in TEXTS:
            yield from _honest_texts(lines, range(row, token.end[0]))
        elif token.string in ("[", "(", "{"):
            stack.append(token.string == "[" and _is_indexed(tokens[at - 1]))
        elif token.string in ("]", ")", "}") and stack:
            stack.pop()
        elif token.string == "..." and stack:
            yield from [(row, True)] if stack[-1] else []
        elif token.string == "..." and _is_whole_body(tokens, at):
            yield row, False


def _tokens(lines: Sequence[str]) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a file, up to where it has none."""
    try:
        yield from tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def _is_indexed(token: tokenize.TokenInfo) -> bool:
    """Whether a bracket behind a token takes a part of something, and begins no list."""
    is_name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
    return is_name or token.string in ("]", ")")


def _honest_texts(lines: Sequence[str], rows: range) -> Iterator[tuple[int, bool]]:
    """Lines of a string that belong to an example of a doctest, or are sentences.

    Dots alone right behind `>>>` may stand for what is printed.
    """
    in_example, prompted = False, False
    for row in rows:
        line, dotted = lines[row].lstrip(), _dotted(lines[row])
        in_example = line.startswith(">>>") or (in_example and line.startswith("..."))
        prompted = in_example and dotted is not None and (prompted or bool(WORD.search(line)))
        if dotted and (in_example or _is_sentence(dotted)):
            yield row, prompted


def _is_whole_body(tokens: Sequence[tokenize.TokenInfo], at: int) -> bool:
    """Whether dots are all that an indented block does, but for what its docstring says."""
    before = [token.type for token in tokens[max(0, at - 3) : at]]
    behind = [token.type for token in tokens[at + 1 : at + 3]]
    alone = before[-1:] == [tokenize.INDENT]
    told = before == [tokenize.INDENT, tokenize.STRING, tokenize.NEWLINE]
    ends = behind[1:] in ([tokenize.DEDENT], [tokenize.ENDMARKER])
    return (alone or told) and behind[:1] == [tokenize.NEWLINE] and ends
