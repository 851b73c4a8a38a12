"""Keep the slots busy until every job of an epoch has an outcome.

A job is at any time in one of four places: `waiting` for a slot, `following` another job with the
same run_key, `live` under a supervisor, or in `outcomes`. What happens to it is recorded before it
counts, so that a search killed at any moment goes on where it stood.
"""

import json
import statistics
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress, StopLevel
from assets.attempt.spending import gpu_hours
from assets.errors import Interrupted, MachineError
from assets.jobs.spec import job_spec
from assets.runs.adoption import may_stand_in
from assets.runs.facts import Facts
from assets.runs.plan import Job
from lake.tables import IdeaKind, Run, RunEventKind, RunStatus
from launchers import JobPhase, JobSpec, is_inconclusive
from launchers.sandbox.levels import at_least

POLL_SECONDS = 0.02
REPORT_SECONDS = 1.0
KILL_LIMIT = 3.0
"""CPU time at which training is killed, in medians of the baseline runs."""
MAX_RESTARTS = 1
"""Times that a job is started again whose outcome says nothing: lost, infrastructure, cancelled."""
WEAK = "it ran at a weaker sandbox level than is wanted now"
STOPPED = (
    "stopped on your word: what had ended is kept, and `varve search` goes on where this stopped"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended: by a result of its own or a running job's, or by an earlier row."""

    result: Mapping[str, Any] | None = None
    """`result.json`."""
    run: Run | None = None
    """A row of the lake that stands in."""
    reused_from: str | None = None
    """The run whose outcome this is, where the job was not run for this attempt."""


class Dispatch:
    """Runs the jobs of one attempt."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.jobs: list[Job] = []
        self.outcomes: dict[str, Outcome] = {}
        self._waiting: deque[Job] = deque()
        self._live: dict[str, Job] = {}
        """By the run_id that is polled: the job's own, or the one it was adopted from."""
        self._following: dict[str, list[Job]] = {}
        self._ended: dict[str, tuple[str, Mapping[str, Any]]] = {}
        """By run_key: a job of this attempt whose result may stand in for others."""
        self._refused: set[str] = set()
        """Other jobs whose outcome may not stand in."""
        self._restarts: Counter[str] = Counter()
        self._cancelled = False
        self._reported_at = 0.0
        self._facts = Facts(context)

    def add(self, jobs: Sequence[Job], *, finished: Mapping[str, Run]) -> None:
        """Sort new jobs: known outcomes, then jobs that this attempt had started, then the rest.

        Args:
            jobs: what is to be run.
            finished: rows of the lake that may stand in, by run_key.
        """
        self.jobs += jobs
        for job in jobs:
            result = self._facts.result(job)
            if result is not None and not self._is_weak(result):
                self._keep(job, self._facts.source(job) or job.run_id, result)
            elif job.run_key in finished:
                source = finished[job.run_key]
                self.outcomes[job.run_id] = Outcome(run=source, reused_from=source.run_id)
                self._facts.record(job, RunEventKind.ADOPTED, source.run_id)
            else:
                self._waiting.append(job)
        self._waiting = deque(sorted(self._waiting, key=lambda job: not self._facts.started(job)))

    def run(self) -> dict[str, Outcome]:
        """Outcomes by run_id.

        Raises:
            Interrupted: if the user stopped it; what ended until then is recorded.
            BudgetReached: if jobs are left that the budget does not let start.
        """
        while self._waiting or self._live:
            self._obey_stop()
            moved = self._submit_some() + self._collect_ended()
            self._report(at_once=moved > 0)
            if not moved:
                time.sleep(POLL_SECONDS)
        if self._cancelled:
            raise Interrupted(STOPPED)
        self._report(at_once=True)
        self._refuse_a_broken_machine()
        return self.outcomes

    def _obey_stop(self) -> None:
        level = self.context.stop.level
        if level is StopLevel.CANCEL and not self._cancelled:
            self._cancelled = True
            self._live = {run_id: job for run_id, job in self._live.items() if run_id == job.run_id}
            for run_id in self._live:
                self.context.launcher.cancel(run_id)
        if level is not StopLevel.GO and not self._live:
            raise Interrupted(STOPPED)
        if self._waiting and not self._live:
            self.context.spending.check()

    def _submit_some(self) -> int:
        submitted = 0
        slots = self.context.settings.launcher.slots
        while self._waiting and len(self._live) < slots and self._may_start():
            job = self._waiting.popleft()
            if job.run_key in self._ended:
                self._settle(job, *self._ended[job.run_key])
            elif any(job.run_key == other.run_key for other in self._live.values()):
                self._following.setdefault(job.run_key, []).append(job)
            else:
                self._start(job)
            submitted += 1
        return submitted

    def _may_start(self) -> bool:
        """Whether neither the user nor the budget stands against a new job."""
        context = self.context
        return context.stop.level is StopLevel.GO and context.spending.reached is None

    def _hours(self, job: Job, run_id: str, result: Mapping[str, Any]) -> float | None:
        """GPU-hours of a job that ended, where it is this attempt's own; they are spent from here on."""
        hours = gpu_hours(result, self.context.profile) if run_id == job.run_id else None
        self.context.spending.count(gpu_hours=hours)
        return hours

    def _start(self, job: Job) -> None:
        launcher = self.context.launcher
        spec = self._spec(job)
        twin = launcher.find(spec)
        if twin is not None and twin not in (job.run_id, *self._refused):
            self._facts.record(job, RunEventKind.ADOPTED, twin)
            self._live[twin] = job
            return
        self._facts.record(job, RunEventKind.INTENDED)
        launcher.submit(spec, job.files)
        self._facts.record(job, RunEventKind.SUBMITTED)
        self._live[job.run_id] = job

    def _collect_ended(self) -> int:
        ended = 0
        for run_id, job in list(self._live.items()):
            state = self.context.launcher.poll(run_id)
            if state.phase is JobPhase.RUNNING:
                continue
            ended += 1
            del self._live[run_id]
            result = state.outcome
            if self._is_weak(result):
                self._measure_again(job, run_id, result)
            else:
                self._end(job, run_id, result)
        return ended

    def _measure_again(self, job: Job, run_id: str, result: Mapping[str, Any]) -> None:
        """Puts a job back whose result came from behind too weak a wall; no fault of the machine."""
        if run_id == job.run_id:
            self._facts.record(
                job, RunEventKind.LOST, WEAK, gpu_hours=self._hours(job, run_id, result)
            )
        else:
            self._refused.add(run_id)
        self._waiting.extendleft([*reversed(self._following.pop(job.run_key, [])), job])

    def _is_weak(self, result: Mapping[str, Any]) -> bool:
        """Whether a job that says something ran behind a weaker wall than is wanted now."""
        level = result.get("sandbox_level", "")
        return not is_inconclusive(result) and not at_least(level, self.context.sandbox_level)

    def _end(self, job: Job, run_id: str, result: Mapping[str, Any]) -> None:
        shared = self._may_stand_in(result)
        followers = self._following.pop(job.run_key, [])
        if not shared:
            self._waiting.extendleft(reversed(followers))
        if run_id != job.run_id and not shared:
            self._refused.add(run_id)
            self._waiting.appendleft(job)
        elif is_inconclusive(result) and self._cancelled:
            hours = self._hours(job, run_id, result)
            self._facts.record(job, RunEventKind.CANCELLED, gpu_hours=hours)
        elif is_inconclusive(result) and self._may_restart(job, result):
            self._restarts[job.run_id] += 1
            hours = self._hours(job, run_id, result)
            self._facts.record(job, RunEventKind.LOST, result["reason"], gpu_hours=hours)
            self._waiting.append(job)
        else:
            for each in [job, *followers] if shared else [job]:
                self._settle(each, run_id, result)

    def _refuse_a_broken_machine(self) -> None:
        """Leave the attempt open where nothing can be learned from it.

        Raises:
            MachineError: if no job, or not every baseline, has an outcome that says something.
        """
        silent = [job for job in self.jobs if self._is_silent(job)]
        baselines = [job for job in silent if job.idea.kind is IdeaKind.BASELINE]
        if silent and (baselines or len(silent) == len(self.jobs)):
            result = self.outcomes[silent[0].run_id].result or {}
            raise MachineError(
                f"{len(silent)} of {len(self.jobs)} jobs failed for reasons of the machine, "
                f"baselines among them: {result.get('reason')}. Expected jobs that say something of "
                f"their idea: mend what {self.context.launcher.fetch(silent[0].run_id)} tells of and "
                "run the same command again; the other jobs' results are kept"
            )

    def _is_silent(self, job: Job) -> bool:
        result = self.outcomes[job.run_id].result
        return result is not None and is_inconclusive(result)

    def _may_restart(self, job: Job, result: Mapping[str, Any]) -> bool:
        """Whether another try may help: not where training went well and the scoring broke."""
        scored = result.get("score_wall_seconds") is not None
        return self._restarts[job.run_id] < MAX_RESTARTS and not scored

    def _settle(self, job: Job, run_id: str, result: Mapping[str, Any]) -> None:
        """Record how the job ended, then count it."""
        source = None if run_id == job.run_id else run_id
        kind = RunEventKind(result["status"])
        told = json.dumps({"source": source, "result": result})
        self._facts.record(job, kind, told, gpu_hours=self._hours(job, run_id, result))
        self._keep(job, run_id, result)

    def _keep(self, job: Job, run_id: str, result: Mapping[str, Any]) -> None:
        source = None if run_id == job.run_id else run_id
        self.outcomes[job.run_id] = Outcome(result=result, reused_from=source)
        if self._may_stand_in(result):
            self._ended.setdefault(job.run_key, (run_id, result))

    def _may_stand_in(self, result: Mapping[str, Any]) -> bool:
        return may_stand_in(
            result["status"], result.get("blame"), self.context.profile.deterministic
        )

    def _spec(self, job: Job) -> JobSpec:
        return job_spec(
            self.context,
            run_id=job.run_id,
            run_key=job.run_key,
            tree=job.patch.tree or "",
            seed=job.seed,
            cpu_limit_seconds=self._cpu_limit(),
        )

    def _cpu_limit(self) -> float | None:
        """Where training is killed; unknown until a baseline run has ended."""
        if self.context.profile.compute != "cpu":
            return None
        past = self.context.history.baseline_runs() if self.context.epoch else []
        seconds = [run.cpu_seconds for run in past if run.status is RunStatus.FINISHED]
        seconds += [
            _cpu_seconds(self.outcomes[job.run_id])
            for job in self.jobs
            if job.idea.kind is IdeaKind.BASELINE and job.run_id in self.outcomes
        ]
        known = [s for s in seconds if s]
        return KILL_LIMIT * statistics.median(known) if known else None

    def _report(self, *, at_once: bool) -> None:
        due = time.monotonic() - self._reported_at >= REPORT_SECONDS
        if at_once or due:
            self.context.monitor.jobs(self._progress())
        if due:
            self._reported_at = time.monotonic()
            self.context.writer.flush()

    def _progress(self) -> JobsProgress:
        ended = [
            (job, self.outcomes[job.run_id]) for job in self.jobs if job.run_id in self.outcomes
        ]
        values = [(job.idea, _value(outcome)) for job, outcome in ended]
        return JobsProgress(
            epoch=self.context.epoch,
            total=len(self.jobs),
            done=len(ended),
            running=len(self._live),
            failed=sum(value is None for _, value in values),
            adopted=sum(outcome.reused_from is not None for _, outcome in ended),
            values=tuple((idea.title, value) for idea, value in values if value is not None),
        )


def _cpu_seconds(outcome: Outcome) -> float | None:
    if outcome.run is not None:
        return outcome.run.cpu_seconds
    result = outcome.result or {}
    return result.get("cpu_seconds") if result.get("status") == RunStatus.FINISHED else None


def _value(outcome: Outcome) -> float | None:
    if outcome.run is not None:
        evaluation = json.loads(outcome.run.result) if outcome.run.result else {}
    else:
        evaluation = (outcome.result or {}).get("evaluation") or {}
    value: float | None = evaluation.get("value")
    return value
