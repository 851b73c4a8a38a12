"""The offline model: answers from a file of known ideas and their edits.

A seeded, honest baseline without a language model. Fresh and exploring calls draw ideas of the
file, exploiting calls recombine the edits of parents; none gives what is among the parents, the
context or the ideas to avoid that it is shown. It knows nothing of scores but the order of the
parents.
"""

import json
import random
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.config.environment import CATALOG_FILE
from assets.config.home import PROJECT
from assets.errors import AnswerError, CampaignError
from assets.models.requests import (
    Answer,
    Call,
    IdeaRequest,
    KnownIdea,
    PatchRequest,
    Place,
    Proposal,
)
from lake.tables import IdeaKind

TRIES = 200
"""After this many draws a call gives fewer ideas than asked for: recombining repeats itself."""

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace the one place where `search` stands in `file`."""

    file: str
    search: str
    replace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogIdea:
    """A known idea."""

    name: str
    title: str
    text: str
    edits: tuple[Edit, ...]


class Catalog:
    """Proposes and implements from one catalog file."""

    def __init__(self, ideas: Sequence[CatalogIdea], *, name: str) -> None:
        self.name = f"catalog/{name}"
        self.at_once = 1
        self.ideas = {idea.name: idea for idea in ideas}

    def propose(self, request: IdeaRequest) -> Call:
        """Draw `request.count` sets of edits that are not in parents, context or avoid."""
        return self._call(request, lambda: self._drawn(request))

    def implement(self, request: PatchRequest) -> Call:
        """Write the idea's edits down as SEARCH/REPLACE blocks, in catalog order."""
        return self._call(request, lambda: self._written(request))

    def halt(self) -> None:
        """Nothing waits."""

    async def close(self) -> None:
        """Nothing: it is a file."""

    def _call(self, request: IdeaRequest | PatchRequest, answer: Callable[[], str]) -> Call:
        async def send(place: Place) -> Answer:
            return Answer(model=self.name, response=answer())

        asked = asdict(request) | {"environment": request.environment.name}
        return Call(request=json.dumps(asked), prefix=None, send=send)

    def _drawn(self, request: IdeaRequest) -> str:
        rng = random.Random(request.seed)
        taken = {known.edits for known in (*request.parents, *request.context, *request.avoid)}
        drawn: list[dict[str, Names]] = []
        for _ in range(TRIES):
            if len(drawn) == request.count:
                break
            names, parents = self._draw(request, rng, taken)
            if names not in taken:
                taken.add(names)
                drawn.append({"edits": names, "parents": parents})
        return json.dumps(drawn)

    def _written(self, request: PatchRequest) -> str:
        unknown = [name for name in request.edits or () if name not in self.ideas]
        if unknown:
            raise CampaignError(
                f"{self.name}: has no idea {unknown[0]!r}, whose edits {request.title!r} needs; "
                "expected the catalog that the idea was drawn from: restore it, or go on under a "
                "new campaign name"
            )
        edits = [edit for name in request.edits or () for edit in self.ideas[name].edits]
        return "\n".join(_block(edit) for edit in edits)

    def proposals(self, response: str) -> tuple[Proposal, ...]:
        """Write the drawn edits out as ideas."""
        try:
            return tuple(
                self._proposal(tuple(d["edits"]), tuple(d["parents"])) for d in json.loads(response)
            )
        except (ValueError, TypeError, KeyError) as error:
            raise AnswerError(f"this is no answer of {self.name}: {error!r}") from error

    def _draw(
        self, request: IdeaRequest, rng: random.Random, taken: set[Names | None]
    ) -> tuple[Names, Names]:
        if request.kind is IdeaKind.EXPLOIT and request.parents:
            return self._recombine(request.parents, rng)
        untried = [name for name in sorted(self.ideas) if (name,) not in taken]
        if untried:
            return (rng.choice(untried),), ()
        most = min(3, len(self.ideas))
        return self._ordered(rng.sample(sorted(self.ideas), rng.randint(1, most))), ()

    def _recombine(self, parents: Sequence[KnownIdea], rng: random.Random) -> tuple[Names, Names]:
        """Join two parents, or give one parent a new edit; better parents are drawn more often."""
        weights = [1 / (rank + 1) for rank in range(len(parents))]
        first, second = rng.choices(parents, weights, k=2)
        if first.idea_id != second.idea_id and rng.random() < 0.7:
            names = self._ordered([*(first.edits or ()), *(second.edits or ())])
            return names, (first.idea_id, second.idea_id)
        extra = rng.choice(sorted(self.ideas))
        return self._ordered([*(first.edits or ()), extra]), (first.idea_id,)

    def _ordered(self, names: Iterable[str]) -> Names:
        wanted = set(names)
        return tuple(name for name in self.ideas if name in wanted)

    def _proposal(self, names: Names, parents: Names) -> Proposal:
        ideas = [self.ideas[name] for name in names]
        return Proposal(
            title=" + ".join(idea.title for idea in ideas),
            text="\n\n".join(idea.text for idea in ideas),
            parents=parents,
            edits=names,
        )


def read_catalog(environment: Path, name: str | None) -> Catalog:
    """The catalog of an environment, or the file called `name`.

    Args:
        environment: its folder.
        name: a file's path from the project's top; None is the environment's own catalog.

    Raises:
        CampaignError: if there is none, or it is malformed.
    """
    path = PROJECT / name if name else environment / CATALOG_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        ideas = [_idea(entry) for entry in document["ideas"]]
        _check_names(ideas)
    except FileNotFoundError as error:
        raise CampaignError(
            f"{path}: no such catalog; expected a file of [[ideas]], or in defs.yaml a `name` of "
            "the role that is a path to one, from the project's top"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(
            f"{path}: malformed catalog ({error!r}); expected [[ideas]] with name, title, text "
            "and [[ideas.edits]] with file, search, replace"
        ) from error
    return Catalog(ideas, name=path.parent.name if path.name == CATALOG_FILE else path.stem)


def _idea(entry: dict[str, object]) -> CatalogIdea:
    edits = entry["edits"]
    if not isinstance(edits, list) or not edits:
        raise TypeError(f"edits of {entry['name']} is not a list with an edit")
    if not all(isinstance(edit, dict) for edit in edits):
        raise TypeError(f"edits of {entry['name']} hold something else than tables")
    if not all(isinstance(text, str) for edit in edits for text in edit.values()):
        raise TypeError(f"edits of {entry['name']} hold something else than text")
    return CatalogIdea(
        name=str(entry["name"]),
        title=str(entry["title"]),
        text=str(entry["text"]),
        edits=tuple(Edit(**edit) for edit in edits),
    )


def _check_names(ideas: Sequence[CatalogIdea]) -> None:
    names = [idea.name for idea in ideas]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(f"the name {twice[0]!r} twice" if twice else "no idea")


def _block(edit: Edit) -> str:
    search, replace = (
        text if text.endswith("\n") else text + "\n" for text in (edit.search, edit.replace)
    )
    return f"{edit.file}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"
