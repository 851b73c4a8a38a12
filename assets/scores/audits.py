"""The deep leak audit: what a score must pass before it may become a parent or a winner.

Every score rests on some cuts already. The best of an epoch are scored again from their kept
outputs, in fresh processes, with so many more cuts that a leak in a few positions of ten thousand
shows. The verdict stands in the row from its first commit: a row that was not audited is no parent.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assets.diffs import apply_diff
from assets.errors import Interrupted
from assets.job_spec import job_spec
from assets.monitor import StopLevel
from assets.stage import Context
from lake.ids import content_hash
from lake.tables import Blame, Patch, Run, Score, ScoreStatus
from launchers import JobPhase, JobSpec, says_nothing

POLL_SECONDS = 0.02
MOST_TRIES = 2
SAME_VALUE = 1e-3
"""Most that the value may differ when it is measured again, relative; on a CPU it does not."""
CUTS = "cuts"
"""Measure that counts the cuts which a score rests on."""
AUDIT = "audit"
"""Verdict of the deep audit."""


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

    A score that fails leaves its place to the next one, which is audited then.

    Args:
        context: of the scores stage.
        candidates: the epoch's valid scores of ideas, by run id.
        choose: which of the values (by run id) must be audited.

    Returns:
        The scores that changed, by run id.

    Raises:
        Interrupted: if the user stopped it.
    """
    current = {run_id: one.score for run_id, one in candidates.items()}
    done: set[str] = set()
    while True:
        values = {key: score.value for key, score in current.items() if score.value is not None}
        wanted = [key for key in choose(values) if key not in done]
        if not wanted:
            return {key: current[key] for key in done}
        current |= _Round(context, [candidates[key] for key in wanted]).run()
        done |= set(wanted)


class _Round:
    """Audits that run side by side."""

    def __init__(self, context: Context, candidates: Sequence[Candidate]) -> None:
        self.context = context
        self.waiting = list(candidates)
        self.total = len(candidates)
        self.live: dict[str, Candidate] = {}
        self.tries: dict[str, int] = {}
        self.done: dict[str, Score] = {}

    def run(self) -> dict[str, Score]:
        """The judged scores by run id."""
        while self.waiting or self.live:
            self._obey_stop()
            moved = self._submit() + self._collect()
            if not moved:
                time.sleep(POLL_SECONDS)
        return self.done

    def _obey_stop(self) -> None:
        level = self.context.stop.level
        if level is StopLevel.CANCEL:
            for job in self.live:
                self.context.launcher.cancel(job)
        if level is not StopLevel.GO and not self.live:
            raise Interrupted("stopped on your word before every audit had ended; search again")

    def _submit(self) -> int:
        moved = 0
        slots = self.context.settings.launcher.slots
        while self.waiting and len(self.live) < slots and self.context.stop.level is StopLevel.GO:
            self._start(self.waiting.pop(0))
            moved += 1
        return moved

    def _start(self, one: Candidate) -> None:
        known = _known(self.context, one)
        if known is not None:
            self.done[one.run.run_id] = _as_known(one.score, known)
            return
        spec = _spec(self.context, one)
        if spec is None:
            self.done[one.run.run_id] = _not_audited(one.score, "the outputs of its run are gone")
            return
        self.tries[spec.run_id] = self.tries.get(spec.run_id, 0) + 1
        files = apply_diff(self.context.environment.files, one.patch.diff)
        self.context.launcher.submit(spec, files)
        self.live[spec.run_id] = one

    def _collect(self) -> int:
        moved = 0
        for job, one in list(self.live.items()):
            state = self.context.launcher.poll(job)
            if state.phase is JobPhase.RUNNING:
                continue
            moved += 1
            del self.live[job]
            result = state.result or {"status": "failed", "blame": "infrastructure"}
            if says_nothing(result) and self.tries[job] < MOST_TRIES:
                self.waiting.append(one)
            else:
                self.done[one.run.run_id] = judged(one.score, result)
                self.context.launcher.release(job, keep_outputs=False)
        return moved


def _spec(context: Context, one: Candidate) -> JobSpec | None:
    """The job that scores kept outputs again; None where they are gone."""
    source = one.run.reused_from or one.run.run_id
    result = context.launcher.poll(source).result
    outputs = context.launcher.fetch(source) / "out" if result else None
    if result is None or outputs is None or not outputs.is_dir():
        return None
    rule = context.environment.manifest.audit
    return job_spec(
        context,
        run_id=f"{one.run.run_id}.audit",
        run_key=content_hash("audit", one.run.run_key, context.evaluator),
        tree=one.patch.tree or "",
        seed=one.run.seed,
        checkpoint=str(outputs),
        checkpoint_hashes={name: output["sha256"] for name, output in result["outputs"].items()},
        cuts=rule.deep - int(one.score.measures.get(CUTS, 0)),
        score_seconds=context.profile.score_seconds * math.ceil(rule.deep / max(rule.cuts, 1)),
    )


def _known(context: Context, one: Candidate) -> Score | None:
    """An earlier score of the very same outputs that was audited, passed or not."""
    same = [run for run in (one.run.run_id, one.run.reused_from) if run is not None]
    scores = context.lake.read(Score, where={"run_id": same})
    return next((s for s in scores if s.evaluator == context.evaluator and _was_audited(s)), None)


def _was_audited(score: Score) -> bool:
    return score.verdicts.get(AUDIT, "not audited").split(":")[0] != "not audited"


def judged(score: Score, result: Mapping[str, Any]) -> Score:
    """A score with the verdict of its audit.

    Args:
        score: as it stood before.
        result: `result.json` of the job that scored it again.
    """
    evaluation = result.get("evaluation") or {}
    again, value = evaluation.get("value"), score.value
    if again is None:
        if result.get("blame") in (Blame.GUARD, Blame.EVALUATE):
            return _refused(score, Blame(result["blame"]), str(result["reason"]))
        return _not_audited(score, str(result.get("reason")))
    if value is None or not math.isclose(again, value, rel_tol=SAME_VALUE):
        reason = f"scored again, the same outputs gave {again} instead of {value}"
        return _refused(score, Blame.GUARD, reason)
    cuts = score.measures.get(CUTS, 0) + evaluation["measures"].get(CUTS, 0)
    said = f"passed: {cuts:.0f} cuts in all; again {evaluation['verdicts'].get('causal', '')}"
    return replace(
        score,
        verdicts=score.verdicts | {AUDIT: said},
        measures=score.measures | {CUTS: cuts},
    )


def _refused(score: Score, blame: Blame, reason: str) -> Score:
    return replace(
        score,
        value=None,
        reward=None,
        status=ScoreStatus.INVALID,
        blame=blame,
        reason=f"deep audit: {reason}",
        verdicts=score.verdicts | {AUDIT: f"violated: {reason}"},
    )


def _not_audited(score: Score, reason: str) -> Score:
    return replace(score, verdicts=score.verdicts | {AUDIT: f"not audited: {reason}"})


def _as_known(score: Score, known: Score) -> Score:
    """A score with the verdict that the same outputs got before."""
    if known.value is None:
        return _refused(score, known.blame or Blame.GUARD, known.verdicts[AUDIT])
    return replace(
        score,
        verdicts=score.verdicts | {AUDIT: known.verdicts[AUDIT]},
        measures=score.measures | {CUTS: known.measures.get(CUTS, 0)},
    )
