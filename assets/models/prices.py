"""What a call costs, by the price table beside this file.

`prices.toml` has list prices of standard processing, each with the page it was read from. A model
that is not in it has no cost, rather than a guessed one. Left out: discounts of batches and
contracts, surcharges of regions, and caches that are kept longer than the usual 5 or 30 minutes;
none of them is asked for by our requests.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from assets.models import Usage

if TYPE_CHECKING:
    from assets.models.connection import Connection

TABLE = Path(__file__).with_name("prices.toml")
VENDORS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai_chat": "openai",
}
"""Protocol -> section of the table."""
SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""The date at the end of a model's name, in both vendors' writing."""
MILLION = 1_000_000

Dollars = Annotated[float, Field(ge=0, le=100_000)]


class Rates(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    """Of the prompt, read from the cache; None is the price of `input`."""
    written: Dollars | None = None
    """Of the prompt, written to the cache; None is the price of `input`."""

    def cost(self, usage: Usage) -> float | None:
        """US dollars of a call; None where a count is not known."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached, written = usage.cached_tokens or 0, usage.written_tokens or 0
        fresh = max(0, usage.input_tokens - cached - written)
        total = (
            fresh * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + written * (self.input if self.written is None else self.written)
            + usage.output_tokens * self.output
        )
        return total / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A row of the price table, or an own price."""

    model: str | None
    """As the table calls it; None for an own price."""
    version: str | None
    """Of the table."""
    source: str
    rates: Rates
    long_above: int | None = None
    """Prompts of more tokens than that cost `long`, for the whole call."""
    long: Rates | None = None

    def as_json(self) -> str:
        """As it is stored with an answer."""
        row = asdict(self)
        row["rates"] = self.rates.model_dump()
        row["long"] = self.long.model_dump() if self.long else None
        return json.dumps(row)


def own_price(rates: Rates) -> Price:
    """The price that a connection carries."""
    return Price(model=None, version=None, source="the connection's own", rates=rates)


def price_of(protocol: str, model: str) -> Price | None:
    """The list price of a model, whose name may end in the date of a snapshot."""
    section = _table().get(VENDORS[protocol], {})
    return section.get(model) or section.get(SNAPSHOT.sub("", model))


def is_priced(connection: "Connection") -> bool:
    """Whether the cost of a connection's calls will be known."""
    own = connection.price is not None
    return own or price_of(connection.protocol, connection.model) is not None


def cost(price: Price, usage: Usage) -> float | None:
    """US dollars of a call; None where a count is not known."""
    is_long = price.long_above is not None and (usage.input_tokens or 0) > price.long_above
    rates = price.long if is_long and price.long else price.rates
    return rates.cost(usage)


@cache
def _table() -> Mapping[str, Mapping[str, Price]]:
    read = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {
        vendor: {name: _row(name, row, read["version"]) for name, row in read[vendor].items()}
        for vendor in sorted(set(VENDORS.values()))
    }


def _row(model: str, row: Mapping[str, Any], version: str) -> Price:
    long = row.get("long", {})
    return Price(
        model=model,
        version=version,
        source=row["source"],
        rates=_rates(row),
        long_above=long.get("above"),
        long=_rates(long) if long else None,
    )


def _rates(row: Mapping[str, Any]) -> Rates:
    names = Rates.model_fields.keys() & row.keys()
    return Rates(**{name: float(row[name]) for name in names})
