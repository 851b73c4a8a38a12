"""Work on one stage of one epoch: begin or resume an attempt, produce its rows, complete it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from assets import evolution, ideas, patches, runs, scores
from assets.attempt.context import Context, Produced
from assets.attempt.monitor import Hooks
from assets.attempt.order import reads_of
from assets.attempt.spending import Bill, Spending
from assets.config.data import PreparedData, prepare_data
from assets.config.environment import Environment, Profile, find_environment, read_environment
from assets.config.home import PROJECT, Home
from assets.config.identity import Identity, check_identity, identify
from assets.config.sandbox import choose_level
from assets.config.settings import CampaignSettings, read_campaign
from assets.jobs.smoke import may_smoke
from assets.models.recordings import recordings_of
from assets.models.roles import cast
from assets.results.history import History
from assets.results.summary import Summary, summarize
from lake.attempts import Attempt
from lake.costs import costs
from lake.journal import Journal
from lake.shared import shared_lake
from lake.tables import Run, Stage
from lake.writer import Writer
from launchers import JobRunningError, LocalLauncher

PRODUCERS: Mapping[Stage, Callable[[Context], Produced]] = {
    Stage.EVOLUTION: evolution.produce,
    Stage.IDEAS: ideas.produce,
    Stage.PATCHES: patches.produce,
    Stage.RUNS: runs.produce,
    Stage.SCORES: scores.produce,
}


WITH_JOBS = (Stage.RUNS, Stage.SCORES)
"""Stages that run patched code."""

MAINTAINED = 8
"""Epochs between two maintenances of the lake; every commit opens what many small commits left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an attempt came to."""

    attempt: Attempt
    summary: Summary
    cost: Bill
    """Of the epoch, all its attempts together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a campaign stands on, as it is on disk now."""

    settings: CampaignSettings
    environment: Environment
    profile: Profile
    data: PreparedData
    identity: Identity

    @property
    def smokes(self) -> bool:
        """Whether patches are run for some seconds before they are accepted."""
        return may_smoke(self.environment, self.settings)

    @property
    def config(self) -> str:
        """JSON that an attempt records."""
        return json.dumps(
            {"identity": asdict(self.identity), "settings": self.settings.model_dump()}
        )


def survey(home: Home, campaign: str) -> Setup:
    """Read and check everything that a campaign stands on; data is prepared on first use.

    Raises:
        VarveError: naming what cannot be used.
    """
    settings = read_campaign(home.campaigns, campaign)
    environment = read_environment(find_environment(settings.environment))
    profile = environment.profile(settings.profile)
    data = prepare_data(environment, settings.profile, folder=home.data)
    identity = identify(environment, settings.profile, data)
    return Setup(
        settings=settings, environment=environment, profile=profile, data=data, identity=identity
    )


def work(
    home: Home,
    campaign: str,
    stage: Stage,
    epoch: int,
    *,
    dagster_run_id: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Work on one stage of one epoch; the caller holds the campaign's lock.

    An open attempt that rests on the same rows is resumed, a closed one is followed by the next.

    Raises:
        VarveError: with what the user can do about it; recorded facts are kept.
    """
    setup = survey(home, campaign)
    hooks = hooks or Hooks()
    runs_jobs = stage in WITH_JOBS or (stage is Stage.PATCHES and setup.smokes)
    level = choose_level(setup.settings, named=hooks.sandbox) if runs_jobs else "none"
    lake = shared_lake(home.lake)
    with closing(Journal.open(home.journal(campaign))) as journal:
        writer = Writer(lake, journal, campaign)
        check_identity(campaign, setup.identity, writer.log)
        _abandon_other_settings(writer, stage, epoch, setup.config)
        opening = writer.begin(
            epoch,
            stage,
            reads=reads_of(campaign, stage, epoch, writer.log),
            config=setup.config,
            code_version=code_version(),
            dagster_run_id=dagster_run_id,
            again=True,
        )
        context = _context(setup, home, writer, opening.attempt, hooks=hooks, level=level)
        try:
            produced = PRODUCERS[stage](context)
        finally:
            writer.flush()
        counts = {"rows": len(produced.rows), **produced.counts}
        attempt = writer.complete(opening.attempt, produced.rows, counts=counts)
        history = History(lake, writer.log, campaign)
        known = history.before(epoch + 1)
        summary = summarize(
            known,
            setup.environment,
            setup.settings.profile,
            confirmations=setup.settings.confirm.needed,
        )
        if stage is Stage.SCORES:
            _release(context, summary)
            if epoch % MAINTAINED == MAINTAINED - 1:
                lake.maintain()
        return Report(attempt=attempt, summary=summary, cost=context.spending.of_epoch)


def _context(
    setup: Setup, home: Home, writer: Writer, attempt: Attempt, *, hooks: Hooks, level: str
) -> Context:
    settings, lake = setup.settings, writer.lake
    models = cast(settings, setup.environment.path, recordings_of(lake))
    writer.flush()
    return Context(
        campaign=writer.campaign,
        settings=settings,
        environment=setup.environment,
        profile=setup.profile,
        data=setup.data,
        evaluator=setup.identity.evaluator,
        lake=lake,
        writer=writer,
        attempt=attempt,
        log=writer.log,
        chain=writer.log.chain(attempt.reads, attempt.epoch),
        history=History(lake, writer.log, writer.campaign),
        ideators=models.ideators,
        implementer=models.implementer,
        spending=Spending.of(
            writer.campaign, attempt.epoch, settings.budget, costs(lake, writer.campaign)
        ),
        launcher=LocalLauncher(home.jobs),
        monitor=hooks.monitor,
        stop=hooks.stop,
        sandbox_level=level,
    )


@cache
def code_version() -> str:
    """Hash of Varve's own source, so that an attempt says what made it."""
    digest = hashlib.sha256()
    for room in ("assets", "lake", "launchers"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


DECIDES: Mapping[Stage, tuple[str, ...]] = {
    Stage.EVOLUTION: ("strategy",),
    Stage.IDEAS: ("strategy", "batch", "ideators", "novelty"),
    Stage.PATCHES: ("implementer",),
    Stage.RUNS: ("confirm", "remeasure"),
    Stage.SCORES: ("strategy", "confirm"),
}
"""Settings that decide what an attempt of a stage asks and runs. The others may change while it is
open: how much at once and how much money, or what another stage does."""
WHO = ("protocol", "base_url")
"""Of a provider, what decides who answers."""


def _abandon_other_settings(writer: Writer, stage: Stage, epoch: int, config: str) -> None:
    """An attempt that was begun under other settings is not gone on with: it would mix them."""
    begun = writer.log.open(epoch, stage)
    if begun is None:
        return
    then, now = _decisive(stage, begun.config or "{}"), _decisive(stage, config)
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if changed:
        what = ", ".join(changed)
        writer.abandon(begun, f"the campaign's settings have changed since it was opened: {what}")


def _decisive(stage: Stage, config: str) -> dict[str, Any]:
    """What of a configuration decides what the stage asks and runs; as this version reads it."""
    found: dict[str, Any] = json.loads(config)
    try:
        settings = CampaignSettings.model_validate(found.get("settings", {}))
    except ValidationError:  # of a version with other keys
        return found
    told = settings.model_dump(include={"seed", *DECIDES[stage]})
    asked = {role.model for role in (*settings.ideators, settings.implementer)}
    providers = settings.all_providers
    told["providers"] = {
        name: [getattr(providers[name], key) for key in WHO] for name in asked & providers.keys()
    }
    return told | {"identity": found.get("identity")}


def _release(context: Context, summary: Summary) -> None:
    """Clear the folders of all scored jobs; outputs of baselines and of the best are kept."""
    keep = summary.kept_runs
    runs = context.lake.columns(Run, ("run_id",), campaign=context.campaign)
    for run_id in runs["run_id"] if runs is not None else ():
        with suppress(JobRunningError):
            context.launcher.release(run_id, keep_outputs=run_id in keep)
