"""The content of result.json: its keys, what a failure puts there, and its bytes."""

import json
from typing import TYPE_CHECKING, Any

from launchers.sandbox.levels import Level
from launchers.visible import visible

if TYPE_CHECKING:
    from launchers.job import JobSpec

REASON_CHARACTERS = 2000
"""A reason longer than this is cut; the log has the rest."""


class JobFailedError(Exception):
    """The job ends here without a value, blamed on one boundary."""

    def __init__(self, blame: str, reason: str) -> None:
        """Takes the boundary (`train`, `evaluate`, `timeout`, ...) and what happened there."""
        super().__init__(reason)
        self.blame = blame
        self.reason = reason


class CancelledError(Exception):
    """The supervisor was told to stop; says nothing of the idea."""


def new_record(spec: "JobSpec", level: Level) -> dict[str, Any]:
    """A record with every key that result.json has; what is not known yet is null or empty."""
    return {
        "run_id": spec.run_id,
        "run_key": spec.run_key,
        "status": "finished",
        "blame": None,
        "reason": None,
        "wall_seconds": None,
        "cpu_seconds": None,
        "score_wall_seconds": None,
        "score_cpu_seconds": None,
        "exit_code": None,
        "evaluation": None,
        "outputs": {},
        "refused_outputs": {},
        "sandbox_level": level.name,
        "sandbox_gaps": list(level.gaps),
        "hardware": "",
        "versions": {},
        "log_tail": "",
        "log_bytes": 0,
    }


def failure(blame: str, reason: str) -> dict[str, Any]:
    """What a failure puts into the record; what a job printed into the reason is made visible."""
    return {"status": "failed", "blame": blame, "reason": visible(reason)[:REASON_CHARACTERS]}


def cancellation(reason: str) -> dict[str, Any]:
    """What being told to stop puts into the record."""
    return {"status": "cancelled", "blame": None, "reason": reason}


def record_bytes(record: dict[str, Any]) -> bytes:
    """The bytes of result.json; infinities and NaN are refused."""
    return (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()
