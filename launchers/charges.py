"""What a job costs by the GPUs that it is given and the clock of its steps; nobody sends a bill."""

import re

from launchers.job import Charge, JobSpec
from launchers.result import JobResult
from launchers.steps import Grade, Run

SECONDS_PER_HOUR = 3600


def gpus(accelerators: str | None) -> int:
    """How many GPUs `H100:8` names; 0 for none, 1 where no number stands."""
    if accelerators is None:
        return 0
    found = re.search(r":(\d+)$", accelerators)
    return int(found[1]) if found else 1


def most_charge(spec: JobSpec) -> Charge:
    """The most that a job can take: all limits of its clock, one after the other."""
    seconds = sum(step.wall_seconds for step in spec.steps if isinstance(step, Run | Grade))
    return Charge(gpu_hours=gpus(spec.accelerators) * seconds / SECONDS_PER_HOUR)


def charge_of(spec: JobSpec, result: JobResult) -> Charge:
    """What a job took; its GPU-hours are not known where no step was run."""
    if not result.steps:
        return Charge()
    seconds = sum(step.wall_seconds for step in result.steps)
    return Charge(gpu_hours=gpus(spec.accelerators) * seconds / SECONDS_PER_HOUR)
