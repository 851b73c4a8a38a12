"""The campaign's own baseline runs: those of the first epoch, which all others are compared with."""

from collections.abc import Sequence

from assets.attempt.context import Context
from assets.results.judging import ComputeRule
from lake.tables import Run


def compute_rule(context: Context, own: Sequence[Run]) -> ComputeRule | None:
    """The CPU-time rule, where the profile has one.

    Args:
        context: of the stage that judges.
        own: baseline runs of this epoch; they count in the first one, where no others are.
    """
    if context.profile.compute != "cpu":
        return None
    return ComputeRule.of(context.history.baseline_runs() if context.epoch else own)
