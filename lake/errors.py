"""What can go wrong in the lake, and the four parts that every message has.

LakeError
├── RowError        a row cannot be stored: a NaN, a wrong type, an attempt it does not belong to
├── SchemaError     tables or a journal were made by a newer schema, or hold an unknown word
├── AttemptError    a stage attempt is in the wrong state for what is asked
├── LeaseError      another process holds what only one may work on
├── StorageError    the table, the journal or the disk cannot be reached or written
└── QueryError      SQL that failed, or that names what the lake does not have
    └── ReadOnlyError    SQL that would change something or read outside the lake
"""

from lake.quoting import bounded


class LakeError(Exception):
    """Root of the tree; its message says where, what was found, what was expected, what to do."""

    def __init__(self, *, where: str, found: str, expected: str, todo: str) -> None:
        """Keeps the four parts, each bounded, so that a caller can show them separately.

        Args:
            where: The table, file or statement.
            found: What was there.
            expected: What should have been there.
            todo: What the reader can do next.
        """
        where, found, expected, todo = map(bounded, (where, found, expected, todo))
        self.where, self.found, self.expected, self.todo = where, found, expected, todo
        end = "\n" if "\n" in found else ". "  # a DuckDB excerpt ends with a caret under its line
        super().__init__(f"{where}: {found}{end}Expected {expected}. {todo}.")


class RowError(LakeError):
    """A row cannot be stored."""


class SchemaError(LakeError):
    """What is stored does not fit the row types of this version."""


class AttemptError(LakeError):
    """A stage attempt is in the wrong state for what is asked."""


class LeaseError(LakeError):
    """Another process holds what only one may work on, or has taken it over."""


class StorageError(LakeError):
    """The table, the journal or the disk cannot be reached or written."""


class QueryError(LakeError):
    """SQL that failed, or that names what the lake does not have."""


class ReadOnlyError(QueryError):
    """SQL that would change something or read outside the lake."""
