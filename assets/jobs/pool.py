"""One pool for the jobs of a stage: intent recorded, submitted, polled in one call, settled.

A job is at any time in one of four places: `waiting` for a slot, `following` another job with the
same run_key, in `flights`, or in `outcomes`. What happens to it is recorded before it counts, so
that a search killed at any moment goes on where it stood. What an end means is up to whoever
made the pool.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from assets.attempt.context import Context
from assets.attempt.monitor import StopLevel
from assets.errors import Interrupted
from assets.jobs.events import NO_CHARGE, JobEvents
from assets.jobs.flights import Flight, Flights
from assets.jobs.job import Job, Outcome, may_stand_in
from assets.jobs.rules import MOST_RESTARTS, Rules
from lake.tables import Run, RunEventKind
from launchers import Charge, JobResult
from launchers.sandbox.levels import at_least

REPORT_SECONDS = 1.0
WEAK = "it ran at a weaker sandbox level than is wanted now"


class Pool:
    """Jobs of one attempt."""

    def __init__(
        self,
        context: Context,
        rules: Rules,
        *,
        on_end: Callable[[Job, Outcome], None] = lambda job, outcome: None,
        report: Callable[["Pool"], None] = lambda pool: None,
    ) -> None:
        """Begins nothing yet.

        Args:
            context: the attempt.
            rules: how its jobs are treated.
            on_end: called once for each job, when its outcome is recorded; what it raises ends it.
            report: called when something has changed, and about every second.
        """
        self.context = context
        self.rules = rules
        self.jobs: list[Job] = []
        self.outcomes: dict[str, Outcome] = {}
        """By run_id."""
        self._on_end, self._tell = on_end, report
        self._events = JobEvents(context)
        self._flights = Flights(context.launcher, beside=rules.beside)
        self._waiting: deque[Job] = deque()
        self._following: dict[str, list[Job]] = {}
        self._shared: dict[str, Outcome] = {}
        """By run_key: an outcome that may stand in for other jobs."""
        self._restarts: Counter[str] = Counter()
        self._refused: set[str] = set()
        """Other jobs whose outcome may not stand in."""
        self._cancelled = False
        self._reported_at = 0.0

    @property
    def running(self) -> int:
        """Jobs that the launcher has."""
        return len(self._flights)

    @property
    def is_busy(self) -> bool:
        """Whether a job has no outcome yet."""
        return bool(self._waiting or self._flights)

    def add(self, jobs: Sequence[Job], *, finished: Mapping[str, Run] | None = None) -> None:
        """Take jobs on: known outcomes, then jobs that this attempt had started, then the rest.

        Args:
            jobs: what is to be run.
            finished: rows of the lake that may stand in, by run_key.
        """
        self.jobs += jobs
        for job in jobs:
            outcome = self.outcomes.get(job.run_id) or self._events.outcome(job)
            if outcome is not None and not self._is_weak(job, outcome.result):
                self._keep(job, outcome)
            elif self._events.is_in_flight(job):
                spec = job.spec()
                self.context.spending.reserve(job.run_id, self.context.launcher.reserve(spec))
                self._flights.follow(job, spec, job.run_id)
            elif finished and job.run_key in finished:
                source = finished[job.run_key]
                self._events.record(job, RunEventKind.ADOPTED, source.run_id)
                self._keep(job, Outcome(run=source, reused_from=source.run_id))
            else:
                self._waiting.append(job)

    def run(self, *, wait: bool = True) -> None:
        """Rounds until every job has an outcome, or the quorum has; the outcomes are in `outcomes`.

        Args:
            wait: False for one round only.

        Raises:
            Interrupted: the user stopped it; what ended until then is recorded.
            BudgetReached: jobs are left that the budget does not let start.
        """
        try:
            while self.is_busy and not self._is_quorate():
                moved = self.tick()
                if not wait:
                    break
                if not moved:
                    time.sleep(self.context.launcher.poll_seconds)
        finally:
            self.close()
        if self._cancelled:
            raise Interrupted(self.rules.stopped)
        self._report(at_once=True)

    def close(self) -> None:
        """Ends the threads that submit; what a cancelled pool still started is killed."""
        self._flights.close()

    def tick(self) -> bool:
        """One round; gives whether something has moved.

        Raises:
            Interrupted: the user wants to stop, and nothing runs any more.
            BudgetReached: nothing runs, and nothing that waits may start.
        """
        self._obey_stop()
        moved = self._start_some() or self._start_others()
        looked = self._flights.look()
        for flight in looked.accepted:
            self._events.record(flight.job, RunEventKind.SUBMITTED)
        for flight, result in looked.ended:
            self._end(flight, result)
        moved = moved or bool(looked.accepted or looked.ended)
        self._report(at_once=moved)
        return moved

    def cancel(self) -> None:
        """Has what runs killed; a later process starts it again."""
        self._cancelled = True
        self._flights.cancel()

    def _is_quorate(self) -> bool:
        """Whether enough jobs have ended, with every essential one, and all others have begun."""
        if self._waiting or self._following or self._flights.is_submitting:
            return False
        missing = [job for job in self.jobs if job.run_id not in self.outcomes]
        ended = len(self.jobs) - len(missing)
        enough = ended >= self.rules.quorum * len(self.jobs)
        return enough and not any(job.essential for job in missing)

    def _obey_stop(self) -> None:
        level = self.context.stop.level
        if level is StopLevel.CANCEL and not self._cancelled:
            self.cancel()
        if level is not StopLevel.GO and not self._flights:
            raise Interrupted(self.rules.stopped)

    def _start_some(self) -> bool:
        """Begins jobs while there are slots and nothing stands against it."""
        moved = False
        while self._waiting and self.context.stop.level is StopLevel.GO:
            job = self._waiting.popleft()
            if job.run_id in self.outcomes:
                self._keep(job, self.outcomes[job.run_id])
            elif job.run_key in self._shared:
                self._settle(job, self._shared[job.run_key])
            elif self._is_computed(job):
                self._following.setdefault(job.run_key, []).append(job)
            elif self._flights.free_slots < 1 or not self._start(job):
                self._waiting.appendleft(job)
                break
            moved = True
        return moved

    def _start_others(self) -> bool:
        """Behind a job that the budget refuses, begins what was run before and costs nothing.

        Raises:
            BudgetReached: there is nothing, and nothing runs.
        """
        is_stuck = self._waiting and not self._flights and self._flights.free_slots > 0
        if not is_stuck or self.context.stop.level is not StopLevel.GO:
            return False
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            is_held = self._flights.free_slots < 1 or self._is_computed(job)
            if is_held or not self._start(job):
                self._waiting.append(job)
        if len(self._waiting) == len(waiting):
            self.context.spending.check(self.context.launcher.reserve(waiting[0].spec()))
        return len(self._waiting) < len(waiting)

    def _is_computed(self, job: Job) -> bool:
        """Whether a job in flight computes the same."""
        return any(job.run_key == flight.job.run_key for flight in self._flights)

    def _start(self, job: Job) -> bool:
        """Takes the job over or hands it to the launcher; gives whether the budget allows it."""
        spec, launcher = job.spec(), self.context.launcher
        twin = launcher.find(spec)
        if twin is not None and twin not in (job.run_id, *self._refused):
            self._events.record(job, RunEventKind.ADOPTED, twin)
            self._flights.follow(job, spec, twin)
            return True
        if job.is_bygone:
            self._flights.follow(job, spec, job.run_id)
            return True
        most = launcher.reserve(spec)
        if twin != job.run_id and self.context.spending.refusal(most) is not None:
            return False
        self._events.record(job, RunEventKind.INTENDED)
        self.context.spending.reserve(job.run_id, most)
        self._flights.submit(job, spec)
        return True

    def _end(self, flight: Flight, result: JobResult) -> None:
        job, followers = flight.job, self._following.pop(flight.job.run_key, [])
        outcome = Outcome(result=result, reused_from=None if flight.is_own else flight.run_id)
        weak, shared = self._is_weak(job, result), self._may_stand_in(result)
        if weak or not shared:
            self._waiting.extendleft(reversed(followers))
        if not flight.is_own and (weak or not shared):
            self._refused.add(flight.run_id)
            self._waiting.appendleft(job)
        elif weak:
            self._again(flight, result, RunEventKind.LOST, WEAK)
            self._waiting.appendleft(job)
        elif result.is_inconclusive and self._cancelled:
            self._again(flight, result, RunEventKind.CANCELLED, None)
        elif result.is_inconclusive and self._may_restart(job, result):
            self._restarts[job.run_id] += 1
            self._again(flight, result, RunEventKind.LOST, result.reason)
            self._waiting.append(job)
        else:
            self._settle(job, outcome, flight)
            for each in followers if shared else []:
                self._settle(each, Outcome(result=result, reused_from=flight.run_id))

    def _again(
        self, flight: Flight, result: JobResult, kind: RunEventKind, detail: str | None
    ) -> None:
        """Records an end that settles nothing, but has a cost all the same."""
        self._events.record(flight.job, kind, detail, charge=self._charge(flight, result))

    def _charge(self, flight: Flight, result: JobResult) -> Charge:
        """What an own job has cost, counted in place of what was set aside for it."""
        charge = self.context.launcher.settle(flight.spec, result)
        self.context.spending.settle(flight.run_id, charge)
        return charge

    def _may_restart(self, job: Job, result: JobResult) -> bool:
        again = self._restarts[job.run_id] < MOST_RESTARTS and not job.is_bygone
        return again and self.rules.may_restart(result)

    def _settle(self, job: Job, outcome: Outcome, flight: Flight | None = None) -> None:
        """Records how a job ended, then counts it.

        Args:
            job: that has ended.
            outcome: its own or another job's.
            flight: the job's own, whose cost is counted here.
        """
        if job.run_id not in self.outcomes and outcome.result is not None:
            is_own = flight is not None and flight.is_own
            charge = self._charge(flight, outcome.result) if flight and is_own else NO_CHARGE
            self._events.record_end(job, outcome.result, outcome.reused_from, charge=charge)
        self._keep(job, outcome)

    def _keep(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.run_id] = outcome
        result = outcome.result
        if result is not None and self._may_stand_in(result):
            source = outcome.reused_from or job.run_id
            self._shared.setdefault(job.run_key, Outcome(result=result, reused_from=source))
        self._on_end(job, outcome)

    def _is_weak(self, job: Job, result: JobResult | None) -> bool:
        """Whether a result that says something is of a weaker sandbox level than is wanted now."""
        if result is None or result.is_inconclusive or job.is_bygone:
            return False
        return not at_least(result.sandbox_level, self.context.level)

    def _may_stand_in(self, result: JobResult) -> bool:
        deterministic = self.context.view.profile.deterministic
        return may_stand_in(result.status, result.blame, deterministic=deterministic)

    def _report(self, *, at_once: bool) -> None:
        due = time.monotonic() - self._reported_at >= REPORT_SECONDS
        if at_once or due:
            self._tell(self)
        if due:
            self._reported_at = time.monotonic()
            if self.rules.flushes:
                self.context.writer.flush()
