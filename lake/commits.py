"""What a commit says of itself in a table's history: campaign, stage, attempt, code version.

A fact names the stage that it is about; a row of a stage's table belongs to the stage that commits
it. A commit of the journal may hold facts of several attempts, which are all named.
"""

from collections.abc import Iterable

from lake.stages import stage_of
from lake.tables import Row, Stage

CAMPAIGN, STAGE, ATTEMPT, CODE_VERSION = (
    "varve.campaign",
    "varve.stage",
    "varve.attempt",
    "varve.code_version",
)
"""Keys of a commit's metadata; several values are joined by a comma."""


def commit_metadata(rows: Iterable[Row], code_version: str | None) -> dict[str, str]:
    """The metadata of a commit that holds these rows.

    Args:
        rows: Of one table.
        code_version: Of the Varve that commits; left out where it is not known.
    """
    places = {(row.campaign, _stage(row), row.epoch, row.n) for row in rows}
    said = {
        CAMPAIGN: {campaign for campaign, *_ in places},
        STAGE: {str(stage) for _, stage, *_ in places},
        ATTEMPT: {f"{stage}/{epoch:04d}/{n}" for _, stage, epoch, n in places},
        CODE_VERSION: {code_version} if code_version else set(),
    }
    return {key: ",".join(sorted(values)) for key, values in said.items() if values}


def _stage(row: Row) -> Stage:
    return Stage(getattr(row, "stage", None) or stage_of(type(row)))
