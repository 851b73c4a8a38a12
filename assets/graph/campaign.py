"""The Campaign component: one `defs.yaml` becomes one asset group with one epoch dimension.

    score_log[<e] -> evolution[e] -> ideas[e] -> patches[e] -> runs[e] -> scores[e]

Dagster accepts no cycle between asset keys, so the loop closes through the lake: `score_log` is an
external asset without dependencies, and `scores` reports an observation of it (an observation,
since for external assets Dagster's staleness check reads no materializations).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
from pydantic import BaseModel

from assets.attempt.lock import campaign_held
from assets.attempt.monitor import Hooks, JobsProgress, Monitor
from assets.attempt.order import missing_stages
from assets.config.home import Home, find_home
from assets.config.sandbox import LEVEL_TAG
from assets.config.settings import CampaignSettings
from assets.errors import TOLD, Interrupted, no_room
from assets.graph.backfills import check_backfill_order
from assets.graph.instance import UNFINISHED, fail_dead_runs, limit_pool, pool, process_tag
from assets.graph.metadata import check_results, stage_metadata
from assets.graph.permits import is_permitted
from assets.work import Report, work
from lake.attempts import Attempt, AttemptLog
from lake.shared import shared_lake
from lake.stages import DEFINITIONS, Definitions, StageDefinition, definition_of, upstream_of
from lake.tables import Stage
from launchers.visible import visible

OBSERVE_SECONDS = 5.0
DATA_VERSION_TAG = "dagster/data_version"
CUT = "stopped at your request while the lake was read; `varve search` goes on where this stopped"
INTERRUPTED = "interrupted"
"""Metadata of a failure that the user asked for."""
CHECKS = {
    "no_guard_violated": "No score of the epoch was refused by a guard.",
    "completion_rate": "At least half of the ideas so far have a valid score.",
    "baseline_present": "The unpatched environment has valid scores to compare with.",
}


class Campaign(dg.Component):
    """One search: an environment, models, a strategy, a budget."""

    def __init__(self, settings: CampaignSettings) -> None:
        self.settings = settings

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of `attributes`."""
        return CampaignSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "Campaign":
        """Made by Dagster from a `defs.yaml`."""
        assert isinstance(attributes, CampaignSettings)
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The campaign's assets and its sensor; the folder's name is the campaign's."""
        return campaign_definitions(context.path.name, self.settings, home=find_home())


def epoch_key(epoch: int) -> str:
    """Partition key of an epoch: zero-padded, since Dagster queues a backfill's runs as text."""
    return f"{epoch:04d}"


def campaign_definitions(
    name: str,
    settings: CampaignSettings,
    *,
    home: Home,
    hooks: Hooks | None = None,
    definitions: Definitions = DEFINITIONS,
) -> dg.Definitions:
    """The asset group of one campaign: an asset for each stage that is declared.

    Args:
        name: of the campaign.
        settings: of the campaign.
        home: where its state lies.
        hooks: of whoever runs the steps in this process.
        definitions: the stages that are declared; the campaign has those that its settings ask for.
    """
    stages = settings.stages(definitions)
    keys = [epoch_key(epoch) for epoch in range(settings.epochs)]
    epochs = dg.StaticPartitionsDefinition(keys)
    later = dg.StaticPartitionMapping({key: keys[i + 1 :] for i, key in enumerate(keys)})
    score_log = dg.AssetSpec(
        [name, "score_log"],
        partitions_def=epochs,
        group_name=name,
        kinds={"deltalake"},
        description="The scores as later epochs see them; closes the loop through the lake.",
    )
    loop = dg.AssetDep(score_log, partition_mapping=later)
    assets = []
    for each in stages:
        deps = [dg.AssetDep(asset_key(name, s)) for s in upstream_of(each.stage, stages)]
        deps += [loop] if each.rests_on is not None else []
        assets.append(_stage_asset(name, each, deps, epochs, home, hooks or Hooks()))
    sensor = _autopilot(name, settings, assets, home, stages)
    return dg.Definitions(assets=[score_log, *assets], sensors=[sensor])


def asset_key(campaign: str, stage: Stage) -> dg.AssetKey:
    """Key of the asset of a stage."""
    return dg.AssetKey([campaign, stage.value])


def _stage_asset(
    name: str,
    definition: StageDefinition,
    deps: list[dg.AssetDep],
    epochs: dg.StaticPartitionsDefinition,
    home: Home,
    hooks: Hooks,
) -> dg.AssetsDefinition:
    stage, key = definition.stage, asset_key(name, definition.stage)
    checks = CHECKS if stage is Stage.SCORES else {}

    @dg.asset(
        key=key,
        deps=deps,
        partitions_def=epochs,
        group_name=name,
        pool=pool(name),
        kinds={"deltalake"},
        description=definition.description,
        check_specs=[
            dg.AssetCheckSpec(check, asset=key, description=said) for check, said in checks.items()
        ],
    )
    def stage_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses the generic form
        with _told_failures(home):
            report = _work_alone(context, name, stage, home, hooks)
        version = dg.DataVersion(str(report.attempt.read))
        if stage is Stage.SCORES:
            context.log_event(score_observation(report.attempt))
        return dg.MaterializeResult(
            data_version=version,
            metadata=stage_metadata(report),
            check_results=check_results(report) if checks else [],
        )

    return stage_asset


@contextmanager
def _told_failures(home: Home) -> Iterator[None]:
    """Turns what a user can act on into Dagster's failures, which show no traceback."""
    try:
        yield
    except Interrupted as error:
        raise dg.Failure(
            visible(str(error)), metadata={INTERRUPTED: True}, allow_retries=False
        ) from error
    except KeyboardInterrupt as error:  # polars raises it where the signal reaches its own wait
        raise dg.Failure(CUT, metadata={INTERRUPTED: True}, allow_retries=False) from error
    except TOLD as error:
        raise dg.Failure(description=visible(str(error)), allow_retries=False) from error
    except OSError as error:
        said = visible(no_room(home.root, error))
        raise dg.Failure(description=said, allow_retries=False) from error


def _work_alone(
    context: dg.AssetExecutionContext, name: str, stage: Stage, home: Home, hooks: Hooks
) -> Report:
    epoch = int(context.partition_key)
    doing = f"Dagster run {context.run.run_id}: {stage} of epoch {epoch:04d}"
    with campaign_held(home, name, doing=doing):
        context.instance.add_run_tags(context.run.run_id, dict(process_tag()))
        limit_pool(context.instance, name)
        fail_dead_runs(context.instance, held={name}, but=context.run.run_id)
        if definition_of(stage).rests_on is not None:
            log = read_attempts(home, name)
            check_backfill_order(context.instance, context.run, name, epoch, log)
        return work(
            home,
            name,
            stage,
            epoch,
            dagster_run_id=context.run.run_id,
            hooks=replace(_hooks_of_run(context, hooks), monitor=_Observer(context, hooks.monitor)),
        )


def _hooks_of_run(context: dg.AssetExecutionContext, hooks: Hooks) -> Hooks:
    """The caller's, or where it names no sandbox level what a tag of the run names."""
    named = context.run.tags.get(LEVEL_TAG)
    if hooks.sandbox is not None or named is None:
        return hooks
    permitted = is_permitted(context.instance, context.run)
    return replace(hooks, sandbox=named, permitted=permitted)


def read_attempts(home: Home, name: str) -> AttemptLog:
    """The campaign's attempts as the lake has them."""
    return shared_lake(home.lake).attempts(name)


def score_observation(attempt: Attempt) -> dg.AssetObservation:
    """What tells Dagster that `score_log` has another layer."""
    return dg.AssetObservation(
        [attempt.campaign, "score_log"],
        partition=epoch_key(attempt.epoch),
        tags={DATA_VERSION_TAG: str(attempt.read)},
    )


class _Observer:
    """Reports the progress of jobs to Dagster now and then, and always to the other monitor."""

    def __init__(self, context: dg.AssetExecutionContext, inner: Monitor) -> None:
        self._context = context
        self._inner = inner
        self._next = 0.0

    def jobs(self, progress: JobsProgress) -> None:
        self._inner.jobs(progress)
        if time.monotonic() < self._next and progress.done < progress.total:
            return
        self._next = time.monotonic() + OBSERVE_SECONDS
        metadata = {
            "done": progress.done,
            "total": progress.total,
            "running": progress.running,
            "failed": progress.failed,
            "adopted": progress.adopted,
        }
        self._context.log_event(
            dg.AssetObservation(
                self._context.asset_key, partition=self._context.partition_key, metadata=metadata
            )
        )


def _autopilot(
    name: str,
    settings: CampaignSettings,
    assets: list[dg.AssetsDefinition],
    home: Home,
    definitions: Definitions,
) -> dg.SensorDefinition:
    keys = [asset.key for asset in assets]

    @dg.sensor(
        name=f"{name}_autopilot",
        target=assets,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Starts the next epoch without scores, one at a time; a failed epoch stops it.",
    )
    def autopilot(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, *UNFINISHED])
        if any(
            set(keys) & set(run.asset_selection or ())
            for run in context.instance.get_runs(unfinished)
        ):
            return dg.SkipReason("an epoch of this campaign is queued or running")
        log = read_attempts(home, name)
        for epoch in range(settings.epochs):
            stages = missing_stages(epoch, log, definitions)
            if stages:
                n = log.next_n(epoch, stages[0])
                return dg.RunRequest(
                    run_key=f"{name}/{epoch_key(epoch)}/{stages[0]}/{n}",
                    partition_key=epoch_key(epoch),
                    asset_selection=[asset_key(name, stage) for stage in stages],
                )
        return dg.SkipReason(f"all {settings.epochs} epochs have scores")

    return autopilot
