"""How an epoch follows from the scores before it: the strategies that a campaign may have.

strategy       what each of them answers
evolutionary   parents above the baseline, and a random context of everything tried
best_of_n      the control that looks at no score
"""

from assets.config.settings import StrategySettings
from assets.errors import CampaignError
from assets.results.better import Better
from assets.strategies.best_of_n import BestOfN
from assets.strategies.evolutionary import Evolutionary
from assets.strategies.strategy import Choice, Proof, Strategy

__all__ = ["Choice", "Proof", "Strategy", "strategy_of"]


def strategy_of(settings: StrategySettings, better: Better) -> Strategy:
    """The strategy that a campaign names.

    Args:
        settings: of the campaign.
        better: of the metric.

    Raises:
        CampaignError: nobody searches like this yet; a campaign's settings refuse it on load.
    """
    match settings.kind:
        case "evolution":
            return Evolutionary(settings=settings, better=better)
        case "best_of_n":
            return BestOfN(ideas_per_call=settings.ideas_per_call, better=better)
        case "rl":
            raise CampaignError(
                "strategy.kind: found rl, which is not available yet; expected evolution or "
                "best_of_n. Mend the campaign's defs.yaml"
            )
