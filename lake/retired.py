"""Columns of older schemas, read as the columns that took their place.

`runs.result` was the JSON of the evaluator's report until schema 4, which gave its value, verdicts
and measures columns of their own. Nothing is rewritten: old rows are upgraded whenever they are
read.
"""

import json
from collections.abc import Mapping
from typing import Any

from lake.columns import row_columns, sql_type
from lake.tables import Row, Run

RESULT = "result"
OF_THE_RESULT = ("value", "verdicts", "measures")


def upgraded(row_type: type[Row], record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stored record, with a retired column's content in the columns of this version.

    Raises:
        ValueError: the retired column does not hold what it should.
    """
    if row_type is not Run or not record.get(RESULT):
        return record
    report = json.loads(record[RESULT])
    if not isinstance(report, dict):
        raise ValueError(f"{record[RESULT]!r:.80} in column {RESULT}, which held JSON objects")
    return {**record, **{name: report.get(name) for name in OF_THE_RESULT}}


def retired_sql(row_type: type[Row], stored: set[str]) -> dict[str, str]:
    """Column -> the SQL expression that reads it from a retired column too.

    Args:
        row_type: Of the table.
        stored: Columns that the table has.
    """
    if row_type is not Run or RESULT not in stored:
        return {}
    types = {column.name: sql_type(column) for column in row_columns(row_type)}
    told = {}
    for name in OF_THE_RESULT:
        old = f"TRY_CAST(json_extract({RESULT}, '$.{name}') AS {types[name]})"
        known = f'"{name}"' if name in stored else "NULL"
        told[name] = f"CASE WHEN {RESULT} IS NULL THEN {known} ELSE {old} END"
    return told
