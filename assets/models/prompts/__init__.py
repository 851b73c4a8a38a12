"""Requests as prompts: the templates of this folder, filled in.

    ideator.md.j2, implementer.md.j2   the system text of each role; the same for every environment
    environment.md.j2                  the prefix: environment, rules and files, for both roles
    fresh, exploit, explore            the tasks of the ideator; closing and known are parts of them
    implement                          the task of the implementer
    ask_again, revise                  what follows an answer that could not be used

A template knows an environment by its brief alone. What a model or a job wrote is data in a prompt:
a title is one line, a text has marks before its lines, a reason or a log a fence it cannot forge.
The same request gives the same bytes, so that a recorded answer can be compared with its question.
"""

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assets.models.prompts.filters import code_block, line, nonce_fence, number, own_words, quoted
from assets.models.providers.provider import Prompt, Turn
from assets.models.requests import EnvironmentBrief, FailedTry, IdeaRequest, PatchRequest
from lake.tables import IdeaKind

TASKS = {
    IdeaKind.FRESH: "fresh",
    IdeaKind.POLICY: "fresh",
    IdeaKind.EXPLOIT: "exploit",
    IdeaKind.EXPLORE: "explore",
}
LIMITS = {"idea": 16_000, "parent": 3_000, "context": 800, "avoid": 300}
"""Most characters shown of a text: of the idea to implement, of one to build on, and of those that
need only be recognised."""
IDEAS_SCHEMA = {
    "type": "object",
    "properties": {
        "ideas": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "text": {"type": "string"},
                    "parents": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["title", "text", "parents"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["ideas"],
    "additionalProperties": False,
}
"""One schema for every call for ideas: providers count it as part of the cached prompt. It names no
number of ideas, which not every provider can enforce."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "code_block": code_block,
    "fenced": nonce_fence,
    "line": line,
    "number": number,
    "quoted": quoted,
}
_templates.globals |= {"limits": LIMITS}


def ideator_prompt(request: IdeaRequest) -> Prompt:
    """What the ideator is asked."""
    failures = () if request.failure is None else (request.failure,)
    return Prompt(
        system=_rendered("ideator"),
        prefix=environment_prefix(request.environment),
        turns=_turns(_task(request), failures, "ask_again", count=request.count, seed=request.seed),
        schema=IDEAS_SCHEMA,
    )


def implementer_prompt(request: PatchRequest) -> Prompt:
    """What the implementer is asked."""
    task = _rendered("implement", title=request.title, text=request.text)
    return Prompt(
        system=_rendered("implementer"),
        prefix=environment_prefix(request.environment),
        turns=_turns(task, request.failures, "revise", seed=request.seed),
    )


def environment_prefix(environment: EnvironmentBrief) -> str:
    """What every prompt about an environment begins with, the same bytes for both roles."""
    return _rendered(
        "environment",
        environment=environment,
        better="less" if environment.direction == "minimize" else "more",
        may_create=any(sign in glob for glob in environment.editable for sign in "*?["),
    )


def _task(request: IdeaRequest) -> str:
    """The task of the request's kind; a fresh one if the ideas that the kind needs are missing."""
    rests_on = {IdeaKind.EXPLOIT: request.parents, IdeaKind.EXPLORE: request.context}
    kind = request.kind if rests_on.get(request.kind, True) else IdeaKind.FRESH
    return _rendered(
        TASKS[kind],
        environment=request.environment,
        beyond="below" if request.environment.direction == "minimize" else "above",
        parents=request.parents,
        context=request.context,
        avoid=request.avoid,
        count=request.count,
    )


def _turns(
    task: str, failures: tuple[FailedTry, ...], follow_up: str, **values: object
) -> tuple[Turn, ...]:
    """The task, then each failed answer as the model's own turn with what was wrong with it."""
    return (Turn(role="user", text=task), *_follow_ups(failures, follow_up, **values))


def _follow_ups(
    failures: tuple[FailedTry, ...], follow_up: str, **values: object
) -> Iterator[Turn]:
    for failed in failures:
        yield Turn(role="assistant", text=own_words(failed.answer))
        text = _rendered(follow_up, reason=failed.reason, log_tail=failed.log_tail, **values)
        yield Turn(role="user", text=text)


def _rendered(template: str, **values: object) -> str:
    return _templates.get_template(f"{template}.md.j2").render(values)
