"""The Dagster instance under VARVE_HOME: settings, pool limits, and runs whose process is dead."""

import os
import socket
from collections.abc import Iterable, Mapping

import dagster as dg

from assets.config.home import Home
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
    """The project's instance, with an explicit limit of 1 for every campaign's pool."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists() or settings.read_text() != SETTINGS:
        settings.write_text(SETTINGS)
    instance = dg.DagsterInstance.from_config(str(home.dagster))
    for campaign in campaigns:
        limit_pool(instance, campaign)
    return instance


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


def fail_dead_runs(instance: dg.DagsterInstance, *, untagged: bool = False) -> list[str]:
    """Mark unfinished runs whose process is gone as failed.

    Without this a search killed with SIGKILL leaves its run STARTED, which blocks the campaign's
    pool for ever, or NOT_STARTED, for which its autopilot waits. A pid with its start time names
    one process, so that a living one is never taken for dead; runs of other hosts are left alone.

    Args:
        instance: whose runs.
        untagged: also take for dead the runs that never reached their first step; for the one UI of
            this project, before it starts anything.

    Returns:
        Ids of the runs that were marked.
    """
    marked = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        tag = run.tags.get(PROCESS_TAG)
        if untagged if tag is None else _is_dead(tag):
            instance.report_run_failed(run, "its process died; what it had recorded is kept")
            marked.append(run.run_id)
    return marked


def _is_dead(tag: str) -> bool:
    host, boot, pid, *started = tag.split("/")
    gone = boot != boot_id() or _named(int(pid)) != (pid, *started)
    return host == socket.gethostname() and gone


def _named(pid: int) -> tuple[str, ...]:
    """What identifies a process until the machine starts again; empty if there is none."""
    process = read_process(pid)
    return (str(pid), str(process.born)) if process and not process.zombie else ()
