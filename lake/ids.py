"""Identity is content: the id of a row is a hash of what made it.

No clock and no Dagster run id goes in, so the same campaign, run into two empty lakes, gives the
same ids. An id is the first 16 hex digits of SHA-256 over the canonical JSON of its parts; the
formula of each is the argument list of its function, in order.
"""

import hashlib
import json
from typing import TypeAlias

Part: TypeAlias = str | int | tuple[str, ...]

DIGITS = 16
"""64 bits: among one million rows two collide with a probability of 3e-8."""


def content_hash(*parts: object) -> str:
    """Full hash of the parts, in order: for trees, keys and evaluators.

    Args:
        parts: What JSON can hold; mappings in any order, an enum member counts as its value.

    Returns:
        64 hex digits.
    """
    text = json.dumps(parts, separators=(",", ":"), allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def content_id(*parts: Part) -> str:
    """Hash of the parts, in order, short enough to read and type: for rows.

    Args:
        parts: Strings, integers and tuples of strings; an enum member counts as its value.

    Returns:
        16 hex digits.
    """
    return content_hash(*parts)[:DIGITS]


def idea_id(
    *,
    campaign: str,
    epoch: int,
    n: int,
    ordinal: int,
    kind: str,
    text: str,
    parents: tuple[str, ...],
) -> str:
    """Id of an idea."""
    return content_id(campaign, epoch, n, ordinal, kind, text, tuple(parents))


def patch_id(*, idea_id: str, n: int, ordinal: int, revision: int, diff: str) -> str:
    """Id of a try to turn an idea into a diff."""
    return content_id(idea_id, n, ordinal, revision, diff)


def run_id(*, patch_id: str, n: int, run_key: str) -> str:
    """Id of a job."""
    return content_id(patch_id, n, run_key)


def score_id(*, run_id: str, evaluator: str) -> str:
    """Id of a score; equal when the same run is scored again by the same evaluator."""
    return content_id(run_id, evaluator)


def completion_id(
    *,
    campaign: str,
    epoch: int,
    stage: str,
    n: int,
    role: str,
    ordinal: int,
    revision: int,
    repeat: int = 0,
) -> str:
    """Id of a model call: its place in the campaign, and how often it was asked there in vain."""
    place = (campaign, epoch, stage, n, role, ordinal, revision)
    return content_id(*place, *((repeat,) if repeat else ()))


def selection_id(
    *, campaign: str, epoch: int, n: int, role: str, ordinal: int, idea_id: str
) -> str:
    """Id of a parent or context idea that evolution chose."""
    return content_id(campaign, epoch, n, role, ordinal, idea_id)


def event_id(
    *, campaign: str, epoch: int, stage: str, n: int, ordinal: int, kind: str, repeat: int
) -> str:
    """Id of a thing that happened to a job.

    Args:
        campaign: Name.
        epoch: From 0.
        stage: Usually `runs`.
        n: Attempt.
        ordinal: Place of the job in its attempt.
        kind: A `RunEventKind`.
        repeat: How many events of this kind the place had before; a lost job starts again.
    """
    return content_id(campaign, epoch, stage, n, ordinal, kind, repeat)


def attempt_id(*, campaign: str, epoch: int, stage: str, n: int, seq: int) -> str:
    """Id of an event of a stage attempt."""
    return content_id(campaign, epoch, stage, n, seq)
