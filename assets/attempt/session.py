"""Work on one campaign: what is open while its lock is held, and the contexts made from it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

from assets.attempt.context import Context
from assets.attempt.lock import check_held
from assets.attempt.monitor import Hooks
from assets.attempt.spending import Spending
from assets.attempt.view import view_of
from assets.config.code import code_version
from assets.config.home import Home
from assets.config.identity import check_identity
from assets.config.sandbox import choose_level
from assets.config.setup import Setup, survey
from assets.models.recordings import recordings_of
from assets.models.roles import cast
from lake.attempts import Attempt
from lake.costs import costs
from lake.journal import Journal
from lake.shared import shared_lake
from lake.writer import Writer

WITHOUT_JOBS = "none"
"""Level of a stage that runs no job: nothing is tried for it."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A campaign that is being worked on."""

    setup: Setup
    writer: Writer
    hooks: Hooks

    @cached_property
    def level(self) -> str:
        """The sandbox level of the jobs of this call.

        Raises:
            SandboxError: it does not work, or is too weak.
        """
        setup, hooks = self.setup, self.hooks
        return choose_level(
            setup.settings, setup.site, named=hooks.sandbox, permitted=hooks.permitted
        )

    def context(self, attempt: Attempt, *, with_jobs: bool, reads: Sequence[str] = ()) -> Context:
        """An attempt, and all that may be used to work on it.

        Args:
            attempt: open, or complete to be extended.
            with_jobs: whether jobs are run for it.
            reads: what it rests on, where that has grown since it was recorded.
        """
        writer, setup = self.writer, self.setup
        writer.flush()
        view = view_of(setup, writer.lake, writer.log, attempt, reads=reads)
        past = costs(writer.lake, writer.campaign)
        models = recordings_of(writer.lake)
        return Context(
            view=view,
            writer=writer,
            cast=lambda: cast(view.settings, setup.environment.path, models, setup.allowed),
            launcher=setup.launcher,
            level=self.level if with_jobs else WITHOUT_JOBS,
            spending=Spending.of(writer.campaign, attempt.epoch, setup.settings.budget, past),
            monitor=self.hooks.monitor,
            stop=self.hooks.stop,
        )


@contextmanager
def open_writer(home: Home, campaign: str) -> Iterator[Writer]:
    """What a campaign writes with; the caller holds its lock."""
    with closing(Journal.open(home.journal(campaign))) as journal:
        yield Writer(
            shared_lake(home.lake),
            journal,
            campaign,
            code_version=code_version(),
            check=lambda: check_held(home, campaign),
        )


@contextmanager
def open_session(home: Home, campaign: str, hooks: Hooks) -> Iterator[Session]:
    """Read what the campaign rests on and open what it writes to; the caller holds its lock.

    Raises:
        VarveError: naming what cannot be used.
    """
    setup = survey(home, campaign)
    with open_writer(home, campaign) as writer:
        check_identity(campaign, setup.identity, writer.log)
        yield Session(setup=setup, writer=writer, hooks=hooks)
