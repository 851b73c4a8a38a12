"""The deep leak audit: what a score must pass before it may become a parent or a winner.

Every score rests on some cuts already. The best of an epoch are scored again from their kept
outputs, in fresh processes, with enough more cuts to show a leak in a few of ten thousand
positions. The verdict stands in the row from its first commit: a row that was not audited is no
parent.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress
from assets.diffs.git import apply_diff
from assets.errors import MachineError
from assets.jobs.job import Job, Outcome
from assets.jobs.pool import Pool
from assets.jobs.rules import Rules
from assets.jobs.spec import declared_outputs, idle_limit, job_spec, scoring
from assets.results.compute import PASSES
from assets.scores.candidates import Candidate
from assets.scores.verdicts import (
    CUTS,
    LEVEL,
    as_known,
    judged,
    not_audited,
    with_verdict,
)
from lake.ids import content_hash, content_id
from lake.tables import Score
from launchers import JobResult, JobSpec, Take
from launchers.result import SCORE
from launchers.sandbox.levels import at_least

RULES = Rules(stopped="stopped at your request before every audit had ended; search again")


def audit(
    context: Context,
    candidates: Mapping[str, Candidate],
    choose: Callable[[Mapping[str, float]], Sequence[str]],
) -> dict[str, Score]:
    """Audits scores until all that may become parent or winner have been.

    What does not pass leaves its place to the next one, which is then audited.

    Args:
        context: of the scores stage.
        candidates: the epoch's valid scores of ideas, by run id.
        choose: which of the values (by run id) must be audited.

    Returns:
        The scores that were audited, by run id.

    Raises:
        Interrupted: the user stopped it.
        MachineError: an audit failed more than once because of the machine.
    """
    audits = Audits(context, candidates)
    deep = context.view.proof.deep
    while True:
        current = {run_id: one.score for run_id, one in candidates.items()} | audits.done
        values = {
            run_id: score.value
            for run_id, score in current.items()
            if score.value is not None
            if run_id not in audits.done or score.measures.get(CUTS, 0) >= deep
        }
        wanted = [run_id for run_id in choose(values) if run_id not in audits.done]
        if not wanted:
            return audits.done
        audits.run(wanted)


class Audits:
    """Audits of an epoch, side by side in the launcher's slots."""

    def __init__(self, context: Context, candidates: Mapping[str, Candidate]) -> None:
        self.context = context
        self.candidates = candidates
        self.done: dict[str, Score] = {}
        self._known = _known_scores(context, candidates.values())
        self._of_job: dict[str, Candidate] = {}
        """By the run_id of the job that scores again."""

    def run(self, run_ids: Iterable[str]) -> None:
        """Audits the scores of these runs; the verdicts are in `done`."""
        jobs = [job for run_id in run_ids if (job := self._job(self.candidates[run_id]))]
        pool = Pool(self.context, RULES, on_end=self._ended, report=self._report)
        pool.add(jobs)
        pool.run()

    def _job(self, one: Candidate) -> Job | None:
        """The job that audits a score; None where its verdict is known without one."""
        score, deep = one.score, self.context.view.proof.deep
        known = self._known.get(one.run.run_id)
        if known is not None:
            self.done[one.run.run_id] = as_known(score, known)
            return None
        if score.measures.get(CUTS, 0) >= deep:
            verdict = f"passed: {score.measures[CUTS]:.0f} cuts"
            self.done[one.run.run_id] = with_verdict(score, verdict)
            return None
        spec = audit_spec(self.context, one)
        if spec is None:
            self.done[one.run.run_id] = not_audited(score, "the outputs of its run are gone")
            return None
        self._of_job[spec.run_id] = one
        files, diff = self.context.view.environment.files, one.patch.diff
        return Job(
            ordinal=one.ordinal,
            run_id=spec.run_id,
            run_key=spec.run_key,
            spec=lambda: spec,
            files=lambda: apply_diff(files, diff),
        )

    def _ended(self, job: Job, outcome: Outcome) -> None:
        one, result = self._of_job[job.run_id], outcome.result
        assert result is not None
        if result.is_inconclusive:
            raise MachineError.of_job(
                f"the audit of run {one.run.run_id}",
                result.reason,
                expected="the kept outputs to be scored again",
                shown=self.context.launcher.fetch(job.run_id),
            )
        deep = self.context.view.proof.deep
        self.done[one.run.run_id] = judged(one.score, result, deep=deep)
        self.context.launcher.release(job.run_id, keep_outputs=False)

    def _report(self, pool: Pool) -> None:
        missing = sum(job.run_id not in pool.outcomes for job in pool.jobs)
        self.context.monitor.jobs(
            JobsProgress(
                epoch=self.context.view.epoch,
                total=len(self.done) + missing,
                done=len(self.done),
                running=pool.running,
                failed=sum(score.value is None for score in self.done.values()),
                adopted=0,
                what="audits",
            )
        )


def audit_spec(context: Context, one: Candidate) -> JobSpec | None:
    """The job that scores kept outputs again; None where they are gone."""
    view, launcher = context.view, context.launcher
    source = one.run.reused_from or one.run.run_id
    result = launcher.states([source])[source].result
    if result is None or not launcher.keeps_outputs(source):
        return None
    wanted = view.proof.deep - int(one.score.measures.get(CUTS, 0))
    passes = _passes(one.score, wanted)
    idle = idle_limit(view, (run.step_wall_seconds.get(SCORE) for run in view.baselines))
    grade = scoring(
        view,
        cuts=wanted,
        wall_seconds=view.profile.score_seconds * passes,
        idle_seconds=None if idle is None else idle * passes,
    )
    steps = (_taken(context, source, result), grade)
    return job_spec(
        view,
        level=context.level,
        run_id=content_id("audit", one.run.run_id),
        run_key=content_hash("audit", one.run.run_key, view.setup.evaluator),
        tree=one.patch.tree or "",
        steps=steps,
    )


def _taken(context: Context, source: str, result: JobResult) -> Take:
    hashes = {name: output.sha256 for name, output in result.outputs.items()}
    return Take(run_id=source, outputs=declared_outputs(context.view), hashes=hashes)


def _passes(score: Score, wanted: int) -> float:
    """How many times the first scoring's passes that many more cuts take."""
    cuts, passes = score.measures.get(CUTS, 0), score.measures.get(PASSES, 0)
    if not cuts or not passes:
        return 1
    return max(1, (1 + math.ceil(wanted * passes / cuts)) / (1 + passes))


def _known_scores(context: Context, candidates: Iterable[Candidate]) -> dict[str, Score]:
    """Earlier scores of the very same outputs that were audited, passed or not, by run id."""
    sources: dict[str, list[str]] = {}
    for one in candidates:
        for source in (one.run.run_id, one.run.reused_from):
            sources.setdefault(source or "", []).append(one.run.run_id)
    return {
        run_id: score
        for score in context.view.lake.read(Score, where={"run_id": sources.keys()})
        if score.evaluator == context.view.setup.evaluator
        if at_least(score.verdicts.get(LEVEL, ""), context.level)
        for run_id in sources[score.run_id]
    }
