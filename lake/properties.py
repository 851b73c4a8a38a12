"""Properties of the lake's tables: what a new table is given, and what an older one lacks.

Delta forgets by default: the log of a commit goes after 30 days, a replaced file after 7 where
somebody vacuums. A lake that promises replay keeps every version, so both are put off for 1,000
years, and the cleaning of the log is switched off; other programs that write to the table keep to
that too.
"""

from typing import TYPE_CHECKING

from lake.columns import SCHEMA_VERSION

if TYPE_CHECKING:
    from deltalake import DeltaTable, PostCommitHookProperties

CHECKPOINT_INTERVAL = 20
"""Commits between checkpoints. Opening and committing cost 0.3 CPU ms per commit since the last one
(measured), a checkpoint 10."""
NEVER = "interval 52000 weeks"
"""Delta takes neither months nor years."""
SCHEMA_PROPERTY = "varve.schema"
FIRST_PROPERTY = "varve.first_schema"
"""The version that made the table; its files lack the columns that came later."""
_KEEPING = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": NEVER,
    "delta.deletedFileRetentionDuration": NEVER,
}
_NEWEST = _KEEPING | {SCHEMA_PROPERTY: str(SCHEMA_VERSION)}


def first_properties() -> dict[str, str]:
    """What a new table is given."""
    return _NEWEST | {FIRST_PROPERTY: str(SCHEMA_VERSION)}


def lacking_properties(table: "DeltaTable") -> dict[str, str]:
    """What a table of an older Varve has yet to be given; none where it is complete."""
    found = table.metadata().configuration
    return {name: value for name, value in _NEWEST.items() if found.get(name) != value}


def schema_version(table: "DeltaTable", name: str = SCHEMA_PROPERTY) -> int:
    """The version that a property of the table names; 0 where it has none."""
    return int(table.metadata().configuration.get(name, "0"))


def keep_log() -> "PostCommitHookProperties":
    """For every commit: the log is not looked through for old entries, which lists all of it.

    A table of an older Varve would lose them by the very commit that gives it its properties.
    """
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(cleanup_expired_logs=False)
