"""The Dagster instance under VARVE_HOME: settings, pool limits, and runs whose process is dead."""

import os
import socket
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from assets.config.exclusive import exclusive
from assets.config.home import Home
from assets.errors import HistoryError
from launchers.process_table import boot_id, read_process

PROCESS_TAG = "varve/process"
"""host/boot/pid/start of the process that works on a run."""
SETTINGS = """\
# Written by Varve. A pool is held for a whole run, so that a campaign's epochs do not overlap;
# its limit is set for each campaign by name, since a default limit leaks on a pool's first use.
# Output is not captured: steps print nothing, and capturing would take the terminal away from
# the display of a search.
telemetry: {enabled: false}
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
nux: {enabled: false}
concurrency:
  pools: {granularity: run}
  runs: {max_concurrent_runs: 4}
"""
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def pool(campaign: str) -> str:
    """Name of the pool that lets one run of a campaign at a time."""
    return f"campaign_{campaign}"


def open_instance(home: Home, campaigns: Iterable[str]) -> dg.DagsterInstance:
    """The project's instance, with an explicit limit of 1 for every campaign's pool.

    Its databases are made, or brought to this Dagster's form, by whoever opens them first: one at a
    time, since two who make one database leave it with two versions.

    Raises:
        HistoryError: a database cannot be read.
    """
    with exclusive(home.history_lock), told_history(home):
        home.dagster.mkdir(parents=True, exist_ok=True)
        settings = home.dagster / "dagster.yaml"
        if not settings.exists() or settings.read_text() != SETTINGS:
            fresh = settings.with_suffix(".new")
            fresh.write_text(SETTINGS)
            fresh.replace(settings)
        instance = dg.DagsterInstance.from_config(str(home.dagster))
        instance.get_runs_count()  # each storage makes its database when it is first asked
        instance.all_instigator_state()
        for campaign in campaigns:
            limit_pool(instance, campaign)
        return instance


@contextmanager
def told_history(home: Home) -> Iterator[None]:
    """Turns what Dagster's databases raise into HistoryError."""
    try:
        yield
    except (DBAPIError, CommandError) as error:
        said = getattr(error, "orig", None) or error
        raise HistoryError(
            f"{home.dagster}: Dagster's history cannot be read or written ({said}). Expected its "
            "databases to be whole and the disk to have room. If there is no room, free some and "
            "run the same command again; if they are damaged, `varve rebuild-history` sets them "
            "aside and makes them again from the lake, where the results are"
        ) from error


def limit_pool(instance: dg.DagsterInstance, campaign: str) -> None:
    """Set the campaign's pool to one run at a time, if it is not yet."""
    storage = instance.event_log_storage
    limits = {limit.name: limit for limit in storage.get_pool_limits()}
    known = limits.get(pool(campaign))
    if known is None or known.limit != 1 or known.from_default:
        storage.set_concurrency_slots(pool(campaign), 1)


def process_tag() -> Mapping[str, str]:
    """The tag by which others see whether this process still lives."""
    return {PROCESS_TAG: "/".join((socket.gethostname(), boot_id(), *_named(os.getpid())))}


def fail_dead_runs(
    instance: dg.DagsterInstance,
    *,
    untagged: bool = False,
    held: Container[str] = (),
    but: str | None = None,
) -> list[str]:
    """Mark unfinished runs whose process is gone as failed.

    Without this a search killed with SIGKILL leaves its run STARTED, which blocks the campaign's
    pool for ever, or NOT_STARTED, for which its autopilot waits. A pid with its start time names
    one process, so that a living one is never taken for dead. What runs on another host cannot be
    seen: such a run is dead where its campaign is held here, since two cannot hold it; a container
    that was restarted has another host name.

    Args:
        instance: whose runs.
        untagged: also take for dead the runs that never reached their first step; for the one UI of
            this project, before it starts anything.
        held: campaigns whose lock the caller holds.
        but: run of the caller, which is left alone.

    Returns:
        Ids of the runs that were marked.
    """
    marked = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        tag = _own_tag(instance, run)
        dead = untagged if tag is None else _is_dead(tag, held=_campaign(run) in held)
        if dead and run.run_id != but:
            instance.report_run_failed(run, "its process died; what it had recorded is kept")
            marked.append(run.run_id)
    return marked


def _campaign(run: dg.DagsterRun) -> str | None:
    """The campaign whose assets a run makes; None where they are of several, or of none."""
    found = {key.path[0] for key in run.asset_selection or ()}
    return found.pop() if len(found) == 1 else None


def _own_tag(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """The tag that its process gave a run; until then one launched again has that of its parent."""
    tag = run.tags.get(PROCESS_TAG)
    if tag is None or run.parent_run_id is None:
        return tag
    parent = instance.get_run_by_id(run.parent_run_id)
    return tag if parent is not None and parent.tags.get(PROCESS_TAG) != tag else None


def _is_dead(tag: str, *, held: bool) -> bool:
    host, boot, pid, *started = tag.split("/")
    if host != socket.gethostname():
        return held
    return boot != boot_id() or _named(int(pid)) != (pid, *started)


def _named(pid: int) -> tuple[str, ...]:
    """What identifies a process until the machine starts again; empty if there is none."""
    process = read_process(pid)
    return (str(pid), str(process.born)) if process and not process.zombie else ()
