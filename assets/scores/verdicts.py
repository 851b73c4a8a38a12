"""What becomes of a score after its run was judged: pure functions, the deep audit's first."""

import math
from dataclasses import replace

from assets.results.compute import PASSES
from lake.tables import Blame, Score, ScoreStatus
from launchers import JobResult

SAME_VALUE = 1e-3
"""Most that the value may differ when it is measured again, relative; on a CPU it does not."""
CUTS = "cuts"
"""Measure that counts the cuts which a score rests on."""
SEED = "seed"
"""Verdict on whether a patch uses the seed that it is given."""
AUDIT, LEVEL = "audit", "audit_level"
"""Verdict of the deep audit, and the sandbox level at which it was found, once it is final."""


def judged(score: Score, result: JobResult, *, deep: int) -> Score:
    """A score with the verdict of its audit.

    Args:
        score: as it stood before.
        result: of the job that scored it again.
        deep: cuts that it must rest on.
    """
    evaluation, value, level = result.evaluation, score.value, result.sandbox_level
    if evaluation is None or evaluation.value is None:
        if result.blame in (Blame.GUARD, Blame.EVALUATE):
            return _refused(score, Blame(result.blame), str(result.reason), level)
        return not_audited(score, str(result.reason))
    again = evaluation.value
    if value is None or not math.isclose(again, value, rel_tol=SAME_VALUE):
        reason = f"scored again, the same outputs gave {again} instead of {value}"
        return _refused(score, Blame.GUARD, reason, level)
    cuts, passes = (
        score.measures.get(name, 0) + evaluation.measures.get(name, 0) for name in (CUTS, PASSES)
    )
    if cuts < deep:
        return not_audited(score, f"found {cuts:.0f} cuts, expected {deep}")
    causal = evaluation.verdicts.get("causal", "")
    passed = with_verdict(score, f"passed: {cuts:.0f} cuts in all; the second time {causal}", level)
    return replace(passed, measures=score.measures | {CUTS: cuts, PASSES: passes})


def as_known(score: Score, known: Score) -> Score:
    """A score with the verdict that the same outputs got before."""
    carried = {name: known.verdicts[name] for name in (AUDIT, LEVEL)}
    verdicts = score.verdicts | carried
    if known.value is None:
        return replace(_invalid(score), blame=known.blame, reason=known.reason, verdicts=verdicts)
    measures = score.measures | {name: known.measures.get(name, 0) for name in (CUTS, PASSES)}
    return replace(score, verdicts=verdicts, measures=measures)


def not_audited(score: Score, reason: str) -> Score:
    """A score that could not be audited."""
    return with_verdict(score, f"not audited: {reason}")


def with_verdict(score: Score, verdict: str, level: str | None = None) -> Score:
    """A score with a verdict of the audit, and the sandbox level at which it was found."""
    found = {AUDIT: verdict} if level is None else {AUDIT: verdict, LEVEL: level}
    return replace(score, verdicts=score.verdicts | found)


def refused(score: Score, verdict: str, blame: Blame, reason: str) -> Score:
    """A score without its value.

    Args:
        score: as it stood.
        verdict: name of the rule that took it away.
        blame: whose boundary was broken.
        reason: what was found.
    """
    verdicts = score.verdicts | {verdict: f"violated: {reason}"}
    return replace(_invalid(score), blame=blame, reason=reason, verdicts=verdicts)


def _refused(score: Score, blame: Blame, reason: str, level: str) -> Score:
    invalid = with_verdict(_invalid(score), f"violated: {reason}", level)
    return replace(invalid, blame=blame, reason=f"deep audit: {reason}")


def _invalid(score: Score) -> Score:
    return replace(score, value=None, reward=None, status=ScoreStatus.INVALID)
