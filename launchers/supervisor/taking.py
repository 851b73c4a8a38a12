"""What comes into out/: from a program that has run, or from an earlier job that kept it."""

import os
from collections.abc import Mapping

from launchers import folder as names
from launchers.steps import Take
from launchers.supervisor.failures import JobFailedError
from launchers.supervisor.harvest import Harvested, harvest
from launchers.supervisor.job import Job


def take_outputs(job: Job, source: int, declared: Mapping[str, Mapping[str, int]]) -> Harvested:
    """Copies declared outputs out of a folder and notes them.

    Those of earlier steps stay, except where a name is taken again.

    Args:
        job: whose out/ they come to.
        source: descriptor of the folder; closed here.
        declared: name or glob -> {"max": files, "bytes": cap of each}.
    """
    target, account = job.path(names.OUT), job.account
    if not account.outputs:
        names.remove_tree(target)
        os.mkdir(target)
    try:
        found = harvest(source, target, declared)
    finally:
        os.close(source)
    kept = {
        name: output
        for name, output in account.outputs.items()
        if os.path.exists(os.path.join(target, name))
    }
    account.outputs = kept | found.outputs
    account.refused |= found.refused
    job.events.append("harvested", outputs=sorted(found.outputs), missing=found.missing)
    return found


def take_step(job: Job, step: Take) -> None:
    """Takes the outputs of an earlier job, which must be those that it was scored for.

    Raises:
        JobFailedError: they are gone or have changed.
    """
    folder = os.path.join(job.place.runs, step.run_id, names.OUT)
    try:
        found = take_outputs(job, os.open(folder, os.O_RDONLY | os.O_DIRECTORY), step.outputs)
    except FileNotFoundError as error:
        raise JobFailedError("infrastructure", f"{folder}: the outputs are gone") from error
    hashes = {name: output.sha256 for name, output in found.outputs.items()}
    if hashes != step.hashes:
        raise JobFailedError(
            "infrastructure", f"{folder}: found outputs {hashes}, expected {dict(step.hashes)}"
        )
