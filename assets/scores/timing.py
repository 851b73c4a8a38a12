"""Runs whose compute is close above the limit are timed again, beside the baseline.

Processor time depends on what else the machine does: minutes later equal work takes a third more.
So what looks dear is trained once more, and the unpatched code at the same time; only the two
together are compared. Cheap runs, and those far above the limit, are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress
from assets.diffs.git import apply_diff
from assets.errors import MachineError
from assets.jobs.job import Job, Outcome
from assets.jobs.pool import Pool
from assets.jobs.rules import Rules
from assets.jobs.spec import job_spec, training
from assets.results.compute import ComputeRule, Spent
from lake.ids import content_hash, content_id
from lake.tables import Patch, Run
from launchers.result import TRAIN

RULES = Rules(stopped="stopped at your request before every run was timed again; search again")
PLACES = 100_000
"""First place of these jobs in the attempt, behind those of the audits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Processor time of two trainings side by side, seconds."""

    patched: float
    unpatched: float

    def in_words(self, share: float) -> str:
        """What was found."""
        return (
            f"timed again, {self.patched:.2f} CPU-s of training beside {self.unpatched:.2f} of the "
            f"baseline: {share:.2f}x its work with what scoring took"
        )

    def share(self, run: Run, rule: ComputeRule) -> float:
        """The share of the baseline's compute, by these times and by the scoring of before."""
        spent, scoring = Spent.by(run), rule.scoring
        assert spent is not None
        beside = Spent(training=self.unpatched, scoring=scoring, start=rule.start)
        now = replace(spent, training=self.patched)
        return ComputeRule(baseline=[beside]).share(now)


def time_again(context: Context, runs: Sequence[tuple[int, Run]]) -> Mapping[str, Timed]:
    """Trains these runs again, each beside the unpatched code with the same seed.

    Args:
        context: of the scores stage.
        runs: with their places among the runs of the epoch.

    Returns:
        Times by run id; those that did not end well have none.

    Raises:
        Interrupted: the user stopped it.
        MachineError: a training failed more than once because of the machine.
    """
    if not runs:
        return {}
    pool = Pool(context, RULES, report=lambda pool: _report(context, pool))
    pairs = {run.run_id: _pair(context, place, run) for place, run in runs}
    pool.add([job for pair in pairs.values() for job in pair])
    pool.run()
    for job in pool.jobs:
        context.launcher.release(job.run_id, keep_outputs=False)
    times = {job.run_id: _seconds(context, job, pool.outcomes[job.run_id]) for job in pool.jobs}
    found = {run_id: [times[job.run_id] for job in pair] for run_id, pair in pairs.items()}
    return {
        run_id: Timed(patched=own, unpatched=baseline)
        for run_id, (own, baseline) in found.items()
        if own is not None and baseline is not None
    }


def _pair(context: Context, place: int, run: Run) -> tuple[Job, Job]:
    """The training of a run and that of the baseline."""
    view = context.view
    files = view.environment.files
    patches = {patch.patch_id: patch for patch in view.rows(Patch)}
    patch = patches[run.patch_id]
    first = PLACES + 2 * place

    def job(number: int, what: str, tree: str, diff: str) -> Job:
        run_id = content_id(what, run.run_id)
        key = content_hash(what, run.run_id, run.run_key)
        spec = job_spec(
            view,
            level=context.level,
            run_id=run_id,
            run_key=key,
            tree=tree,
            steps=training(view, seed=run.seed, cpu_seconds=None),
        )
        return Job(
            ordinal=first + number,
            run_id=run_id,
            run_key=key,
            spec=lambda: spec,
            files=lambda: apply_diff(files, diff) if diff else files,
        )

    return (
        job(0, "timed again", patch.tree or "", patch.diff),
        job(1, "timed beside", view.environment.tree, ""),
    )


def _seconds(context: Context, job: Job, outcome: Outcome) -> float | None:
    result = outcome.result
    assert result is not None
    if result.is_inconclusive:
        raise MachineError.of_job(
            "a training that was to be timed again",
            result.reason,
            expected="it to run as before",
            shown=context.launcher.fetch(job.run_id),
        )
    train = result.step(TRAIN)
    if result.status != "finished" or train is None:
        return None
    return train.cpu_seconds - train.start_cpu_seconds


def _report(context: Context, pool: Pool) -> None:
    context.monitor.jobs(
        JobsProgress(
            epoch=context.view.epoch,
            total=len(pool.jobs),
            done=len(pool.outcomes),
            running=pool.running,
            failed=0,
            adopted=0,
            what="timings",
        )
    )
