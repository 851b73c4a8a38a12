"""How a job ended: the content of `result.json`, parsed once.

The supervisor writes it, launchers hand it over, and whoever asked for the job reads it; no other
code spells its keys. Results that were written before jobs had steps are read too.

What a job can put into one is made visible and bounded when a record is made, by the supervisor or
by a reader: file names, refusals, reasons, verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launchers.plain import PlainError, json_text, read_record, strict_json
from launchers.visible import PART_CHARACTERS, ToldError, told, visible_line

TRAIN, SCORE = "train", "score"
"""Names of the steps that every scored job has."""
STATUSES = ("finished", "failed", "cancelled")
MOST_REFUSALS = 32
"""Refusals kept by name."""
LOG_TAIL_BYTES = 4096
"""What a result carries of the log."""
MOST_BYTES = 8 << 20
"""More than a result with as many outputs as a harvest takes; what is larger is none."""


class ResultError(ToldError, ValueError):
    """A text is no result of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What trusted code reported: a value, or the blame and the reason why there is none."""

    metric: str
    value: float | None = None
    blame: str | None = None
    """`evaluate` or `guard`, where there is no value."""
    reason: str | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bounds its texts: they may repeat what the patched model answered."""
        measures = {_name(name): number for name, number in self.measures.items()}
        _put(self, "metric", _name(self.metric))
        _put(self, "reason", _reason(self.reason))
        _put(self, "verdicts", _parts(self.verdicts))
        _put(self, "measures", measures)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one program of a job took, and how it ended."""

    name: str
    ending: str
    """exit, deadline, idle, cpu_limit, limit or cancelled."""
    exit_code: int | None = None
    """Negative for a signal; None if the supervisor killed it."""
    wall_seconds: float
    cpu_seconds: float
    """Of its whole process tree."""
    waited_seconds: float = 0.0
    """For its turn on the machine, before its clock began."""
    idle_seconds: float = 0.0
    """Wall clock in which nothing of it had anything to do; seen every tenth of a second."""
    start_cpu_seconds: float = 0.0
    """Of the CPU time, what passed until its starter was ready; 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A harvested file."""

    bytes: int
    sha256: str
    numbers: int | None = None
    """How many numbers its tensors or its array hold; None for other kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job that ended."""

    run_id: str
    run_key: str
    status: str
    """finished, failed or cancelled."""
    blame: str | None = None
    """The one boundary that a failure belongs to."""
    reason: str | None = None
    steps: tuple[StepResult, ...] = ()
    """Programs that were run, in order, the one that failed included."""
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    """Name of the grading step -> its report."""
    outputs: Mapping[str, Output] = field(default_factory=dict)
    refused_outputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> why it was not taken."""
    sandbox_level: str
    sandbox_gaps: tuple[str, ...] = ()
    hardware: str = ""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    log_tail: str = ""
    log_bytes: int = 0

    def __post_init__(self) -> None:
        """Bounds what comes from the job; the log's tail stays as it was printed."""
        refused = dict(list(self.refused_outputs.items())[:MOST_REFUSALS])
        _put(self, "reason", _reason(self.reason))
        _put(self, "refused_outputs", _parts(refused))
        _put(self, "log_tail", self.log_tail[-LOG_TAIL_BYTES:])

    @property
    def is_inconclusive(self) -> bool:
        """Whether it says nothing about the work, so that the job may be started again."""
        return self.status == "cancelled" or self.blame in ("infrastructure", "setup")

    @property
    def evaluation(self) -> Evaluation | None:
        """The report of the last grading step."""
        return list(self.evaluations.values())[-1] if self.evaluations else None

    def step(self, name: str) -> StepResult | None:
        """The step of that name, if it was run."""
        return next((step for step in self.steps if step.name == name), None)

    def wall_seconds(self, name: str) -> float | None:
        """Wall clock of a step; None where it was not run."""
        step = self.step(name)
        return step.wall_seconds if step else None

    def cpu_seconds(self, name: str) -> float | None:
        """CPU time of a step's whole process tree; None where it was not run."""
        step = self.step(name)
        return step.cpu_seconds if step else None

    def to_json(self) -> str:
        """The text of result.json.

        Raises:
            ValueError: a number is infinite or NaN.
        """
        return json_text(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> "JobResult":
        """Reads result.json.

        Raises:
            ResultError: it is no result that a supervisor wrote whole.
        """
        if len(text) > MOST_BYTES:
            raise ResultError(f"result.json: found more than {MOST_BYTES} bytes, expected fewer")
        try:
            plain = strict_json(text)
            if isinstance(plain, dict) and "steps" not in plain:
                plain = _with_steps(plain)
            result = read_record(cls, plain, "result.json")
        except PlainError as error:
            raise ResultError(str(error)) from error
        if result.status not in STATUSES:
            raise ResultError(
                f"result.json: found the status {result.status!r}, expected one of {STATUSES}"
            )
        return result


def _put(record: object, field_name: str, value: object) -> None:
    """Sets a field of a frozen record while it is made."""
    object.__setattr__(record, field_name, value)


def _name(text: str) -> str:
    return told(visible_line(text), PART_CHARACTERS)


def _reason(text: str | None) -> str | None:
    return None if text is None else told(text)


def _parts(texts: Mapping[str, str]) -> dict[str, str]:
    return {_name(name): told(text, PART_CHARACTERS) for name, text in texts.items()}


def lost_result(run_id: str, run_key: str, *, level: str) -> JobResult:
    """What stands in for a result where the supervisor died before it wrote any."""
    return JobResult(
        run_id=run_id,
        run_key=run_key,
        status="failed",
        blame="infrastructure",
        reason="the supervisor died",
        sandbox_level=level,
    )


def _with_steps(old: dict[str, Any]) -> dict[str, Any]:
    """A result from before jobs had steps, when each trained and was scored, in current form."""
    kept = dict(old)
    train = [kept.pop(name, None) for name in ("wall_seconds", "cpu_seconds", "exit_code")]
    score = [kept.pop(name, None) for name in ("score_wall_seconds", "score_cpu_seconds")]
    report = kept.pop("evaluation", None)
    rows = (
        (TRAIN, _ending_of_training(old), *train),
        (SCORE, _ending_of_scoring(old), *score, 0 if report else None),
    )
    keys = ("name", "ending", "wall_seconds", "cpu_seconds", "exit_code")
    kept["steps"] = [dict(zip(keys, row, strict=True)) for row in rows if row[2] is not None]
    kept["evaluations"] = {SCORE: report} if report else {}
    return kept


def _ending_of_training(old: Mapping[str, Any]) -> str:
    """How the training of an old result ended, which only its blame and reason tell."""
    if old.get("exit_code") is not None:
        return "exit"
    if old.get("status") == "cancelled":
        return "cancelled"
    if old.get("blame") == "timeout" and "CPU time" in str(old.get("reason")):
        return "cpu_limit"
    return "limit" if old.get("blame") == "train" else "deadline"


def _ending_of_scoring(old: Mapping[str, Any]) -> str:
    """How the scoring of an old result ended."""
    if old.get("evaluation"):
        return "exit"
    if old.get("status") == "cancelled":
        return "cancelled"
    return {"timeout": "deadline", "evaluate": "limit"}.get(str(old.get("blame")), "exit")
