"""What a job is, as both sides see it: its specification, where it stands, what it costs."""

from dataclasses import dataclass
from enum import Enum

from launchers.plain import json_text, read_text
from launchers.result import JobResult, lost_result
from launchers.steps import Step


class JobPhase(str, Enum):  # noqa: UP042  # Python 3.10 has no StrEnum
    """Where a job stands."""

    ABSENT = "absent"
    """It was never submitted here."""
    QUEUED = "queued"
    """Accepted, not begun."""
    RUNNING = "running"
    """Its supervisor is alive."""
    DONE = "done"
    """There is a result. Submitting again keeps it, unless it is inconclusive or comes from a
    weaker sandbox level than is then wanted."""
    LOST = "lost"
    """Nobody works on it, for certain, and there is no result; submitting again starts anew."""
    UNKNOWN = "unknown"
    """It cannot be reached at the moment, which proves nothing. The local launcher never says
    so."""

    def __str__(self) -> str:
        return self.value

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self in (JobPhase.DONE, JobPhase.LOST, JobPhase.ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """Everything that a job is, wherever it runs: no path, no secret, nothing from the lake.

    Interpreter, data folder and GPU numbers are the worker's: its launcher adds `place.json`.
    """

    run_id: str
    """Names the run folder: letters, digits, `.`, `_` and `-`."""
    run_key: str
    """What is computed, whoever asks: equal keys mean equal work."""
    tree: str
    """The hash that `tree_hash` must give for its files."""
    data: str
    """Hash of the prepared data, which the worker has under this name."""
    steps: tuple[Step, ...]
    """What is done, in order."""
    frozen: tuple[str, ...]
    """Files of the tree that no patch may change: the only ones in a grader's folder."""
    threads: int
    """OMP_NUM_THREADS and the like; 0 leaves them unset."""
    python: str = "this"
    """Which interpreter, as in `Needs`."""
    accelerators: str | None = None
    """As `H100:8`; None for none."""
    masked: tuple[str, ...] = ()
    """Paths below a folder of installed packages that hold hidden data: unreadable there."""
    memory_bytes: int = 8 << 30
    """Most memory of all processes together."""
    scratch_bytes: int = 1 << 30
    """Most that temporary files, and shared memory, may hold."""
    processes: int = 256
    """Most processes and threads at once."""
    log_bytes: int = 1 << 20
    """Log kept on disk: head and tail with a marker between."""
    sandbox: str = "none"
    """Level that untrusted programs run at."""
    takes_turns: bool = True
    """Whether a server of it is scored alone on its machine, and trained beside no such server;
    False for code that nobody need fear, which waits for nobody."""

    def to_json(self) -> str:
        """The text of spec.json."""
        return json_text(self)

    @classmethod
    def from_json(cls, text: str) -> "JobSpec":
        """Reads spec.json.

        Raises:
            ValueError: a field is missing, unknown or of another type, or the text is no object.
        """
        return read_text(cls, text, "spec.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a launcher gives for a job that it has accepted."""

    run_id: str
    """Names the job in every later call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a job costs, or may cost at most."""

    usd: float | None = None
    """None where nothing is charged."""
    gpu_hours: float | None = None
    """None where the clock is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What a launcher knows about a job at one moment."""

    phase: JobPhase
    """Where it stands."""
    result: JobResult | None = None
    """Once the job is done."""

    def outcome(self, spec: JobSpec) -> JobResult:
        """The result, or what stands in for one where the supervisor died before it wrote any."""
        return self.result or lost_result(spec.run_id, spec.run_key, level=spec.sandbox)
