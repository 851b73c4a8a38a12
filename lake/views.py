"""The views of `varve sql`: what a reader sees of the lake, as DuckDB statements.

`ideas`, `patches`, `runs`, `scores`, `selections` show current rows of complete attempts; the same
names with `_history` show everything, with the attempt event `seq` that made a row visible.
`completions`, `run_events` and `attempts` hold facts. `leaderboard` has one row per current idea,
scored or not; its reward is that of its value, which may be a mean, and not a mean of rewards.
Views read Parquet files lazily: only the columns and partitions that a query needs.

`current_attempts` is `AttemptLog.current` of `lake.attempts` in SQL, for lakes of a million ideas;
a test compares the two.
"""

from collections.abc import Mapping
from types import MappingProxyType

from lake.columns import RETIRED, SEQ, Column, row_columns, sql_type, stored_columns
from lake.retired import retired_sql
from lake.stages import DEFINITIONS, STAGE_TABLE, STAGE_TABLES, Definitions, StageDefinition
from lake.tables import TABLES, Row, Stage

CURRENT = tuple(STAGE_TABLE.values())
HISTORY = tuple(f"{table}_history" for table in CURRENT)
FACTS = tuple(table for table in TABLES if table not in STAGE_TABLES)
LEADERBOARD = "leaderboard"
VIEWS: tuple[str, ...] = (*CURRENT, LEADERBOARD, *FACTS, *HISTORY)
"""Every name that a query may use."""

LEADERBOARD_SQL = """
CREATE VIEW leaderboard AS
WITH scored AS (
    SELECT campaign, epoch, p.idea_id,
        any_value(s.metric) AS metric,
        avg(s.value) FILTER (screening) AS screened,
        count(s.value) FILTER (NOT screening) AS confirmed,
        count(*) FILTER (NOT screening AND s.value IS NULL
            AND s.blame IS DISTINCT FROM 'infrastructure') AS unconfirmed,
        CASE WHEN unconfirmed > 0 THEN NULL
            WHEN screened IS NULL OR confirmed = 0 THEN screened
            ELSE avg(s.value) FILTER (NOT screening) END AS value,
        CASE WHEN confirmed = 0 THEN stddev_samp(s.value)
            ELSE stddev_samp(s.value) FILTER (NOT screening) END AS value_sd,
        bool_and(s.reward = s.value) AS maximised,
        count(s.value) AS valid,
        count(*) AS scored,
        CASE WHEN screened IS NULL THEN min(s.blame) FILTER (screening)
            WHEN unconfirmed > 0 THEN min(s.blame) FILTER (NOT screening) END AS blame,
        CASE WHEN screened IS NULL THEN min(s.reason) FILTER (screening)
            WHEN unconfirmed > 0 THEN min(s.reason) FILTER (NOT screening) END AS reason,
        arg_min(r.run_id, r.seed) FILTER (screening) AS run_id,
        CAST(min(s.measures['cuts']) FILTER (screening) AS BIGINT) AS cuts,
        min(s.measures['compute']) FILTER (screening) AS compute,
        CAST(any_value(s.measures['parameters']) FILTER (screening) AS BIGINT) AS parameters,
        CAST(any_value(s.measures['checkpoint_bytes']) FILTER (screening) AS BIGINT)
            AS checkpoint_bytes,
        string_agg(DISTINCT r.sandbox_level, ', ' ORDER BY r.sandbox_level) AS sandbox_level,
        avg(r.cpu_seconds) AS cpu_seconds,
        avg(r.wall_seconds) AS wall_seconds,
        sum(r.cost_usd) AS cost_usd
    FROM scores s
    JOIN (
        SELECT *, purpose IS DISTINCT FROM 'confirmation' AS screening FROM runs
    ) r USING (campaign, epoch, run_id)
    JOIN patches p USING (campaign, epoch, patch_id)
    GROUP BY campaign, epoch, p.idea_id
), unpatched AS (
    SELECT campaign, epoch, idea_id,
        arg_max(blame, 1000 * revision - ordinal) AS blame,
        arg_max(reason, 1000 * revision - ordinal) AS reason
    FROM patches
    GROUP BY campaign, epoch, idea_id
    HAVING bool_and(status = 'failed')
)
SELECT campaign, epoch, idea_id, i.kind, i.title, scored.metric, scored.value, scored.value_sd,
    coalesce(scored.confirmed, 0) AS confirmed, scored.screened,
    CASE WHEN scored.maximised THEN scored.value
        WHEN NOT scored.maximised THEN 1 / scored.value END AS reward,
    coalesce(scored.valid, 0) AS valid, coalesce(scored.scored, 0) AS scored,
    coalesce(scored.blame, unpatched.blame) AS blame,
    coalesce(scored.reason, unpatched.reason) AS reason,
    scored.run_id, scored.cuts, scored.compute, scored.parameters, scored.checkpoint_bytes,
    scored.sandbox_level,
    scored.cpu_seconds, scored.wall_seconds, scored.cost_usd
FROM ideas i
LEFT JOIN scored USING (campaign, epoch, idea_id)
LEFT JOIN unpatched USING (campaign, epoch, idea_id)
WHERE i.status IS DISTINCT FROM 'rejected'
"""

COMPLETE_SQL = """
CREATE TEMP VIEW complete_attempts AS
SELECT campaign, epoch, stage, n,
    max(seq) FILTER (kind IN ('completed', 'extended')) AS seq,
    arg_max(reads, seq) FILTER (len(reads) > 0) AS reads
FROM attempts
GROUP BY campaign, epoch, stage, n
HAVING count(*) FILTER (kind = 'completed') > 0
"""


def needed_views(names: set[str]) -> list[str]:
    """The views to make for a query that mentions these, in the order to make them.

    Args:
        names: View names that a query mentions; none means all.
    """
    wanted = set(names or VIEWS)
    if LEADERBOARD in wanted:
        wanted |= {"ideas", "patches", "runs", "scores"}
    current = wanted & set(CURRENT)
    wanted |= {f"{table}_history" for table in current} | ({"attempts"} if current else set())
    order = (*FACTS, *HISTORY, *CURRENT, LEADERBOARD)
    return [name for name in order if name in wanted]


def stored_table(view: str) -> str:
    """The table that a view of files reads."""
    return view.removesuffix("_history")


def files_view(
    view: str, row_type: type[Row], files: list[str], *, stored: set[str], grown: bool
) -> str:
    """A view over the Parquet files of a table.

    Args:
        view: Name of the view.
        row_type: Whose columns it has.
        files: Live files; none gives a view without rows.
        stored: Columns that the table has; the others are null.
        grown: Whether some files may lack some of these; DuckDB then opens every file.
    """
    columns = stored_columns(row_type)
    if not files:
        return _create(view, columns, set(), "(SELECT 1) WHERE false")
    listed = ", ".join(quoted(file) for file in files)
    types = "{'campaign': VARCHAR, 'epoch': BIGINT}"
    source = (
        f"read_parquet([{listed}], hive_partitioning = true, hive_types = {types}, "
        f"union_by_name = {grown})"
    )
    return _create(view, columns, stored, source, retired_sql(row_type, stored))


def relation_view(view: str, row_type: type[Row], relation: str) -> str:
    """A view over a registered relation that has all columns."""
    columns = stored_columns(row_type)
    stored = {column.name for column in columns} | set(RETIRED.get(row_type.table, ()))
    return _create(view, columns, stored, relation, retired_sql(row_type, stored))


def _create(
    view: str,
    columns: tuple[Column, ...],
    stored: set[str],
    source: str,
    retired: Mapping[str, str] = MappingProxyType({}),
) -> str:
    chosen = (
        f'{retired[c.name]} AS "{c.name}"'
        if c.name in retired
        else f'"{c.name}"'
        if c.name in stored
        else f'CAST(NULL AS {sql_type(c)}) AS "{c.name}"'
        for c in columns
    )
    return f"CREATE VIEW {view} AS SELECT {', '.join(chosen)} FROM {source}"


def current_view(stage: Stage) -> str:
    """A view of the current rows of a stage's table."""
    table = STAGE_TABLE[stage]
    columns = ", ".join(f'h."{column.name}"' for column in row_columns(TABLES[table]))
    return (
        f"CREATE VIEW {table} AS SELECT {columns} FROM {table}_history h "
        f"JOIN current_attempts c ON c.stage = '{stage}' AND c.campaign = h.campaign "
        f"AND c.epoch = h.epoch AND c.n = h.n AND h.{SEQ} <= c.seq"
    )


def current_attempts(definitions: Definitions = DEFINITIONS) -> str:
    """A table of (campaign, epoch, stage, n, seq): the chain of each epoch, from its end."""
    later_first = [each.stage for each in reversed(definitions)]
    parts: list[str] = []
    for each in reversed(definitions):
        readers = [stage for stage in later_first if stage in each.read_by]
        parts += [_read_by(each.stage, reader) for reader in readers]
        parts.append(_current(each, readers))
    union = " UNION ALL ".join(
        f"SELECT campaign, epoch, '{each.stage}' AS stage, n FROM {each.stage}_current"
        for each in definitions
    )
    return (
        "CREATE TEMP TABLE current_attempts AS WITH complete AS MATERIALIZED "
        f"(FROM complete_attempts), {', '.join(parts)} "
        f"SELECT campaign, epoch, stage, n, complete.seq FROM ({union}) "
        "JOIN complete USING (campaign, epoch, stage, n)"
    )


def _read_by(stage: Stage, reader: Stage) -> str:
    """The complete attempts of `stage` that the reader's current attempts read."""
    read = (
        f"[split_part(r, '/', 3)::BIGINT for r in c.reads if split_part(r, '/', 1) = '{stage}' "
        "and split_part(r, '/', 2)::BIGINT = c.epoch]"
    )
    return (
        f"{stage}_by_{reader} AS (SELECT c.campaign, c.epoch, min(k.n) AS n FROM (SELECT campaign, "
        f"epoch, unnest({read}) AS n FROM complete c JOIN {reader}_current "
        f"USING (campaign, epoch, n) WHERE c.stage = '{reader}') c JOIN complete k "
        f"ON k.stage = '{stage}' AND k.campaign = c.campaign AND k.epoch = c.epoch AND k.n = c.n "
        "GROUP BY ALL)"
    )


def _current(definition: StageDefinition, readers: list[Stage]) -> str:
    """What the readers read of a stage, the first one first, else its own newest attempt."""
    stage = definition.stage
    chosen = "".join(f"{stage}_by_{reader}.n, " for reader in readers)
    joined = "".join(
        f" LEFT JOIN {stage}_by_{reader} USING (campaign, epoch)" for reader in readers
    )
    return (
        f"{stage}_current AS (SELECT campaign, epoch, coalesce({chosen}newest.n) AS n "
        f"FROM (SELECT campaign, epoch, max(n) AS n FROM complete WHERE stage = '{stage}' "
        f"GROUP BY ALL) newest{joined})"
    )


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
