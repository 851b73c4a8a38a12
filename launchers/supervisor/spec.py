"""The specification of a job, as its supervisor reads it."""

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

from launchers.folder import SPEC

if TYPE_CHECKING:
    from launchers.job import JobSpec


def read_spec(run: str) -> "JobSpec":
    """Reads spec.json into an object with the fields of a JobSpec.

    Importing dataclasses would be a third of a supervisor's start, so this is a stand-in.
    """
    with open(os.path.join(run, SPEC), encoding="utf-8") as file:
        return SimpleNamespace(**json.load(file))  # type: ignore[return-value]
