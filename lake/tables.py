"""The tables of the lake: one row type each, and the closed vocabularies that their columns use.

Every table is append-only and partitioned by `campaign` and `epoch`. A row type is the one place
that says what a column means; the Delta and polars schemas are derived from it (`lake.columns`).
`n` is the attempt that the row belongs to. A missing value is None, with a reason; NaN and
infinities are refused when a row is turned into a frame.

What rows say in words (`TELLING`) is cut when a row is made. Documents are stored whole: the text
of an idea, a diff, a request and its answer, the end of a log.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

from lake.quoting import bounded


class Stage(StrEnum):
    """What an epoch is made of, in the order of the work. Values name the assets."""

    EVOLUTION = "evolution"
    """Chooses parents and context from the scores of earlier epochs."""
    IDEAS = "ideas"
    """Ideas proposed for the epoch."""
    PATCHES = "patches"
    """Tries to turn each idea into a diff."""
    RUNS = "runs"
    """Jobs that trained the patched code."""
    SCORES = "scores"
    """What trusted code concluded from the jobs."""


class IdeaKind(StrEnum):
    """Why an idea was proposed."""

    BASELINE = "baseline"
    """The unpatched environment, run for reference."""
    FRESH = "fresh"
    """Proposed without history, in the first epoch or by best-of-n."""
    EXPLOIT = "exploit"
    """A variant of parents that beat the baseline."""
    EXPLORE = "explore"
    """Something different from the ideas shown as context."""
    POLICY = "policy"
    """Sampled from a policy under reinforcement learning."""


class IdeaStatus(StrEnum):
    """Whether an idea is worked on."""

    PROPOSED = "proposed"
    """It goes on to be patched."""
    REJECTED = "rejected"
    """Too similar to an idea of the campaign; `reason` names it. No money was spent on a patch."""


class Blame(StrEnum):
    """The one boundary that a failure belongs to."""

    MODEL = "model"
    """The language model refused, was cut off, or gave no usable answer."""
    PATCH = "patch"
    """The answer could not be applied to the environment."""
    SETUP = "setup"
    """The environment or its data could not be prepared."""
    TRAIN = "train"
    """The patched training failed on its own."""
    EVALUATE = "evaluate"
    """The patched model failed while being scored."""
    GUARD = "guard"
    """A rule of honest scoring was broken."""
    TIMEOUT = "timeout"
    """More time or compute was used than the rules allow."""
    INFRASTRUCTURE = "infrastructure"
    """The machine, the disk or Varve itself failed; says nothing about the idea."""


class PatchStatus(StrEnum):
    """Whether a try became a tree."""

    APPLIED = "applied"
    """The diff gives `tree`."""
    FAILED = "failed"
    """It does not apply, or failed its smoke run; `reason` says why."""
    UNTRIED = "untried"
    """Another try of the same idea was taken before this one was looked at."""


class RunPurpose(StrEnum):
    """What a job is run for."""

    SCREENING = "screening"
    """To see what a patch is worth; the only run that most patches get."""
    CONFIRMATION = "confirmation"
    """To see whether a good value recurs with a seed that was drawn after the patch."""


class RunStatus(StrEnum):
    """How a job ended."""

    FINISHED = "finished"
    """Trained and reported a result."""
    FAILED = "failed"
    """Ended without a result; `blame` and `reason` say why."""
    CANCELLED = "cancelled"
    """Stopped at the user's request; says nothing about the idea."""


class ScoreStatus(StrEnum):
    """Whether a run has a value."""

    VALID = "valid"
    """`value` may be compared."""
    INVALID = "invalid"
    """`value` is null; `blame` and `reason` say why."""


class RunEventKind(StrEnum):
    """What can happen to a job."""

    INTENDED = "intended"
    """Will be submitted; written before anything is started."""
    SUBMITTED = "submitted"
    """Handed to the launcher."""
    FINISHED = "finished"
    """`result.json` was read; `detail` holds it."""
    FAILED = "failed"
    """Ended without a value; `detail` holds what is known."""
    CANCELLED = "cancelled"
    """Stopped at the user's request."""
    ADOPTED = "adopted"
    """Work of an earlier attempt or campaign was taken over."""
    LOST = "lost"
    """The supervisor died; the job is started again."""


class AttemptKind(StrEnum):
    """What can happen to a stage attempt."""

    OPENED = "opened"
    """Work began."""
    COMPLETED = "completed"
    """The first commit; the attempt is visible from here on."""
    EXTENDED = "extended"
    """Rows of late jobs were added."""
    ABANDONED = "abandoned"
    """Closed without being visible, since what it read has changed."""


class SelectionRole(StrEnum):
    """What a selected idea is used for."""

    PARENT = "parent"
    """To be varied by exploitation."""
    CONTEXT = "context"
    """Shown to exploration as already tried."""


def now() -> datetime:
    """The clock of the `created_at` columns, in UTC; never part of an id."""
    return datetime.now(UTC)


TELLING = ("reason", "repairs", "verdicts")
"""Columns that say in words what became of something; they may quote a job or a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row carries."""

    table: ClassVar[str]
    key: ClassVar[str]

    campaign: str
    epoch: int
    n: int
    """Attempt of (campaign, epoch, stage) that made the row."""
    created_at: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        """Bounds what a row says in words of others, wherever it was made or read."""
        for name in TELLING:
            said = getattr(self, name, None)
            if said:
                object.__setattr__(self, name, _bounded(said))


def _bounded(said: object) -> object:
    """A text, and the texts in a tuple or a mapping, bounded; a wrong type stays for the door."""
    if isinstance(said, str):
        return bounded(said)
    if isinstance(said, tuple):
        return tuple(map(_bounded, said))
    if isinstance(said, dict):
        return {name: _bounded(text) for name, text in said.items()}
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea(Row):
    """One row per idea."""

    table: ClassVar[str] = "ideas"
    key: ClassVar[str] = "idea_id"

    idea_id: str
    ordinal: int
    """Place in the epoch, from 0."""
    kind: IdeaKind
    title: str
    text: str
    parents: tuple[str, ...] = ()
    """Ideas that this one varies; resolved over history."""
    edits: tuple[str, ...] | None = None
    """Catalog names that the idea combines; None for ideas in free text."""
    status: IdeaStatus = IdeaStatus.PROPOSED
    reason: str | None = None
    """Why it was rejected."""
    completion_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch(Row):
    """One row per try to turn an idea into a diff."""

    table: ClassVar[str] = "patches"
    key: ClassVar[str] = "patch_id"

    patch_id: str
    idea_id: str
    ordinal: int
    """Sample of the idea, from 0."""
    revision: int
    """Repair of the sample, from 0."""
    format: str
    """How the answer was written: none, search_replace, unified_diff or file."""
    diff: str
    """Canonical unified diff against `base_tree`; the raw answer where it does not apply."""
    base_tree: str
    tree: str | None = None
    """Hash of the patched tree; None where there is none."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired in the answer to make it apply."""
    status: PatchStatus
    blame: Blame | None = None
    reason: str | None = None
    completion_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Row):
    """One row per job."""

    table: ClassVar[str] = "runs"
    key: ClassVar[str] = "run_id"

    run_id: str
    patch_id: str
    run_key: str
    """Equal for jobs whose result must be the same up to noise."""
    seed: int
    purpose: RunPurpose = RunPurpose.SCREENING
    profile: str
    launcher: str
    status: RunStatus
    blame: Blame | None = None
    reason: str | None = None
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    """Of training: the whole process tree, measured by the supervisor."""
    score_cpu_seconds: float | None = None
    """Of scoring, the audit included."""
    step_wall_seconds: dict[str, float] = field(default_factory=dict)
    """Of each step of the job by its name, training and scoring among them."""
    step_cpu_seconds: dict[str, float] = field(default_factory=dict)
    gpu_hours: float | None = None
    """Wall clock times the GPUs of the profile; None where the clock is not known."""
    cost_usd: float | None = None
    """None where nothing is charged."""
    hardware: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    sandbox_level: str | None = None
    sandbox_gaps: tuple[str, ...] = ()
    reused_from: str | None = None
    """Run whose result this row takes over instead of buying it again."""
    log_tail: str | None = None
    """The end of the log, as data."""
    value: float | None = None
    """As the evaluator reported it, before `scores` judges; None where it gave none."""
    verdicts: dict[str, str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Row):
    """One row per scored run and evaluator."""

    table: ClassVar[str] = "scores"
    key: ClassVar[str] = "score_id"

    score_id: str
    run_id: str
    metric: str
    value: float | None = None
    blame: Blame | None = None
    reason: str | None = None
    reward: float | None = None
    """Higher is better: the value where the metric is maximised, else its inverse."""
    status: ScoreStatus
    verdicts: dict[str, str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    evaluator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion(Row):
    """One row per model call."""

    table: ClassVar[str] = "completions"
    key: ClassVar[str] = "completion_id"

    completion_id: str
    stage: Stage
    role: str
    """ideator or implementer."""
    ordinal: int
    revision: int = 0
    group: str | None = None
    """Completions that answer the same request share a group."""
    model: str
    prefix: str | None = None
    """The start of the request, the same in all calls of the stage and the role."""
    request: str
    """JSON of the rest of the request."""
    options: str | None = None
    """JSON of how it was asked: address, protocol, sampling options."""
    response: str | None = None
    thinking: str | None = None
    finish_reason: str
    """stop, or another outcome: length, refusal, empty, error."""
    blame: Blame | None = None
    """Of a call that did not end with stop."""
    reason: str | None = None
    input_tokens: int | None = None
    """All of the prompt, cached parts included."""
    output_tokens: int | None = None
    """All that was written, thinking included."""
    cached_tokens: int | None = None
    """Of the prompt: read from the provider's cache."""
    written_tokens: int | None = None
    """Of the prompt: written to the provider's cache, where that costs extra."""
    cost_usd: float | None = None
    """None where nothing is charged or the price is not known."""
    price: str | None = None
    """JSON of the price-table row that the cost rests on."""
    latency_seconds: float | None = None
    """From the first try to the end of the answer."""
    tries: int | None = None
    policy_id: str | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(Row):
    """One row per thing that happened to a job."""

    table: ClassVar[str] = "run_events"
    key: ClassVar[str] = "event_id"

    event_id: str
    stage: Stage = Stage.RUNS
    run_id: str
    run_key: str
    ordinal: int
    """Place of the job in its attempt, from 0."""
    kind: RunEventKind
    detail: str | None = None
    """JSON or a sentence."""
    gpu_hours: float | None = None
    """Of a job that ended, whatever came of it; None for other events, or where nothing ran."""
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Row):
    """One row per parent or context idea that evolution chose."""

    table: ClassVar[str] = "selections"
    key: ClassVar[str] = "selection_id"

    selection_id: str
    ordinal: int
    role: SelectionRole
    idea_id: str
    value: float | None = None
    """Score that the choice rests on; None for a failed idea shown as context."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvent(Row):
    """One row per event of a stage attempt."""

    table: ClassVar[str] = "attempts"
    key: ClassVar[str] = "attempt_id"

    attempt_id: str
    stage: Stage
    seq: int
    """Order of the events within the attempt, from 0."""
    kind: AttemptKind
    dagster_run_id: str | None = None
    reads: tuple[str, ...] = ()
    """Attempts that it rests on, as `stage/epoch/n/seq`, for example `scores/0003/0/1`."""
    code_version: str | None = None
    config: str | None = None
    """JSON of the campaign's settings and identity."""
    counts: dict[str, int] = field(default_factory=dict)
    reason: str | None = None


ROW_TYPES: tuple[type[Row], ...] = (
    Idea,
    Patch,
    Run,
    Score,
    Completion,
    RunEvent,
    Selection,
    AttemptEvent,
)
TABLES: dict[str, type[Row]] = {row_type.table: row_type for row_type in ROW_TYPES}
