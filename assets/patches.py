"""Patches: tries to turn each idea into a changed tree. One row per try."""

import json
from dataclasses import asdict, dataclass

from assets.answers import Form, form_of, patched_by
from assets.completions import complete_once
from assets.diffs import canonical_diff
from assets.environment import Environment
from assets.errors import PatchError
from assets.models import PatchRequest
from assets.stage import Context, Produced
from assets.syntax import check_syntax
from assets.trees import check_tree, touched_paths
from assets.validator import MOST_BYTES
from lake.ids import patch_id
from lake.tables import Blame, Completion, Idea, IdeaKind, Patch, PatchStatus, Stage
from launchers.quote import visible
from launchers.tree import tree_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of an answer: a tree, or the reason why not."""

    form: Form
    diff: str
    tree: str | None = None
    reason: str | None = None


def apply_answer(environment: Environment, answer: str) -> Applied:
    """Climb the patch ladder: read the answer, apply it, look at the tree, compile, diff."""
    form = form_of(answer)
    base = environment.files
    try:
        patched = patched_by(environment, answer)
        check_tree(environment, patched)
        check_syntax({path: patched[path] for path in touched_paths(base, patched)})
        diff = canonical_diff(base, patched)
    except PatchError as error:
        return Applied(form=form, diff=_kept(answer), reason=visible(str(error)))
    return Applied(form=form, diff=diff, tree=tree_hash(patched))


def _kept(answer: str) -> str:
    """What is stored of an answer that does not apply: text that UTF-8 can write, not too much."""
    return answer[:MOST_BYTES].encode("utf-8", errors="backslashreplace").decode("utf-8")


def produce(context: Context) -> Produced:
    """One try per idea; the baseline is the empty patch."""
    ideas = context.upstream(Idea, Stage.IDEAS)
    rows = [
        _baseline(context, i) if i.kind is IdeaKind.BASELINE else _try(context, i) for i in ideas
    ]
    applied = sum(row.status is PatchStatus.APPLIED for row in rows)
    return Produced(rows=rows, counts={"applied": applied, "failed": len(rows) - applied})


def _baseline(context: Context, idea: Idea) -> Patch:
    unpatched = Applied(form=Form.NONE, diff="", tree=context.environment.tree)
    return _row(context, idea, unpatched, None)


def _try(context: Context, idea: Idea) -> Patch:
    completion = _ask(context, idea)
    applied = apply_answer(context.environment, completion.response or "")
    return _row(context, idea, applied, completion.completion_id)


def _ask(context: Context, idea: Idea) -> Completion:
    files = context.environment.files
    request = PatchRequest(
        environment=context.environment.brief,
        title=idea.title,
        text=idea.text,
        edits=idea.edits,
        files={path: files[path].decode() for path in context.environment.editable},
        seed=context.seed("patches", idea.ordinal),
    )
    return complete_once(
        context,
        role="implementer",
        ordinal=idea.ordinal,
        request=json.dumps(asdict(request) | {"files": tree_hash(files)}),
        call=lambda: context.implementer.implement(request),
    )


def _row(context: Context, idea: Idea, applied: Applied, completion: str | None) -> Patch:
    failed = applied.tree is None
    return Patch(
        **context.keys,
        patch_id=patch_id(
            idea_id=idea.idea_id, n=context.n, ordinal=0, revision=0, diff=applied.diff
        ),
        idea_id=idea.idea_id,
        ordinal=0,
        revision=0,
        format=applied.form.value,
        diff=applied.diff,
        base_tree=context.environment.tree,
        tree=applied.tree,
        status=PatchStatus.FAILED if failed else PatchStatus.APPLIED,
        blame=Blame.PATCH if failed else None,
        reason=applied.reason,
        completion_id=completion,
    )
