"""Work on one stage of one epoch: begin or resume an attempt, produce its rows, complete it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache

from assets import evolution, ideas, patches, runs, scores
from assets.data import prepare_data
from assets.environment import find_environment, read_environment
from assets.history import History
from assets.home import PROJECT, Home
from assets.identity import check_identity, identify
from assets.models.catalog import read_catalog
from assets.monitor import Monitor, Silent, Stop
from assets.order import chain_of, reads_of
from assets.settings import read_campaign
from assets.stage import Context, Produced
from assets.summary import Summary, summarize
from lake.attempts import Attempt
from lake.delta import Lake
from lake.journal import Journal
from lake.tables import Run, Stage
from lake.writer import Writer
from launchers import JobPhase, LocalLauncher

PRODUCERS: Mapping[Stage, Callable[[Context], Produced]] = {
    Stage.EVOLUTION: evolution.produce,
    Stage.IDEAS: ideas.produce,
    Stage.PATCHES: patches.produce,
    Stage.RUNS: runs.produce,
    Stage.SCORES: scores.produce,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an attempt came to."""

    attempt: Attempt
    summary: Summary


def work(
    home: Home,
    campaign: str,
    stage: Stage,
    epoch: int,
    *,
    dagster_run_id: str | None = None,
    monitor: Monitor | None = None,
    stop: Stop | None = None,
) -> Report:
    """Work on one stage of one epoch; the caller holds the campaign's lock.

    An open attempt that rests on the same rows is resumed, a closed one is followed by the next.

    Raises:
        VarveError: with what the user can do about it; recorded facts are kept.
    """
    settings = read_campaign(home.campaigns, campaign)
    environment = read_environment(find_environment(settings.environment))
    profile = environment.profile(settings.profile)
    data = prepare_data(environment, settings.profile, folder=home.data)
    identity = identify(environment, settings.profile, data)
    lake = Lake.open(home.lake)
    with closing(Journal.open(home.journal(campaign))) as journal:
        writer = Writer(lake, journal, campaign)
        check_identity(campaign, identity, writer.log)
        opening = writer.begin(
            epoch,
            stage,
            reads=reads_of(campaign, stage, epoch, writer.log),
            config=json.dumps({"identity": asdict(identity), "settings": settings.model_dump()}),
            code_version=code_version(),
            dagster_run_id=dagster_run_id,
            again=True,
        )
        ideator = read_catalog(environment.manifest.name, settings.ideators[0].name)
        context = Context(
            campaign=campaign,
            settings=settings,
            environment=environment,
            profile=profile,
            data=data,
            evaluator=identity.evaluator,
            lake=lake,
            writer=writer,
            attempt=opening.attempt,
            log=writer.log,
            chain=chain_of(opening.attempt.reads, epoch, writer.log),
            history=History(lake, writer.log, campaign),
            ideator=ideator,
            implementer=ideator,
            launcher=LocalLauncher(home.jobs),
            monitor=monitor or Silent(),
            stop=stop or Stop(),
        )
        try:
            produced = PRODUCERS[stage](context)
        finally:
            writer.flush()
        counts = {"rows": len(produced.rows), **produced.counts}
        attempt = writer.complete(opening.attempt, produced.rows, counts=counts)
        history = History(lake, writer.log, campaign)
        summary = summarize(history.before(epoch + 1), environment, settings.profile)
        if stage is Stage.SCORES:
            _release(context, summary)
        return Report(attempt=attempt, summary=summary)


@cache
def code_version() -> str:
    """Hash of Varve's own source, so that an attempt says what made it."""
    digest = hashlib.sha256()
    for room in ("assets", "lake", "launchers"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _release(context: Context, summary: Summary) -> None:
    """Clear the folders of scored jobs; outputs of baselines and of the best so far are kept."""
    keep = summary.kept_runs
    for run in context.upstream(Run, Stage.RUNS):
        if context.launcher.poll(run.run_id).phase is JobPhase.DONE:
            context.launcher.release(run.run_id, keep_outputs=run.run_id in keep)
