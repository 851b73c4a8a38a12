"""What tokens cost: the price table next to this file, and a user's own prices.

`prices.toml` has list prices of standard processing, each with the page it was read from. A model
that is not in it has no cost, rather than a guessed one. Left out: batch and contract discounts,
regional surcharges, and caches kept longer than the usual 5 or 30 minutes; our requests ask for
none of them.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

TABLE = Path(__file__).with_name("prices.toml")
VENDORS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai_chat": "openai",
}
"""Protocol -> section of the table."""
SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""The date at the end of a model's name, as either vendor writes it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A row of the price table, or a user's own price."""

    model: str | None
    """As the table calls it; None for a user's own price."""
    version: str | None
    """Of the table."""
    source: str
    rates: Rates
    long_above: int | None = None
    """With more prompt tokens than this, the whole call costs `long`."""
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
