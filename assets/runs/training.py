"""The runs of one attempt in the pool: what each asks of the launcher, and what came of it."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import replace

from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress
from assets.errors import MachineError
from assets.jobs.job import Job, Outcome
from assets.jobs.pool import Pool
from assets.jobs.rules import Rules
from assets.jobs.spec import idle_limit, job_spec, scoring, training
from assets.runs.adoption import find_finished
from assets.runs.plan import PlannedRun
from assets.runs.rows import row_of, taken_over
from lake.tables import Run, RunStatus
from launchers import JobResult, JobSpec
from launchers.result import SCORE, TRAIN

KILL_LIMIT = 3.0
"""CPU time at which training is killed, in medians of the baseline runs."""
STOPPED = (
    "stopped at your request: what had ended is kept, and `varve search` goes on where this stopped"
)


def was_not_scored(result: JobResult) -> bool:
    """Whether another try may help: not where training went well and the scoring broke."""
    return result.step(SCORE) is None


class Training:
    """Runs of one attempt."""

    def __init__(
        self, context: Context, *, quorum: float, beside: Collection[str] = (), what: str = "jobs"
    ) -> None:
        """Plans nothing yet.

        Args:
            context: the attempt.
            quorum: share of the runs that must have ended for `run` to return.
            beside: run ids of earlier epochs that may still take slots.
            what: what people see them called.
        """
        self.context = context
        self.planned: list[PlannedRun] = []
        self._what = what
        self._jobs: dict[str, Job] = {}
        rules = Rules(
            stopped=STOPPED, may_restart=was_not_scored, quorum=quorum, beside=tuple(beside)
        )
        self.pool = Pool(context, rules, report=lambda _: context.monitor.jobs(self._progress()))

    def add(self, planned: Sequence[PlannedRun]) -> None:
        """Takes runs on, or finds them among those that were run before."""
        keys = {each.run_key for each in planned}
        again = self.context.view.settings.remeasure
        finished = {} if again or not keys else find_finished(self.context, keys)
        self.planned += planned
        jobs = [self._job(each) for each in planned]
        self._jobs |= {job.run_id: job for job in jobs}
        self.pool.add(jobs, finished=finished)

    def run(self) -> None:
        """Works until every run has ended, or the quorum has.

        Raises:
            MachineError: nothing can be learned from what has ended; the attempt stays open.
        """
        self.pool.run()
        self._refuse_a_broken_machine()

    @property
    def missing(self) -> list[PlannedRun]:
        """Runs that have not ended."""
        return [each for each in self.planned if each.run_id not in self.pool.outcomes]

    def rows(self) -> list[Run]:
        """Of the runs that have ended, in the order in which they were planned."""
        outcomes = self.pool.outcomes
        return [self._row(each, outcomes[each.run_id]) for each in self._ended]

    @property
    def _ended(self) -> list[PlannedRun]:
        return [each for each in self.planned if each.run_id in self.pool.outcomes]

    def _row(self, planned: PlannedRun, outcome: Outcome) -> Run:
        view, launcher = self.context.view, self.context.launcher
        if outcome.run is not None:
            return taken_over(view, planned, outcome.run)
        assert outcome.result is not None
        charge = launcher.settle(self._jobs[planned.run_id].spec(), outcome.result)
        row = row_of(view, planned, outcome.result, charge, launcher=launcher.kind)
        return replace(row, reused_from=outcome.reused_from)

    def _job(self, planned: PlannedRun) -> Job:
        return Job(
            ordinal=planned.ordinal,
            run_id=planned.run_id,
            run_key=planned.run_key,
            spec=lambda: self._spec(planned),
            files=lambda: planned.files,
            essential=planned.is_baseline or not planned.is_screening,
            is_bygone=planned.is_bygone,
        )

    def _spec(self, planned: PlannedRun) -> JobSpec:
        view = self.context.view
        cuts, seconds = view.environment.manifest.audit.cuts, view.profile.score_seconds
        train, score = (idle_limit(view, self._baseline_walls(name)) for name in (TRAIN, SCORE))
        cpu = self._cpu_limit()
        steps = (
            *training(view, seed=planned.seed, cpu_seconds=cpu, idle_seconds=train),
            scoring(view, cuts=cuts, wall_seconds=seconds, idle_seconds=score),
        )
        return job_spec(
            view,
            level=self.context.level,
            run_id=planned.run_id,
            run_key=planned.run_key,
            tree=planned.patch.tree or "",
            steps=steps,
        )

    def _cpu_limit(self) -> float | None:
        """Where training is killed; unknown until a baseline run has ended."""
        view = self.context.view
        if view.profile.compute != "cpu":
            return None
        past = view.baselines if view.epoch else []
        seconds = [run.cpu_seconds for run in past if run.status is RunStatus.FINISHED]
        seconds += [
            _cpu_seconds(self.pool.outcomes[each.run_id])
            for each in self._ended
            if each.is_baseline
        ]
        known = [s for s in seconds if s]
        return KILL_LIMIT * statistics.median(known) if known else None

    def _baseline_walls(self, step: str) -> list[float | None]:
        """Wall clock of a step in the baseline runs that have ended."""
        view = self.context.view
        walls = [run.step_wall_seconds.get(step) for run in view.baselines] if view.epoch else []
        for each in self._ended:
            outcome = self.pool.outcomes[each.run_id]
            if each.is_baseline and outcome.run is not None:
                walls.append(outcome.run.step_wall_seconds.get(step))
            elif each.is_baseline and outcome.result is not None:
                walls.append(outcome.result.wall_seconds(step))
        return walls

    def _progress(self) -> JobsProgress:
        ended = [(each, self.pool.outcomes[each.run_id]) for each in self._ended]
        values = [(each.idea.title, outcome.value) for each, outcome in ended]
        return JobsProgress(
            epoch=self.context.view.epoch,
            total=len(self.planned),
            done=len(ended),
            running=self.pool.running,
            failed=sum(value is None for _, value in values),
            adopted=sum(outcome.reused_from is not None for _, outcome in ended),
            what=self._what,
            values=tuple((title, value) for title, value in values if value is not None),
        )

    def _refuse_a_broken_machine(self) -> None:
        ended = self._ended
        silent = [each for each in ended if self.pool.outcomes[each.run_id].is_inconclusive]
        baselines = [each for each in silent if each.is_baseline]
        if silent and (baselines or len(silent) == len(ended)):
            first = (baselines or silent)[0].run_id
            result = self.pool.outcomes[first].result
            also = f", {len(baselines)} of the baseline among them" if baselines else ""
            raise MachineError(
                f"{len(silent)} of the {len(ended)} jobs that ended failed because of the "
                f"machine{also}: {result.reason if result else None}. Expected jobs that tell "
                "something about their idea: repair what "
                f"{self.context.launcher.fetch(first)} shows and run the same command again; the "
                "other jobs' results are kept"
            )


def _cpu_seconds(outcome: Outcome) -> float | None:
    """CPU time of training, where the run was finished or taken over."""
    if outcome.run is not None:
        return outcome.run.cpu_seconds
    result = outcome.result
    finished = result is not None and result.status == RunStatus.FINISHED
    return result.cpu_seconds(TRAIN) if result and finished else None
