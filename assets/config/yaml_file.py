"""A YAML file as plain values, and in words what is wrong with one for the model it is read into.

Merge keys (`<<: *name`) are read as YAML 1.1 defines them: a key that is written out goes before
one that is merged in.
"""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from assets.errors import CampaignError
from launchers.visible import quoted

UNREADABLE = (ValueError, KeyError, AttributeError, RecursionError)
"""What PyYAML raises besides its own errors, for dates, numbers and tags that cannot be."""
MERGE = "tag:yaml.org,2002:merge"


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that appears twice; YAML would silently take the last.

    Looked at while nodes are composed: later, what is merged into a mapping stands in it too.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401  as yaml has it
        node = super().compose_mapping_node(anchor)
        assert node is not None
        keys = [self._key(key) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} appears twice", node.start_mark
            )
        return node

    def _key(self, node: yaml.Node) -> object:
        """The key, or `<<` for what is merged."""
        return node.value if node.tag == MERGE else self.construct_object(node, deep=True)


def read_yaml(path: Path) -> Any:  # noqa: ANN401  a file may hold anything
    """What a file holds.

    Raises:
        CampaignError: it is not there, or is not YAML whose keys appear once.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
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
