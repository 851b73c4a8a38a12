"""The upper floor: campaigns as Dagster assets, the search that drives them, the `varve` command.

cli, campaign, definitions   what is called from outside
terminal/    what a person sees                 graph/     the only place that imports Dagster
work         one stage of one epoch             evolution, ideas/, patches, runs/, scores/: stages
jobs/        jobs of any stage                  attempt/   what an attempt sees and may use
results/     what came of earlier epochs        ladder/    from an answer to a diff
models/      who proposes and implements        diffs/     what a diff may hold
config/      what is given: settings, environments, data, places

Each floor imports only from those below it (the contracts in pyproject.toml hold that). The stages
are pure below a thin `produce` and never import each other: they meet in the lake.
"""
