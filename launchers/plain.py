"""Typed records to JSON and back, strictly: a text that does not fit its type is refused.

For frozen dataclasses whose fields are texts, numbers, booleans, records, and tuples or
mappings of these. Where a field may hold one of several records, each has a `kind` that tells them
apart.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin

from launchers.visible import ToldError, quoted

Record = TypeVar("Record")
KIND = "kind"
NUMBER_CHARACTERS = 1_100
"""No number needs more: the longest exact decimal of a double has 1,077 characters."""
WORDS: dict[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
}


class PlainError(ToldError, ValueError):
    """A text or a value does not fit the type; the message says where and how."""


def strict_json(text: str | bytes) -> Any:  # noqa: ANN401  # any JSON value
    """Parses JSON; repeated keys are refused, and numbers that are long or that no float can hold.

    Raises:
        PlainError: it is not such JSON.
    """
    try:
        return json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        raise PlainError(f"not plain JSON: {error}") from error


def json_text(record: object) -> str:
    """The text of a record; infinities and NaN are refused.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(to_plain(record), indent=1, allow_nan=False) + "\n"


def read_text(cls: type[Record], text: str | bytes, where: str) -> Record:
    """The record that `json_text` wrote; see `read_record`.

    Raises:
        PlainError: the text is no plain JSON, or does not fit the type.
    """
    try:
        plain = strict_json(text)
    except PlainError as error:
        raise PlainError(f"{where}: {error}; write it again") from error
    return read_record(cls, plain, where)


def to_plain(value: Any) -> Any:  # noqa: ANN401  # any of the types above
    """A record and all in it, as JSON values."""
    if value is None or type(value) in WORDS:
        return value
    if is_dataclass(value):
        told = {KIND: getattr(value, KIND)} if hasattr(value, KIND) else {}
        return told | {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: to_plain(inner) for name, inner in value.items()}
    return [to_plain(inner) for inner in value]


def read_record(cls: type[Record], plain: object, where: str) -> Record:
    """The record that `to_plain` wrote.

    Args:
        cls: its type, a dataclass.
        plain: what was read.
        where: what messages call it, for example `spec.json`.

    Raises:
        PlainError: a field is unknown, missing, or of another type.
    """
    if not isinstance(plain, Mapping):
        raise _refusal(where, plain, f"an object with the fields of {cls.__name__}")
    given = {name: value for name, value in plain.items() if name != KIND or not hasattr(cls, KIND)}
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(given) - set(known))
    missing = sorted(name for name, one in known.items() if name not in given and _is_needed(one))
    if unknown or missing:
        raise PlainError(
            f"{where}: found unknown fields {unknown} and missing fields {missing}, "
            f"expected those of {cls.__name__}; write it with the same version that reads it"
        )
    return cls(
        **{name: read(known[name].type, value, f"{where}: {name}") for name, value in given.items()}
    )


def read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401  # any of the types above
    """A value of a type, checked.

    Raises:
        PlainError: it is of another type.
    """
    if kind in WORDS:
        return _read_single(kind, value, where)
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise _refusal(where, value, "a list")
        inner = get_args(kind)[0]
        return tuple(read(inner, one, f"{where}[{number}]") for number, one in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _refusal(where, value, "an object")
        inner = get_args(kind)[1]
        return {name: read(inner, one, f"{where}.{name}") for name, one in value.items()}
    if isinstance(kind, types.UnionType):
        return _read_one_of(get_args(kind), value, where)
    return read_record(kind, value, where)


def _read_single(kind: type, value: object, where: str) -> object:
    """A text, number or boolean; a whole number is a number too."""
    fits = int | float if kind is float else kind
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        raise _refusal(where, value, WORDS[kind])
    if isinstance(value, float) and not math.isfinite(value):
        raise _refusal(where, value, WORDS[kind])
    return value


def _read_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401
    """A value of one of several types: none, or a record told by its `kind`."""
    if value is None and type(None) in kinds:
        return None
    real = [kind for kind in kinds if kind is not type(None)]
    if len(real) == 1:
        return read(real[0], value, where)
    by_kind = {kind.kind: kind for kind in real}
    told = value.get(KIND) if isinstance(value, Mapping) else None
    if not isinstance(told, str) or told not in by_kind:
        raise _refusal(where, value, f"an object whose {KIND} is one of {sorted(by_kind)}")
    return read_record(by_kind[told], value, where)


def _is_needed(one: "Field[Any]") -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _refusal(where: str, value: object, expected: str) -> PlainError:
    return PlainError(f"{where}: found {quoted(value)}, expected {expected}")


def _no_constant(name: str) -> float:
    raise PlainError(f"found {name}, expected finite numbers")


def _finite(text: str) -> float:
    if len(text) > NUMBER_CHARACTERS:
        raise PlainError(
            f"found a number of {len(text)} characters, expected at most {NUMBER_CHARACTERS}"
        )
    value = float(text)
    if not math.isfinite(value):
        raise PlainError(f"found {text}, expected finite numbers")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PlainError("found a key twice, expected each once")
    return found
