"""How an epoch follows from the scores before it: the strategies that a campaign may have.

strategy       what each of them answers
evolutionary   parents above the baseline, and a random context of everything tried
best_of_n      the control that looks at no score
"""

from assets.config.settings import StrategySettings
from assets.results.better import Better
from assets.strategies.best_of_n import BestOfN
from assets.strategies.evolutionary import Evolutionary
from assets.strategies.strategy import Choice, Proof, Strategy

__all__ = ["Choice", "Proof", "Strategy", "strategy_of"]


def strategy_of(settings: StrategySettings, better: Better) -> Strategy:
    """The strategy that a campaign names.

    Args:
        settings: checked already; what does not exist yet was refused.
        better: of the metric.
    """
    if settings.kind == "best_of_n":
        return BestOfN(ideas_per_call=settings.ideas_per_call, better=better)
    return Evolutionary(settings=settings, better=better)
