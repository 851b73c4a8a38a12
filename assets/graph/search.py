"""Drive a campaign without the UI: materialize through Dagster what is missing, epoch by epoch."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import dagster as dg

from assets.attempt.lock import campaign_held
from assets.attempt.monitor import Hooks, StopLevel
from assets.attempt.order import missing_stages
from assets.attempt.session import open_session, open_writer
from assets.config.allowed import read_allowed
from assets.config.environment import find_environment, read_environment
from assets.config.home import Home
from assets.config.identity import check_identity
from assets.config.settings import CampaignSettings, read_campaign
from assets.config.setup import check_allowed, survey
from assets.errors import Interrupted, VarveError
from assets.graph.campaign import INTERRUPTED, campaign_definitions, epoch_key, read_attempts
from assets.graph.instance import fail_dead_runs, open_instance, process_tag
from assets.late import join_late
from assets.models.roles import check_keys
from assets.results.history import History
from assets.results.summary import Summary, summarize
from lake.costs import Cost, costs
from lake.shared import shared_lake
from lake.stages import stages_of
from lake.tables import Stage

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's events go to its own log; the terminal is for progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Stages of one epoch to materialize in one Dagster run."""

    epoch: int
    stages: Sequence[Stage]


class Search:
    """One campaign, its lock held, its instance open."""

    def __init__(
        self, home: Home, campaign: str, instance: dg.DagsterInstance, hooks: Hooks
    ) -> None:
        self.home = home
        self.campaign = campaign
        setup = survey(home, campaign)
        check_identity(campaign, setup.identity, read_attempts(home, campaign))
        self.settings, self.environment = setup.settings, setup.environment
        self.launcher, self.site = setup.launcher, setup.site
        self._instance = instance
        self.hooks = hooks
        definitions = campaign_definitions(campaign, self.settings, home=home, hooks=hooks)
        executor = dg.Definitions(executor=dg.in_process_executor)
        merged = dg.Definitions.merge(definitions, executor)
        self._job = merged.resolve_implicit_global_asset_job_def()

    def missing(self) -> list[Work]:
        """Epochs with stages that are missing or open, in order."""
        log = read_attempts(self.home, self.campaign)
        found = [
            Work(epoch=epoch, stages=missing_stages(epoch, log, self.settings.stages()))
            for epoch in range(self.settings.epochs)
        ]
        return [work for work in found if work.stages]

    def materialize(self, work: Work) -> None:
        """One Dagster run.

        Raises:
            VarveError: what the failing step said, or which key is missing.
        """
        if {Stage.IDEAS, Stage.PATCHES} & set(work.stages):
            check_keys(self.settings)
        keys = [dg.AssetKey([self.campaign, stage.value]) for stage in work.stages]
        result = self._job.execute_in_process(
            partition_key=epoch_key(work.epoch),
            asset_selection=keys,
            instance=self._instance,
            run_config=QUIET,
            tags=dict(process_tag()),
            raise_on_error=False,
        )
        if not result.success:
            raise _reason(result)

    def wait_for_late(self) -> int:
        """Waits for runs that outlived the quorum of their epoch; gives how many have joined it.

        Raises:
            VarveError: what went wrong; Interrupted where the user stopped it.
        """
        with open_session(self.home, self.campaign, self.hooks) as session:
            return join_late(session, wait=True)

    def spent(self) -> Cost:
        """What the campaign has cost so far, in all attempts."""
        epochs = costs(shared_lake(self.home.lake), self.campaign).values()
        return Cost(
            usd=sum(cost.usd for cost in epochs), gpu_hours=sum(cost.gpu_hours for cost in epochs)
        )

    def summary(self) -> Summary:
        """How far the campaign has come."""
        log = read_attempts(self.home, self.campaign)
        history = History(shared_lake(self.home.lake), log, self.campaign)
        return summarize(
            history.before(self.settings.epochs),
            self.environment,
            self.settings.profile,
            confirmations=self.settings.confirm.needed,
        )


@contextmanager
def open_search(home: Home, campaign: str, hooks: Hooks, *, doing: str) -> Iterator[Search]:
    """Take the campaign's lock for as long as the search lasts, and clean up after a killed one.

    Raises:
        VarveError: if the campaign cannot be used or somebody else works on it.
    """
    settings = read_campaign(home.campaigns, campaign)
    environment = read_environment(find_environment(settings.environment))
    check_allowed(campaign, settings, environment, read_allowed(home))
    with campaign_held(home, campaign, doing=doing), open_instance(home, [campaign]) as instance:
        fail_dead_runs(instance, held={campaign})
        with open_writer(home, campaign) as writer:  # moves and heals what a killed one left
            writer.lake.maintain()
        search = Search(home, campaign, instance, hooks)
        search.launcher.reconcile()
        yield search


def run_search(search: Search, works: Iterable[Work], *, each: Callable[[Work], None]) -> None:
    """Materialize one after the other in a thread, while Ctrl-C is handled here.

    The first Ctrl-C starts no new work and waits for what runs, the second cancels that too.

    Args:
        search: the campaign.
        works: what to do, in order.
        each: called after each of them.

    Raises:
        VarveError: of the first that failed; the later ones are not begun.
    """
    failure: list[BaseException] = []

    def drive() -> None:
        try:
            for work in works:
                if search.hooks.stop.level is not StopLevel.GO:
                    raise Interrupted(
                        "stopped at your request before the next epoch; `varve search` goes on "
                        "where this stopped"
                    )
                search.materialize(work)
                each(work)
            if not search.missing():
                search.wait_for_late()
        except BaseException as error:  # noqa: BLE001  handed to the calling thread below
            failure.append(error)

    with _ctrl_c(search.hooks.stop.press):
        thread = threading.Thread(target=drive, name="search")
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
    if failure:
        raise failure[0]


@contextmanager
def _ctrl_c(press: Callable[[], object]) -> Iterator[None]:
    def handle(signum: int, frame: FrameType | None) -> None:
        press()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def all_stages(settings: CampaignSettings, epochs: Iterable[int]) -> list[Work]:
    """Every stage that the campaign has, of these epochs, as new attempts."""
    stages = stages_of(settings.stages())
    return [Work(epoch=epoch, stages=stages) for epoch in epochs]


def _reason(result: dg.ExecuteInProcessResult) -> VarveError:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data.user_failure_data
            if failure is None or not failure.description:
                return VarveError(f"{event.step_key} failed: {event.step_failure_data.error}")
            wanted = INTERRUPTED in failure.metadata
            return (Interrupted if wanted else VarveError)(failure.description)
    return VarveError(
        f"Dagster run {result.run_id} failed before its first step: {_first_cause(result)}. "
        "Expected a stage to begin: run the same command again; if that fails too, `varve ui` "
        "shows the log of this run under Runs"
    )


def _first_cause(result: dg.ExecuteInProcessResult) -> str:
    """The error behind all others of a run that failed outside its steps."""
    failures = [event.job_failure_data for event in result.all_events if event.is_job_failure]
    error = failures[0].error if failures else None
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "Dagster does not say why"
