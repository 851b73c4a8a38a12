"""What the commands that need Dagster do in a terminal."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.attempt.lock import holder, lake_lock
from assets.attempt.monitor import Hooks, Stop
from assets.attempt.order import missing_stages
from assets.config.allowed import read_allowed
from assets.config.environment import find_environment, read_environment
from assets.config.home import Home
from assets.config.sandbox import choose_level, level_line
from assets.config.settings import CampaignSettings, campaign_names, read_campaign
from assets.config.setup import check_allowed
from assets.config.site import launcher_of, site_of
from assets.errors import CampaignError, Interrupted, VarveError
from assets.graph.campaign import read_attempts
from assets.graph.instance import told_history
from assets.graph.search import Search, Work, all_stages, open_search, run_search
from assets.terminal.console import open_console
from assets.terminal.display import Display, best_table
from launchers.visible import visible

STATE_CHARACTERS = 80
"""A longer state is printed below the table of campaigns."""
AFTER_BACKFILL = (
    "`varve search {campaign}` completes the epoch that was interrupted; then launch the backfill "
    "again from the epoch after it"
)


def search_in_terminal(
    home: Home, campaign: str, *, limit: int | None, sandbox: str | None
) -> None:
    """Run what is missing of a campaign, with a live display and a table at the end."""
    doing = f"varve search {campaign}"
    with _opened(home, campaign, doing, sandbox) as (search, console, display):
        missing = search.missing()
        done = search.settings.epochs - len(missing)
        _drive(search, missing[:limit], console, display, done=done, total=search.settings.epochs)
        _finish(search, console)


def backfill_in_terminal(home: Home, campaign: str, span: str, *, sandbox: str | None) -> None:
    """Run a range of epochs again, as new attempts."""
    doing = f"varve backfill {campaign}"
    settings = read_campaign(home.campaigns, campaign)
    works = all_stages(settings, parse_span(span, settings.epochs))
    with _opened(home, campaign, doing, sandbox) as (search, console, display):
        try:
            _drive(search, works, console, display, done=0, total=len(works))
        except Interrupted as error:
            raise Interrupted(f"{error}. {AFTER_BACKFILL.format(campaign=campaign)}") from error
        _finish(search, console)


def parse_span(span: str, epochs: int) -> range:
    """`3` or `1-3` as a range of epochs that the campaign has.

    Raises:
        CampaignError: if it is not.
    """
    match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", span.strip())
    first = int(match[1]) if match else 0
    last = int(match[2] or match[1]) if match else -1
    if not match or not first <= last < epochs:
        raise CampaignError(
            f"--epochs: found {span!r}, expected one epoch or FIRST-LAST within 0-{epochs - 1}"
        )
    return range(first, last + 1)


@contextmanager
def _opened(
    home: Home, campaign: str, doing: str, sandbox: str | None
) -> Iterator[tuple[Search, Console, Display]]:
    settings = read_campaign(home.campaigns, campaign)
    console = open_console()
    launcher = launcher_of(home, settings.launcher)
    environment = read_environment(find_environment(settings.environment))
    site = site_of(launcher, environment, settings.profile)
    level = choose_level(settings, site, named=sandbox)
    stop = Stop()
    display = Display(console, campaign=campaign, epochs=settings.epochs, stop=stop)
    hooks = Hooks(monitor=display, stop=stop, sandbox=sandbox)
    with told_history(home), open_search(home, campaign, hooks, doing=doing) as search:
        console.print(level_line(level), highlight=False, soft_wrap=True)
        yield search, console, display


def _drive(
    search: Search,
    works: list[Work],
    console: Console,
    display: Display,
    *,
    done: int,
    total: int,
) -> None:
    started = time.monotonic()

    def each(work: Work) -> None:
        display.epoch_done(work.epoch, search.summary())

    display.begin(
        metric=search.environment.manifest.metric,
        done=done,
        total=total,
        summary=search.summary(),
    )
    with display:
        run_search(search, works, each=each)
    if works:
        console.print(
            f"{len(works)} epoch(s) in {time.monotonic() - started:.0f} s", highlight=False
        )
    else:
        console.print("Nothing is missing: every epoch has scores.", highlight=False)


def _finish(search: Search, console: Console) -> None:
    summary = search.summary()
    console.print(best_table(summary, search.environment.manifest.metric))
    rate = summary.completion_rate
    if rate is not None:
        console.print(
            f"{summary.valid} of {summary.ideas} ideas have a valid score ({rate:.0%})",
            highlight=False,
        )
    spent = search.spent()
    bills = ((spent.usd, "USD"), (spent.gpu_hours, "GPU-hours"))
    told = ", ".join(f"{amount:.4g} {unit}" for amount, unit in bills if amount)
    if told:
        console.print(f"spent so far: {told}", highlight=False)
    name, missing = search.campaign, search.missing()
    done = [e for e in range(search.settings.epochs) if e not in {work.epoch for work in missing}]
    go_on = (
        f".venv/bin/varve search {name}"
        if missing
        else f".venv/bin/varve backfill {name} --epochs {done[-1]}"
    )
    console.print("\nTry next:", highlight=False)
    for line in (
        "make ui",
        f'.venv/bin/varve sql "select epoch, title, value, reason from leaderboard '
        f"where campaign = '{name}' order by reward desc\"",
        go_on,
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)


def list_campaigns(home: Home) -> None:
    """One line per campaign."""
    table = Table("campaign", "environment", "strategy", "epochs done", "state")
    console, problems = open_console(), []
    for name in campaign_names(home.campaigns):
        *cells, state = _standing(home, name)
        if len(state) > STATE_CHARACTERS:
            problems.append(state)
            state = f"cannot run, see ({len(problems)})"
        table.add_row(*(Text(visible(cell)) for cell in (name, *cells, state)))
    console.print(table)
    for number, problem in enumerate(problems, start=1):
        console.print(Text(f"({number}) {visible(problem)}"), soft_wrap=True)


def _standing(home: Home, name: str) -> tuple[str, ...]:
    try:
        settings = read_campaign(home.campaigns, name)
    except VarveError as error:
        return ("", "", "", str(error))
    state = _cannot_run(home, name, settings) or _running(home, name)
    log = read_attempts(home, name)
    stages = settings.stages()
    missing = [epoch for epoch in range(settings.epochs) if missing_stages(epoch, log, stages)]
    done = settings.epochs - len(missing)
    state = state or (f"next epoch {missing[0]:04d}" if missing else "complete")
    return (settings.environment, settings.strategy.kind, f"{done}/{settings.epochs}", state)


def _cannot_run(home: Home, name: str, settings: CampaignSettings) -> str | None:
    """Why a campaign whose file is right cannot run here."""
    try:
        environment = read_environment(find_environment(settings.environment))
        site_of(launcher_of(home, settings.launcher), environment, settings.profile)
        check_allowed(name, settings, environment, read_allowed(home))
    except VarveError as error:
        return str(error)
    return None


def _running(home: Home, name: str) -> str | None:
    said = holder(home.lock(name)) or holder(lake_lock(home, name))
    if said is None:
        return None
    try:
        found = json.loads(said)
        return f"running: {found['doing']}, process {found['pid']}, since {found['since']}"
    except (ValueError, TypeError, KeyError):
        return "running"
