"""What a call costs."""

import json

import pytest

from assets.config.connection import Connection
from assets.config.prices import Rates, _table, own_price, price_of
from assets.models.providers.costs import cost
from assets.models.requests import Usage


def test_every_row_can_be_read_and_names_its_page():
    rows = [price for section in _table().values() for price in section.values()]
    assert len(rows) >= 20
    for price in rows:
        assert price.version == "2026-11-21"
        assert price.source
        assert price.rates.input < price.rates.output
        assert price.rates.cached <= price.rates.input <= (price.rates.written or 1e9)
        assert (price.long is None) == (price.long_above is None)


@pytest.mark.parametrize(
    ("protocol", "name", "row"),
    [
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("openai", "gpt-5", "gpt-5"),
        ("openai", "gpt-5-2025-08-07", "gpt-5"),
        ("openai_chat", "gpt-5-mini-2025-08-07", "gpt-5-mini"),
    ],
)
def test_a_dated_snapshot_costs_what_its_model_costs(protocol, name, row):
    assert price_of(protocol, name).model == row


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("anthropic", "gpt-5"),
        ("openai", "claude-sonnet-4-5"),
        ("openai", "gpt-5-pro"),
        ("openai", "gpt-5x"),
        ("openai_chat", "Qwen/Qwen3-8B"),
        ("anthropic", "claude-sonnet-4-5-latest"),
    ],
)
def test_a_model_that_is_not_in_the_table_has_no_price(protocol, name):
    assert price_of(protocol, name) is None


def test_each_kind_of_token_has_its_own_price():
    price = price_of("anthropic", "claude-sonnet-4-5")
    usage = Usage(
        input_tokens=1_000_000, cached_tokens=600_000, written_tokens=300_000, output_tokens=10_000
    )
    expected = 0.1 * 3 + 0.6 * 0.3 + 0.3 * 3.75 + 0.01 * 15
    assert cost(price, usage) == pytest.approx(expected)


def test_a_count_that_is_missing_is_not_zero():
    price = price_of("openai", "gpt-5")
    assert cost(price, Usage(input_tokens=5)) is None
    assert cost(price, Usage(output_tokens=5)) is None
    assert cost(price, Usage(input_tokens=0, output_tokens=0)) == 0


def test_a_long_prompt_costs_more_for_the_whole_call():
    price = price_of("openai", "gpt-6.2-sol")
    short = cost(price, Usage(input_tokens=272_000, output_tokens=1000))
    long = cost(price, Usage(input_tokens=272_001, output_tokens=1000))
    assert short == pytest.approx(0.272 * 2 + 0.001 * 10)
    assert long == pytest.approx(0.272001 * 4 + 0.001 * 15)


def test_an_own_price_stands_for_the_table():
    free = Connection(
        provider="local",
        protocol="openai_chat",
        model="mine",
        base_url="http://127.0.0.1:8000/v1",
        price={"input": 0.0, "output": 0.0},
    )
    assert free.is_priced
    assert cost(own_price(free.price), Usage(input_tokens=9, output_tokens=9)) == 0
    assert not free.model_copy(update={"price": None}).is_priced


def test_the_row_is_kept_as_json():
    row = json.loads(price_of("anthropic", "claude-haiku-5-5").as_json())
    assert row["model"] == "claude-haiku-5-5"
    assert row["version"] == "2026-11-21"
    assert row["rates"] == {"input": 0.1, "output": 0.5, "cached": 0.01, "written": 0.125}
    assert row["long"]["input"] == 0.5
    own = json.loads(own_price(Rates(input=1.0, output=2.0)).as_json())
    assert (own["model"], own["rates"]["input"]) == (None, 1.0)
