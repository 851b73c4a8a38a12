"""The lake: what is true of every search, append-only, and how to ask it.

Start reading at `lake.tables` (what a row is), then `lake.attempts` (what is current) and
`lake.writer` (how work becomes visible). polars, deltalake and DuckDB are imported when they are
first used.
"""

from lake.attempts import Attempt, AttemptLog, AttemptState, Opening, OpeningKind, Read
from lake.costs import Cost, costs
from lake.delta import App, Lake
from lake.errors import (
    AttemptError,
    LakeError,
    LeaseError,
    QueryError,
    ReadOnlyError,
    RowError,
    SchemaError,
    StorageError,
)
from lake.formats import FORMATS
from lake.journal import Journal
from lake.lease import Lease
from lake.lineage import Ancestor, ancestors
from lake.sql import Result, connect, query
from lake.stages import DEFINITIONS, STAGE_TABLE, StageDefinition
from lake.tables import TABLES, Row, Stage
from lake.views import VIEWS
from lake.writer import Writer

__all__ = [
    "DEFINITIONS",
    "FORMATS",
    "STAGE_TABLE",
    "TABLES",
    "VIEWS",
    "Ancestor",
    "App",
    "Attempt",
    "AttemptError",
    "AttemptLog",
    "AttemptState",
    "Cost",
    "Journal",
    "Lake",
    "LakeError",
    "Lease",
    "LeaseError",
    "Opening",
    "OpeningKind",
    "QueryError",
    "Read",
    "ReadOnlyError",
    "Result",
    "Row",
    "RowError",
    "SchemaError",
    "Stage",
    "StageDefinition",
    "StorageError",
    "Writer",
    "ancestors",
    "connect",
    "costs",
    "query",
]
