"""What a job costs: its GPUs times the clock of its steps; no money is charged."""

import re

from launchers.job import Charge, JobSpec
from launchers.result import JobResult
from launchers.steps import Grade, Run

SECONDS_PER_HOUR = 3600


def gpu_count(accelerators: str | None) -> int:
    """How many GPUs `H100:8` names; 0 for none, 1 where no number is given."""
    if accelerators is None:
        return 0
    found = re.search(r":(\d+)$", accelerators)
    return int(found[1]) if found else 1


def most_charge(spec: JobSpec) -> Charge:
    """The most that a job can take: the sum of its time limits."""
    seconds = sum(step.wall_seconds for step in spec.steps if isinstance(step, Run | Grade))
    return Charge(gpu_hours=gpu_count(spec.accelerators) * seconds / SECONDS_PER_HOUR)


def charge_of(spec: JobSpec, result: JobResult) -> Charge:
    """What a job took; its GPU-hours are unknown where no step was run."""
    if not result.steps:
        return Charge()
    seconds = sum(step.wall_seconds for step in result.steps)
    return Charge(gpu_hours=gpu_count(spec.accelerators) * seconds / SECONDS_PER_HOUR)
