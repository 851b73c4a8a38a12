"""What a job is, as the launching side sees it: its specification and its state.

The supervisor reads the same specification through `supervisor.spec`, without dataclasses.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any


class JobPhase(str, Enum):  # noqa: UP042  # Python 3.10 has no StrEnum
    """Where a job stands."""

    UNKNOWN = "unknown"
    """No folder: it was never submitted here."""
    RUNNING = "running"
    """Its supervisor is alive."""
    DONE = "done"
    """`result.json` stands. Submitting again leaves it, unless it says nothing of the work or comes
    from behind a weaker wall than is wanted then."""
    LOST = "lost"
    """The supervisor died before it wrote a result; submitting again starts anew."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """Everything that a supervisor must know; holds no secret and nothing of the lake."""

    run_id: str
    """Names the run folder: letters, digits, `.`, `_` and `-`."""
    run_key: str
    """What is computed, whoever asks: equal keys mean equal work."""
    tree: str
    """The hash that `tree_hash` must give for env/."""
    profile: str
    """Size of the environment, passed to each of its programs."""
    seed: int
    """Passed to train.py."""
    python: str
    """Path of the interpreter that runs the environment."""
    data: str
    """Folder with train/, hidden/, second/ and data.json."""
    budget_seconds: float
    """Wall clock of train.py, by the supervisor's monotonic clock."""
    score_seconds: float
    """Wall clock of evaluate.py with all that it starts."""
    cpu_limit_seconds: float | None
    """CPU time of the whole training tree at which it is killed; None: no such limit."""
    threads: int
    """OMP_NUM_THREADS and its like; 0 leaves them unset."""
    outputs: dict[str, dict[str, int]]
    """Name or glob -> {"max": how many files may match, "bytes": cap of each}."""
    frozen: tuple[str, ...]
    """Files of the tree that no patch may change: all that evaluate.py is started beside."""
    masked: tuple[str, ...] = ()
    """Paths below a folder of installed packages that hold hidden data: unreadable behind a wall."""
    cuts: int = 0
    """Cuts of the leak audit that evaluate.py is asked for; 0: it is not asked."""
    checkpoint: str | None = None
    """Folder with outputs of an earlier job, to be scored again instead of training."""
    checkpoint_hashes: dict[str, str] = field(default_factory=dict)
    """Name -> sha256 that these outputs must have."""
    memory_bytes: int = 8 << 30
    """Most memory of all processes together."""
    scratch_bytes: int = 1 << 30
    """Most that temporary files, and shared memory, may hold."""
    processes: int = 256
    """Most processes and threads at once."""
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs that the job was given."""
    log_bytes: int = 1 << 20
    """Log kept on disk: head and tail with a marker between."""
    sandbox: str = "none"
    """Level that training and serving run at."""

    def to_json(self) -> str:
        """The text of spec.json."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "JobSpec":
        """Reads spec.json.

        Raises:
            ValueError: a field is missing or unknown, or the text is no JSON object.
        """
        values = json.loads(text)
        known = {one.name for one in fields(cls)}
        if not isinstance(values, dict) or not set(values) <= known:
            raise ValueError(f"spec.json: found {values!r}, expected an object with {known}")
        fields_of: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        try:
            return cls(**fields_of)
        except TypeError as error:
            raise ValueError(f"spec.json: {error}; write it with JobSpec.to_json") from error


LOST: dict[str, Any] = {
    "status": "failed",
    "blame": "infrastructure",
    "reason": "the supervisor died",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What a launcher knows about a job at one moment."""

    phase: JobPhase
    """Where it stands."""
    result: dict[str, Any] | None = field(default=None)
    """The content of result.json once the job is done."""

    @property
    def outcome(self) -> dict[str, Any]:
        """The result, or what stands for one where the supervisor died before it wrote any."""
        return self.result or LOST


def is_inconclusive(result: Mapping[str, Any]) -> bool:
    """Whether a result says nothing of the work, so that the job may be started again."""
    return result["status"] == "cancelled" or result["blame"] in ("infrastructure", "setup")
