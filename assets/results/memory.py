"""Whether a run knows the hidden text: it is then better on it, against a second one, than others.

How much easier one text is than the other differs between environments and is not 0, so that a run
is compared with the campaign's own baseline, by the spread which that has over seeds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.environment import Manifest, Profile
from assets.results.better import Better
from assets.results.judging import Judgement
from lake.tables import Blame, Run, RunStatus

SECOND = "second"
"""Measure of an evaluator: the metric on a second shard that is no part of the value."""
MEMORY = "memory"
LEAD_LIMIT = 6.0
"""Most that the lead of a run may be above the baseline's, in standard deviations over seeds.
Source: environments/nanogpt/README.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRule:
    """The rule of a profile whose lead was measured."""

    values: Sequence[float]
    """Of the campaign's own baseline runs."""
    leads: Sequence[float]
    """By how much each of them is better on the hidden shard than on the second; negative where the
    second is the easier one."""
    sd: float
    """Of the lead over seeds, as measured for the manifest."""
    better: Better

    @classmethod
    def of(
        cls, baselines: Sequence[Run], manifest: Manifest, profile: Profile
    ) -> "MemoryRule | None":
        """The rule that baseline runs give; None where nothing is known to compare."""
        better = Better.of(manifest)
        sd = profile.baseline.lead_sd if profile.baseline else None
        known = [
            (run.value, lead)
            for run in baselines
            if run.status is RunStatus.FINISHED and run.value is not None
            if (lead := lead_of(run, better)) is not None
        ]
        if sd is None or not known:
            return None
        values, leads = zip(*known, strict=True)
        return cls(values=values, leads=leads, sd=sd, better=better)

    def judge(self, run: Run) -> Judgement:
        """Whether a run is further ahead on the hidden shard than the baseline by its seeds.

        One that is no better than the baseline is not refused: it gains nothing, and models that
        know little are as bad on one text as on the other.
        """
        lead = lead_of(run, self.better)
        if lead is None or run.value is None:
            return Judgement(verdicts={MEMORY: "not judged: there is no value to compare"})
        above, limit = lead - statistics.fmean(self.leads), LEAD_LIMIT * self.sd
        said = (
            f"against the second text, the hidden one is predicted {above:+.4g} better than by the "
            f"baseline; at most {limit:+.2g} without knowing it"
        )
        if above <= limit:
            return Judgement(verdicts={MEMORY: f"passed: {said}"})
        if not self.better.beats(run.value, statistics.fmean(self.values)):
            return Judgement(verdicts={MEMORY: f"passed: no better than the baseline; {said}"})
        return Judgement(blame=Blame.GUARD, reason=said, verdicts={MEMORY: f"violated: {said}"})


def lead_of(run: Run, better: Better) -> float | None:
    """By how much a run is better on the hidden shard than on the second; None if not told."""
    second = run.measures.get(SECOND)
    if second is None or run.value is None:
        return None
    return better.rank(second) - better.rank(run.value)
