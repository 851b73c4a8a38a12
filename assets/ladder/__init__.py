"""The patch ladder: a model's raw answer becomes a patched tree, or a reason why not.

An answer is read as strictly as it can be and as forgivingly as it must be; repairs are reported.
No rung guesses: what fits in two places, leaves lines out, or asks for more than a change of text
is refused. Every rung ends with the same check of the tree, and what is stored is git's own diff of
the two trees, so applying it gives the tree byte for byte, whatever the answer looked like.

    climb.py      the rungs, and what an answer holds
    fences.py     its stretches, fenced or not          labels.py    the paths they name
    blocks.py     SEARCH/REPLACE blocks                 sections.py  unified diffs
    whole.py      whole files                           headers.py   the lines above hunks
    hunk.py       one change                            numbered.py  line numbers in code
    source.py     one file
    place.py      where a hunk fits                     indent.py, fragment.py  two ways of fitting
    change.py     all changes to one file               reasons.py   why one does not fit
    elision.py    marks of what is left out
"""

from dataclasses import dataclass

from assets.config.environment import Environment
from assets.diffs.git import canonical_diff
from assets.diffs.syntax import check_syntax
from assets.diffs.trees import check_tree, touched_paths
from assets.diffs.validator import MOST_BYTES, check_diff, check_size
from assets.errors import PatchError
from assets.ladder.climb import Form, form_of, patched_by
from launchers.tree import tree_hash
from launchers.visible import visible

__all__ = ["Applied", "Form", "apply_answer", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of an answer: a tree, or the reason why not."""

    form: Form
    diff: str
    """Canonical, against the base tree; where the answer fails, the answer itself."""
    tree: str | None = None
    reason: str | None = None
    repairs: tuple[str, ...] = ()
    """What was repaired, in words for people."""


def apply_answer(environment: Environment, answer: str) -> Applied:
    """Climb the ladder: read the answer, apply it, check the tree, compile, diff."""
    form, base = form_of(answer[:MOST_BYTES]), environment.files
    try:
        check_size(answer)
        patched = patched_by(environment, answer)
        check_tree(environment, patched.files)
        touched = touched_paths(base, patched.files)
        if not touched:
            raise PatchError("the answer changes nothing; expected other lines than the file has")
        check_syntax({path: patched.files[path] for path in touched})
        diff = canonical_diff(base, patched.files)
        check_diff(diff, environment)
    except PatchError as error:
        return Applied(form=form, diff=kept(answer), reason=str(error))
    repairs = tuple(visible(words) for words in patched.repairs)
    return Applied(form=form, diff=diff, tree=tree_hash(patched.files), repairs=repairs)


def kept(answer: str) -> str:
    """What is stored of an answer that does not apply: a bounded part, valid as UTF-8."""
    return answer[:MOST_BYTES].encode("utf-8", errors="backslashreplace").decode("utf-8")
