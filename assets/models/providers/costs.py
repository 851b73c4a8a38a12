"""What a call cost, from its token counts and its price."""

from assets.config.prices import Price, Rates
from assets.models.requests import Usage

MILLION = 1_000_000


def cost(price: Price, usage: Usage) -> float | None:
    """US dollars of a call; None where a count is not known."""
    is_long = price.long_above is not None and (usage.input_tokens or 0) > price.long_above
    return cost_at(price.long if is_long and price.long else price.rates, usage)


def cost_at(rates: Rates, usage: Usage) -> float | None:
    """US dollars of a call at these rates; None where a count is not known."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached, written = usage.cached_tokens or 0, usage.written_tokens or 0
    fresh = max(0, usage.input_tokens - cached - written)
    total = (
        fresh * rates.input
        + cached * (rates.input if rates.cached is None else rates.cached)
        + written * (rates.input if rates.written is None else rates.written)
        + usage.output_tokens * rates.output
    )
    return total / MILLION
