"""The deep leak audit: what a score must pass before it may become a parent or a winner.

Every score rests on some cuts already. The best of an epoch are scored again from their kept
outputs, in fresh processes, with so many more cuts that a leak in a few positions of ten thousand
shows. The verdict stands in the row from its first commit: a row that was not audited is no parent.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assets.attempt.context import Context
from assets.attempt.monitor import JobsProgress, StopLevel
from assets.diffs.git import apply_diff
from assets.errors import Interrupted, MachineError
from assets.jobs.ends import record_end
from assets.jobs.spec import job_spec
from lake.ids import content_hash, content_id
from lake.tables import Blame, Patch, Run, Score, ScoreStatus
from launchers import JobPhase, JobSpec, is_inconclusive
from launchers.sandbox.levels import at_least

POLL_SECONDS = 0.02
MOST_TRIES = 2
SAME_VALUE = 1e-3
"""Most that the value may differ when it is measured again, relative; on a CPU it does not."""
CUTS = "cuts"
"""Measure that counts the cuts which a score rests on."""
PASSES = "audit_passes"
"""Measure of the fresh servers that it took to make them."""
AUDIT, LEVEL = "audit", "audit_level"
"""Verdict of the deep audit, and the sandbox level that it was found at once it is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An idea's score of this epoch with the run that it belongs to."""

    score: Score
    run: Run
    patch: Patch


def to_audit(
    values: Mapping[str, float],
    earlier: Iterable[float],
    *,
    bar: float | None,
    places: int,
    minimize: bool,
) -> list[str]:
    """Which of an epoch's scores may become a parent or the winner as they stand.

    Args:
        values: run id -> value of this epoch's ideas.
        earlier: values of the ideas of earlier epochs.
        bar: the baseline's mean; None where there is none.
        places: how many parents an epoch may have.
        minimize: whether lower values are better.

    Returns:
        Run ids, best first: those in the first place, or above the bar and among the first ones.
    """
    sign = 1 if minimize else -1
    better_earlier = sorted(sign * value for value in earlier)
    ranked = sorted(values, key=lambda run: (sign * values[run], run))
    chosen = []
    for rank, run in enumerate(ranked):
        value = sign * values[run]
        place = rank + sum(other <= value for other in better_earlier)
        above = bar is not None and value < sign * bar
        if place == 0 or (above and place < places):
            chosen.append(run)
    return chosen


def audit(
    context: Context,
    candidates: Mapping[str, Candidate],
    choose: Callable[[Mapping[str, float]], Sequence[str]],
) -> dict[str, Score]:
    """Audits scores until all that may become parent or winner have been.

    What does not pass leaves its place to the next one, which is audited then.

    Args:
        context: of the scores stage.
        candidates: the epoch's valid scores of ideas, by run id.
        choose: which of the values (by run id) must be audited.

    Returns:
        The scores that were audited, by run id.

    Raises:
        Interrupted: if the user stopped it.
        MachineError: if an audit failed for reasons of the machine.
    """
    audits = Audits(context, candidates)
    deep = context.environment.manifest.audit.deep
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
        self._waiting: list[Candidate] = []
        self._live: dict[str, tuple[Candidate, JobSpec]] = {}
        """By the run_id of the job that scores again."""
        self._tries: Counter[str] = Counter()
        self._cancelled = False

    def run(self, run_ids: Iterable[str]) -> None:
        """Audits the scores of these runs; the verdicts are in `done`."""
        self._waiting += [self.candidates[run_id] for run_id in run_ids]
        while self._waiting or self._live:
            self._obey_stop()
            if not self._submit() + self._collect():
                time.sleep(POLL_SECONDS)
            self._report()

    def _obey_stop(self) -> None:
        level = self.context.stop.level
        if level is StopLevel.CANCEL and not self._cancelled:
            self._cancelled = True
            for job in self._live:
                self.context.launcher.cancel(job)
        if level is not StopLevel.GO and not self._live:
            raise Interrupted("stopped on your word before every audit had ended; search again")
        if self._waiting and not self._live:
            self.context.spending.check()

    def _submit(self) -> int:
        moved = 0
        slots = self.context.settings.launcher.slots
        while self._waiting and len(self._live) < slots and self._may_start():
            self._start(self._waiting.pop(0))
            moved += 1
        return moved

    def _may_start(self) -> bool:
        """Whether neither the user nor the budget stands against a new audit."""
        context = self.context
        return context.stop.level is StopLevel.GO and context.spending.reached is None

    def _start(self, one: Candidate) -> None:
        score, deep = one.score, self.context.environment.manifest.audit.deep
        known = self._known.get(one.run.run_id)
        spec = audit_spec(self.context, one)
        if known is not None:
            self.done[one.run.run_id] = as_known(score, known)
        elif score.measures.get(CUTS, 0) >= deep:
            self.done[one.run.run_id] = _with(score, f"passed: {score.measures[CUTS]:.0f} cuts")
        elif spec is None:
            self.done[one.run.run_id] = _not_audited(score, "the outputs of its run are gone")
        else:
            files = apply_diff(self.context.environment.files, one.patch.diff)
            self.context.launcher.submit(spec, files)
            self._live[spec.run_id] = one, spec

    def _collect(self) -> int:
        moved = 0
        for job, (one, spec) in list(self._live.items()):
            state = self.context.launcher.poll(job)
            if state.phase is JobPhase.RUNNING:
                continue
            moved += 1
            del self._live[job]
            result = state.outcome
            if state.result is not None:
                record_end(self.context, spec, state.result)
            if is_inconclusive(result):
                self._try_again(job, one, result)
            elif not at_least(result["sandbox_level"], self.context.sandbox_level):
                self._waiting.append(one)
            else:
                self._judge(job, one, result)
        return moved

    def _try_again(self, job: str, one: Candidate, result: Mapping[str, Any]) -> None:
        self._tries[job] += 1
        if self._tries[job] >= MOST_TRIES and not self._cancelled:
            raise MachineError(
                f"the audit of run {one.run.run_id} failed {MOST_TRIES} times for reasons of the "
                f"machine: {result['reason']}. The outputs are kept: mend it and run the same "
                "command again"
            )
        self._waiting.append(one)

    def _judge(self, job: str, one: Candidate, result: Mapping[str, Any]) -> None:
        deep = self.context.environment.manifest.audit.deep
        self.done[one.run.run_id] = judged(one.score, result, deep=deep)
        self.context.launcher.release(job, keep_outputs=False)

    def _report(self) -> None:
        self.context.monitor.jobs(
            JobsProgress(
                epoch=self.context.epoch,
                total=len(self.done) + len(self._waiting) + len(self._live),
                done=len(self.done),
                running=len(self._live),
                failed=sum(score.value is None for score in self.done.values()),
                adopted=0,
                what="audits",
            )
        )


def audit_spec(context: Context, one: Candidate) -> JobSpec | None:
    """The job that scores kept outputs again; None where they are gone."""
    source = one.run.reused_from or one.run.run_id
    result = context.launcher.poll(source).result
    outputs = context.launcher.fetch(source) / "out" if result else None
    if result is None or outputs is None or not outputs.is_dir():
        return None
    wanted = context.environment.manifest.audit.deep - int(one.score.measures.get(CUTS, 0))
    return job_spec(
        context,
        run_id=content_id("audit", one.run.run_id),
        run_key=content_hash("audit", one.run.run_key, context.evaluator),
        tree=one.patch.tree or "",
        seed=one.run.seed,
        checkpoint=str(outputs),
        checkpoint_hashes={name: output["sha256"] for name, output in result["outputs"].items()},
        cuts=wanted,
        score_seconds=context.profile.score_seconds * _passes(one.score, wanted),
    )


def _passes(score: Score, wanted: int) -> float:
    """How many times the passes of the first scoring it takes to make so many cuts more."""
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
        for score in context.lake.read(Score, where={"run_id": sources.keys()})
        if score.evaluator == context.evaluator
        if at_least(score.verdicts.get(LEVEL, ""), context.sandbox_level)
        for run_id in sources[score.run_id]
    }


def judged(score: Score, result: Mapping[str, Any], *, deep: int) -> Score:
    """A score with the verdict of its audit.

    Args:
        score: as it stood before.
        result: `result.json` of the job that scored it again.
        deep: cuts that it must rest on.
    """
    evaluation = result.get("evaluation") or {}
    again, value, level = evaluation.get("value"), score.value, result["sandbox_level"]
    if again is None:
        if result.get("blame") in (Blame.GUARD, Blame.EVALUATE):
            return _refused(score, Blame(result["blame"]), str(result["reason"]), level)
        return _not_audited(score, str(result.get("reason")))
    if value is None or not math.isclose(again, value, rel_tol=SAME_VALUE):
        reason = f"scored again, the same outputs gave {again} instead of {value}"
        return _refused(score, Blame.GUARD, reason, level)
    cuts, passes = (
        score.measures.get(name, 0) + evaluation["measures"].get(name, 0) for name in (CUTS, PASSES)
    )
    if cuts < deep:
        return _not_audited(score, f"found {cuts:.0f} cuts, expected {deep}")
    causal = evaluation["verdicts"].get("causal", "")
    passed = _with(score, f"passed: {cuts:.0f} cuts in all; the second time {causal}", level)
    return replace(passed, measures=score.measures | {CUTS: cuts, PASSES: passes})


def as_known(score: Score, known: Score) -> Score:
    """A score with the verdict that the same outputs got before."""
    carried = {name: known.verdicts[name] for name in (AUDIT, LEVEL)}
    verdicts = score.verdicts | carried
    if known.value is None:
        return replace(_invalid(score), blame=known.blame, reason=known.reason, verdicts=verdicts)
    measures = score.measures | {name: known.measures.get(name, 0) for name in (CUTS, PASSES)}
    return replace(score, verdicts=verdicts, measures=measures)


def _refused(score: Score, blame: Blame, reason: str, level: str) -> Score:
    invalid = _with(_invalid(score), f"violated: {reason}", level)
    return replace(invalid, blame=blame, reason=f"deep audit: {reason}")


def _invalid(score: Score) -> Score:
    return replace(score, value=None, reward=None, status=ScoreStatus.INVALID)


def _not_audited(score: Score, reason: str) -> Score:
    return _with(score, f"not audited: {reason}")


def _with(score: Score, verdict: str, level: str | None = None) -> Score:
    """A score with a verdict of the audit, and the sandbox level that it was found at."""
    found = {AUDIT: verdict} if level is None else {AUDIT: verdict, LEVEL: level}
    return replace(score, verdicts=score.verdicts | found)
