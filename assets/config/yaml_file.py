"""A YAML file as plain values, and in words what is wrong with one for the model it is read into.

Merge keys (`<<: *name`) are read as YAML 1.1 defines them: a key that is written out goes before
one that is merged in. A file is bounded in bytes, in depth, and in values with each alias counted
as what it stands for: seven lines of aliases can hold ten million.
"""

import reprlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from assets.errors import CampaignError
from launchers.visible import quoted

UNREADABLE = (ValueError, KeyError, AttributeError, RecursionError)
"""What PyYAML raises besides its own errors, for dates, numbers and tags that cannot be."""
MERGE, TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
MOST_BYTES = 1 << 18
MOST_DEPTH = 32
MOST_VALUES = 10_000
"""With each alias counted as what it stands for."""
MOST_DIGITS = 100
"""Of what is no text: a number has no more, and turning one into digits takes quadratic time."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How much a node stands for."""

    values: int
    depth: int


class _Bounded(yaml.SafeLoader):
    """Refuses what is too much, and a key that appears twice: YAML would silently take the last.

    Looked at while nodes are composed: nothing is made of them yet, and what is merged into a
    mapping does not stand in it.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._shapes: dict[yaml.Node, _Shape] = {}
        """Of the nodes that are complete."""
        self._open = 0
        self._composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401  as yaml has it
        self._open += 1
        self._composed += 1
        start = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._check(_Shape(self._composed, self._open), start)
        node = super().compose_node(parent, index)
        self._open -= 1
        assert node is not None
        if node not in self._shapes:
            if node.start_mark.index != start.index:
                raise _problem("an alias inside what it stands for", start)
            self._shapes[node] = self._shape(node)
        self._check(self._shapes[node], start)
        return node

    def _shape(self, node: yaml.Node) -> _Shape:
        if isinstance(node, yaml.ScalarNode):
            if node.tag != TEXT and len(node.value) > MOST_DIGITS:
                raise _problem(f"more than {MOST_DIGITS} characters, but no text", node.start_mark)
            return _Shape(1, 1)
        pairs = isinstance(node, yaml.MappingNode)
        below = [part for pair in node.value for part in (pair if pairs else (pair,))]
        shapes = [self._shapes[part] for part in below]
        values = 1 + sum(shape.values for shape in shapes)
        return _Shape(values, 1 + max((shape.depth for shape in shapes), default=0))

    def _check(self, shape: _Shape, mark: yaml.Mark) -> None:
        if shape.values > MOST_VALUES:
            words = f"more than {MOST_VALUES} values, each alias counted as what it stands for"
            raise _problem(words, mark)
        if shape.depth > MOST_DEPTH:
            raise _problem(f"more than {MOST_DEPTH} levels inside each other", mark)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401  as yaml has it
        node = super().compose_mapping_node(anchor)
        assert node is not None
        seen: set[object] = set()
        for key in (self._key(key) for key, _ in node.value):
            if key in seen:
                raise _problem(f"the key {reprlib.repr(key)} appears twice", node.start_mark)
            seen.add(key)
        return node

    def _key(self, node: yaml.Node) -> object:
        """The key, or `<<` for what is merged."""
        if node.tag == MERGE:
            return node.value
        key = self.construct_object(node, deep=True)
        if not isinstance(key, Hashable):
            raise _problem("a list or a mapping as a key", node.start_mark)
        return key


def _problem(words: str, mark: yaml.Mark) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, words, mark)


def read_yaml(path: Path) -> Any:  # noqa: ANN401  a file may hold anything
    """What a file holds.

    Raises:
        CampaignError: it is not there, is too large, or is not YAML whose keys appear once.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"found more than {MOST_BYTES} bytes, expected a campaign's settings")
        return yaml.load(text.decode("utf-8"), _Bounded)
    except (OSError, yaml.YAMLError, *UNREADABLE) as error:
        said = str(error) or type(error).__name__
        raise CampaignError(f"{path}: cannot be read as YAML: {said}") from error


def explain(path: Path, model: type[BaseModel], error: ValidationError) -> str:
    """What is wrong with a file that was read into a model: each field, found and expected."""
    lines = [f"{path}: {len(error.errors())} field(s) cannot be used"]
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "attributes"
        lines.append(f"  {field}: {_expected(model, dict(problem))}")
    return "\n".join([*lines, "Correct the file and run the command again; nothing was changed."])


def words_of(error: ValueError) -> str:
    """What is wrong, without the words that pydantic puts around it; never the input."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        ": ".join([*map(str, problem["loc"]), problem["msg"].removeprefix("Value error, ")])
        for problem in error.errors(include_url=False, include_input=False)
    )


def _expected(model: type[BaseModel], problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key; expected one of {_known_keys(model, problem['loc'])}"
    found = (
        ""
        if problem["type"] in ("missing", "value_error")
        else f" (found {quoted(problem['input'])})"
    )
    return f"{problem['msg'].removeprefix('Value error, ')}{found}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Keys of the section that an unknown key is in."""
    section: Any = model
    for part in location[:-1]:
        section = _below(section, part)
    return ", ".join(section.model_fields)


def _below(kind: Any, part: int | str) -> Any:  # noqa: ANN401  types are values of any type
    """The type of a section's field, or of what a list or a mapping holds; never None's."""
    if get_origin(kind) in (list, dict):
        return get_args(kind)[-1]
    inner = kind.model_fields[part].annotation
    if get_origin(inner) in (Union, UnionType):
        return next(one for one in get_args(inner) if one is not NoneType)
    return inner
