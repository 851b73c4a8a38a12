"""Reading JSON that somebody else wrote: what is missing, or is something else, is None."""

from collections.abc import Iterator

MOST = 1 << 53
"""Larger numbers are not counts, and no column holds them."""


def at(value: object, *path: str | int) -> object:
    """What lies at a path of keys and positions."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text_at(value: object, *path: str | int) -> str:
    """The text there, empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def count_at(value: object, *path: str | int) -> int | None:
    """The whole number there, if it can be a count."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 <= found < MOST else None


def items_at(value: object, *path: str | int) -> Iterator[object]:
    """The items of the list there."""
    found = at(value, *path)
    yield from found if isinstance(found, list) else ()
