"""The upper floor: campaigns as Dagster assets, the search that drives them, and the `varve` command.

Stage files (`evolution`, `ideas`, `patches`, `runs`, `scores`) are pure below a thin `produce`
and never import each other: they meet in the lake. Only `campaign`, `definitions`, `instance`,
`backfills` and `search` speak Dagster, because importing it costs seconds.
"""
