"""Whether a run's value counts: pure rules, each with its verdict in words.

compute   rules that compare a run with the campaign's own baseline: what it took
memory    and what it knows of the hidden text
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from assets.config.environment import Manifest
from assets.results.better import Better
from lake.tables import Blame, Run, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A value, or the blame and the reason why there is none."""

    value: float | None = None
    blame: Blame | None = None
    reason: str | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    """What was worked out besides."""


class Rule(Protocol):
    """What may take a value away."""

    def judge(self, run: Run) -> Judgement:
        """The verdict on a run that ended well; with blame and reason where it breaks the rule."""


def judge(run: Run, manifest: Manifest, rules: Sequence[Rule]) -> Judgement:
    """Decide whether a run's value counts: it ended, finite, believable, and within the rules."""
    verdicts, value = dict(run.verdicts), run.value
    measures: dict[str, float] = {}
    if run.status is not RunStatus.FINISHED:
        blame = run.blame or Blame.INFRASTRUCTURE
        return Judgement(blame=blame, reason=run.reason or run.status.value, verdicts=verdicts)
    for rule in rules:
        found = rule.judge(run)
        verdicts |= found.verdicts
        measures |= found.measures
        if found.blame:
            return Judgement(
                blame=found.blame, reason=found.reason, verdicts=verdicts, measures=measures
            )
    if value is None or not math.isfinite(value):
        reason = f"the evaluator gave {value!r} for {manifest.metric}, expected a finite number"
        return Judgement(blame=Blame.EVALUATE, reason=reason, verdicts=verdicts, measures=measures)
    return _believe(value, manifest, verdicts, measures)


def _believe(
    value: float, manifest: Manifest, verdicts: dict[str, str], measures: dict[str, float]
) -> Judgement:
    better = Better.of(manifest)
    bound = f"{'below' if better.minimize else 'above'} {manifest.floor}"
    if better.beats(value, manifest.floor):
        verdicts["floor"] = f"violated: {value} is {bound}"
        reason = f"{manifest.metric} {value} is better than can be believed ({bound})"
        return Judgement(blame=Blame.GUARD, reason=reason, verdicts=verdicts, measures=measures)
    verdicts["floor"] = f"passed: not {bound}"
    return Judgement(value=value, verdicts=verdicts, measures=measures)


def reward(value: float, *, minimize: bool) -> float:
    """Higher is better: the inverse of a minimised metric, as in the paper.

    That is above 0, since its floor is and what is below is not believed.
    """
    return 1 / value if minimize else value
