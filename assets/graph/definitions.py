"""The one module that Dagster loads: every campaign, the broken ones as a group that says why."""

import re

import dagster as dg

from assets.config.environment import find_environment, read_environment
from assets.config.home import Home, find_home
from assets.config.settings import NAME_PATTERN, campaign_names, read_campaign
from assets.config.site import launcher_of, site_of
from assets.errors import VarveError
from assets.graph.campaign import campaign_definitions
from assets.graph.instance import fail_dead_runs
from assets.quoting import markdown_block, told
from lake.ids import content_id


@dg.definitions
def defs() -> dg.Definitions:
    """All campaigns of the project, each loaded by itself so that none takes the others down."""
    home = find_home()
    groups = [campaign_or_reason(home, name) for name in campaign_names(home.campaigns)]
    rest = dg.Definitions(executor=dg.in_process_executor, sensors=[dead_runs])
    return dg.Definitions.merge(*groups, rest)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs whose process was killed as failed, so that they block no campaign.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Starts nothing; always on, because a search may be killed while the UI is open."""
    marked = fail_dead_runs(context.instance)
    return dg.SkipReason(f"marked as failed: {', '.join(marked)}" if marked else "no dead run")


def campaign_or_reason(home: Home, name: str) -> dg.Definitions:
    """The campaign's assets, or one failing asset that says what is wrong with it."""
    try:
        settings = read_campaign(home.campaigns, name)
        environment = read_environment(find_environment(settings.environment))
        site_of(launcher_of(home, settings.launcher), environment, settings.profile)
    except VarveError as error:
        return _broken(name, str(error))
    return campaign_definitions(name, settings, home=home)


def _broken(name: str, reason: str) -> dg.Definitions:
    group = name if re.fullmatch(NAME_PATTERN, name) else f"broken_{content_id(name)}"

    @dg.asset(
        key=[group, "broken"],
        group_name=group,
        description=markdown_block(reason),
        kinds={"yaml"},
    )
    def broken() -> None:
        raise dg.Failure(description=told(reason), allow_retries=False)

    return dg.Definitions(assets=[broken])
