"""Which sandbox level a call gets: the best for our own patches, bubblewrap for a model's."""

import pytest
from campaigns import PressedAfter, rows, search_all, takes_turns
from conftest import SMALL, write_campaign

from assets.attempt.monitor import Hooks, Stop
from assets.config.sandbox import LEVEL_TAG, choose_level
from assets.config.settings import CampaignSettings, Ideator, Implementer, read_campaign
from assets.errors import Interrupted, SandboxError
from assets.graph.campaign import campaign_definitions
from assets.graph.instance import open_instance
from lake.tables import Run, RunEvent, RunEventKind, RunStatus
from launchers import Finding, Site

EVERY = ("none", "landlock", "bwrap")


def site(*levels: str) -> Site:
    """A machine that has certain levels."""
    found = tuple(Finding(name, name in levels, "said no", "do this") for name in EVERY)
    return Site(python="python", torch="none", device_class="cpu", try_levels=lambda: found)


def settings(*, model: bool = False, **changes) -> CampaignSettings:
    """Settings whose patches the catalog or a language model writes."""
    read = CampaignSettings.model_validate(SMALL | changes)
    if not model:
        return read
    by_model = {
        "ideators": [Ideator(model="anthropic")],
        "implementer": Implementer(model="anthropic"),
    }
    return read.model_copy(update=by_model)  # not validated: such campaigns do not run yet


@pytest.mark.parametrize(
    ("levels", "best"),
    [(EVERY, "bwrap"), (("none", "landlock"), "landlock"), (("none",), "none")],
)
def test_our_own_patches_run_at_the_best_level_there_is(levels, best):
    assert choose_level(settings(), site(*levels), named=None) == best


def test_a_level_asked_for_is_taken_or_refused_never_replaced():
    assert choose_level(settings(sandbox="none"), site("none", "landlock"), named=None) == "none"
    assert (
        choose_level(settings(sandbox="none"), site("none", "landlock"), named="landlock")
        == "landlock"
    )
    with pytest.raises(SandboxError, match=r"'bwrap' does not work.*said no.*do this"):
        choose_level(settings(sandbox="bwrap"), site("none", "landlock"), named=None)
    with pytest.raises(SandboxError, match="found 'moat'"):
        choose_level(settings(), site("none", "landlock"), named="moat")


def test_patches_of_a_model_get_bubblewrap_or_do_not_run():
    assert choose_level(settings(model=True), site(*EVERY), named=None) == "bwrap"
    with pytest.raises(SandboxError, match=r"written by a model.*name it on the call"):
        choose_level(settings(model=True), site("none", "landlock"), named=None)


@pytest.mark.parametrize("weaker", ["none", "landlock"])
def test_a_weaker_level_for_a_model_is_named_on_the_call_not_in_a_file(weaker):
    with pytest.raises(SandboxError, match=f"--sandbox {weaker}"):
        choose_level(settings(model=True, sandbox=weaker), site(*EVERY), named=None)
    assert choose_level(settings(model=True), site(*EVERY), named=weaker) == weaker
    assert choose_level(settings(model=True), site("none"), named="none") == "none"


def test_an_ideator_that_is_a_model_is_enough_to_need_the_wall():
    mixed = settings().model_copy(update={"ideators": [Ideator(model="openai")]})
    with pytest.raises(SandboxError):
        choose_level(mixed, site("none"), named=None)


def test_a_catalog_from_elsewhere_is_not_our_own_code(tmp_path):
    foreign = settings(ideators=[{"model": "catalog", "name": str(tmp_path / "other.toml")}])
    with pytest.raises(SandboxError):
        choose_level(foreign, site("none"), named=None)
    assert choose_level(foreign, site("none"), named="none") == "none"


@pytest.mark.trains
def test_the_level_and_its_gaps_are_recorded_with_every_run(home):
    write_campaign(home.campaigns, epochs=1)
    search_all(home, hooks=Hooks(sandbox="none"))
    assert {run.sandbox_level for run in rows(home, Run)} == {"none"}
    assert all("network: not cut" in run.sandbox_gaps for run in rows(home, Run))


@pytest.mark.trains
def test_a_search_runs_behind_bubblewrap_by_itself(home):
    """Needs bubblewrap: `.ci/run` installs it."""
    write_campaign(home.campaigns, epochs=1)
    search_all(home)
    assert {run.sandbox_level for run in rows(home, Run)} == {"bwrap"}
    assert takes_turns(home) == {False}


@pytest.mark.trains
def test_in_the_ui_the_level_is_named_by_a_tag_of_the_run(home):
    settings_now = read_campaign(home.campaigns, "small")
    job = campaign_definitions(
        "small", settings_now, home=home
    ).resolve_implicit_global_asset_job_def()
    with open_instance(home, ["small"]) as instance:
        done = job.execute_in_process(
            partition_key="0000", instance=instance, tags={LEVEL_TAG: "none"}
        )
    assert done.success
    assert {run.sandbox_level for run in rows(home, Run)} == {"none"}


@pytest.mark.trains
def test_a_result_from_behind_a_weaker_wall_is_measured_again(home):
    """The attempt is resumed with a stronger level than its first jobs had."""
    stop = Stop()
    hooks = Hooks(monitor=PressedAfter(stop, done=3, times=1), stop=stop, sandbox="none")
    write_campaign(home.campaigns, epochs=1)
    with pytest.raises(Interrupted):
        search_all(home, hooks=hooks)
    search_all(home, hooks=Hooks(sandbox="bwrap"))
    found = [run for run in rows(home, Run) if run.status is RunStatus.FINISHED]
    assert {run.sandbox_level for run in found} == {"bwrap"}
    lost = [event for event in rows(home, RunEvent) if event.kind is RunEventKind.FINISHED]
    assert len(lost) > len(found)
