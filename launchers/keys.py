"""Which job computes a run_key: a folder of files named by key, each with the newest run_id."""

import os
import threading
from pathlib import Path

from launchers import folder as names
from launchers.job import JobSpec
from launchers.sandbox.levels import at_least
from launchers.steps import untimed

KEYS = ".keys"


def note_key(runs: Path, spec: JobSpec) -> None:
    """Makes the job the one that `job_of_key` gives for its run_key."""
    keys = runs / KEYS
    keys.mkdir(exist_ok=True)
    partial = keys / f"{spec.run_key}.{os.getpid()}.{threading.get_ident()}.partial"
    partial.write_text(spec.run_id, encoding="utf-8")
    partial.replace(keys / spec.run_key)


def job_of_key(runs: Path, spec: JobSpec) -> str | None:
    """Gives the job that computes exactly the same, at the same or a stronger sandbox level."""
    try:
        run_id = (runs / KEYS / spec.run_key).read_text(encoding="utf-8")
        found = JobSpec.from_json((runs / run_id / names.SPEC).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if _identity(found) != _identity(spec):
        return None
    return run_id if at_least(found.sandbox, spec.sandbox) else None


def _identity(spec: JobSpec) -> tuple[object, ...]:
    """What two jobs must share to compute exactly the same; time limits do not count."""
    return spec.run_key, spec.tree, spec.data, tuple(map(untimed, spec.steps))
