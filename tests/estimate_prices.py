"""What an epoch of the campaigns that ship would cost: `python tests/estimate_prices.py`.

An estimate, not a bill: the prompts are those that Varve writes, their tokens are counted as 3.5
characters each, and what the models write is assumed as below. No call is made.
"""

import dataclasses

from conftest import PROJECT
from rich.console import Console
from rich.table import Table

from assets.config.environment import find_environment, read_environment
from assets.config.prices import own_price, price_of
from assets.config.settings import CampaignSettings, Role, campaign_names, read_campaign
from assets.models.brief import brief_of
from assets.models.prompts import ideator_prompt, implementer_prompt
from assets.models.providers.costs import cost
from assets.models.providers.provider import Prompt
from assets.models.requests import IdeaRequest, KnownIdea, PatchRequest, Usage
from assets.results.better import Better
from assets.strategies import strategy_of
from lake.tables import IdeaKind

CHARACTERS = 3.5
"""Of a token."""
THINKING = 2_000
"""Tokens of thinking in a call."""
IDEA, PATCH = 250, 600
"""Tokens of an idea, and of a patch."""
REVISED = 0.1
"""Share of ideas of which no sample holds, so that each is given back once."""
EPOCH = 4


def known(number: int) -> KnownIdea:
    text = "x" * int(IDEA * CHARACTERS)
    return KnownIdea(
        idea_id=f"{number:016x}",
        label=f"e0i{number}",
        title="An idea of some words",
        text=text,
        edits=None,
        value=3.0,
        reason=None,
    )


def prompts(settings: CampaignSettings) -> tuple[list[Prompt], Prompt]:
    """The ideator's calls of a later epoch, and one of the implementer's."""
    brief = brief_of(read_environment(find_environment(settings.environment)), settings.profile)
    per_call = settings.strategy.ideas_per_call
    past = tuple(map(known, range(100)))
    strategy = strategy_of(settings.strategy, Better(minimize=True))
    plan = strategy.calls(epoch=EPOCH, batch=settings.batch, parents=100)
    exploit = IdeaRequest(
        environment=brief, kind=IdeaKind.EXPLOIT, count=per_call, parents=past, seed=0
    )
    explore = dataclasses.replace(exploit, kind=IdeaKind.EXPLORE, parents=(), context=past)
    asked = [exploit if kind is IdeaKind.EXPLOIT else explore for kind, _ in plan]
    patch = PatchRequest(environment=brief, title="An idea", text=past[0].text, edits=None, seed=0)
    return [ideator_prompt(request) for request in asked], implementer_prompt(patch)


def tokens(*texts: str) -> int:
    return round(sum(map(len, texts)) / CHARACTERS)


def usd(
    settings: CampaignSettings, role: Role, calls: list[tuple[Prompt, int]], *, cached: bool
) -> float:
    """Of calls with so many tokens written; the first of them writes the cache."""
    connection = settings.connection(role)
    price = (
        own_price(connection.price)
        if connection.price
        else price_of(connection.protocol, connection.model)
    )
    assert price is not None, connection.name
    total = 0.0
    for number, (prompt, written) in enumerate(calls):
        head = tokens(prompt.system, prompt.prefix)
        whole = head + tokens(*(turn.text for turn in prompt.turns))
        total += cost(
            price,
            Usage(
                input_tokens=whole,
                output_tokens=written,
                cached_tokens=head if cached and number else 0,
                written_tokens=head if cached and not number and price.rates.written else 0,
            ),
        )
    return total


def main() -> None:
    table = Table(
        "campaign", "model", "calls", "USD with caching", "USD without", "USD of 10 epochs"
    )
    folder = PROJECT / "assets/campaigns"
    for name in campaign_names(folder):
        settings = read_campaign(folder, name)
        if settings.implementer.model == "catalog":
            continue
        ideation, patch = prompts(settings)
        ideas = [
            (prompt, THINKING + IDEA * settings.strategy.ideas_per_call) for prompt in ideation
        ]
        count = round(settings.batch * settings.samples * (1 + REVISED))
        patches = [(patch, THINKING + PATCH)] * count
        sums = [
            usd(settings, settings.ideators[0], ideas, cached=cached)
            + usd(settings, settings.implementer, patches, cached=cached)
            for cached in (True, False)
        ]
        table.add_row(
            name,
            settings.implementer.name,
            str(len(ideas) + count),
            *(f"{each:.0f}" for each in (*sums, 10 * sums[0])),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
