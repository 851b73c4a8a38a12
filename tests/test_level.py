"""Which sandbox level a call gets: the best for our own patches, bubblewrap for a model's."""

import dagster as dg
import pytest
from campaigns import PressedAfter, rows, search_all, takes_turns
from conftest import SMALL, write_campaign

from assets.attempt.monitor import Hooks, Stop
from assets.config.permit import TOKEN_TAG, TOKEN_VARIABLE, new_permit
from assets.config.sandbox import LEVEL_TAG, choose_level
from assets.config.settings import CampaignSettings, Ideator, Implementer, read_campaign
from assets.errors import Interrupted, SandboxError
from assets.graph.campaign import campaign_definitions
from assets.graph.instance import open_instance
from assets.graph.permits import is_permitted
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


@pytest.mark.parametrize("folder", ["/elsewhere", "cloned/here", "assets/campaigns/theirs"])
def test_a_catalog_from_elsewhere_is_not_our_own_code(folder):
    foreign = settings(ideators=[{"model": "catalog", "name": f"{folder}/other.toml"}])
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


def run_with_tags(home, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    """One epoch as the UI's worker runs it, with the tags that are stored of the run."""
    definitions = campaign_definitions("small", read_campaign(home.campaigns, "small"), home=home)
    job = definitions.resolve_implicit_global_asset_job_def()
    with open_instance(home, ["small"]) as instance:
        return job.execute_in_process(
            partition_key="0000", instance=instance, tags=tags, raise_on_error=False
        )


@pytest.mark.trains
def test_in_the_ui_the_level_is_named_by_a_tag_and_permitted_by_another(home, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    tags = {LEVEL_TAG: "none", TOKEN_TAG: new_permit("token", "none")}
    assert run_with_tags(home, tags).success
    assert {run.sandbox_level for run in rows(home, Run)} == {"none"}


@pytest.mark.trains
@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "token",
        new_permit("token of an earlier UI", "none"),
        new_permit("token", "landlock"),
    ],
    ids=["none", "empty", "the token itself", "of an earlier UI", "for another level"],
)
def test_a_weaker_level_that_nobody_permitted_runs_no_job(home, monkeypatch, given):
    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    tags = {LEVEL_TAG: "none"} | ({} if given is None else {TOKEN_TAG: given})
    done = run_with_tags(home, tags)
    assert not done.success
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    said = failed.step_failure_data.user_failure_data.description
    assert said.startswith("tag varve/sandbox: found 'none', which is weaker")
    assert not rows(home, Run)


def test_outside_a_ui_no_permit_is_believed(home, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with open_instance(home, ["small"]) as instance:
        for token in ("", "None"):
            tags = {LEVEL_TAG: "none", TOKEN_TAG: new_permit(token, "none")}
            assert not is_permitted(instance, dg.DagsterRun(job_name="any", tags=tags))


@pytest.mark.parametrize(
    ("file", "machine", "named"),
    [("bwrap", EVERY, "landlock"), ("auto", EVERY, "none"), ("landlock", EVERY, "none")],
)
def test_a_level_below_the_campaigns_needs_permission(file, machine, named):
    asked = settings(sandbox=file)
    with pytest.raises(SandboxError, match=r"expected that tag on this very launch.*--sandbox"):
        choose_level(asked, site(*machine), named=named, permitted=False)
    assert choose_level(asked, site(*machine), named=named) == named


def test_for_patches_of_a_model_every_level_but_bubblewrap_needs_permission():
    for named in ("none", "landlock"):
        with pytest.raises(SandboxError):
            choose_level(settings(model=True), site(*EVERY), named=named, permitted=False)
        with pytest.raises(SandboxError):
            choose_level(
                settings(model=True), site("none", "landlock"), named=named, permitted=False
            )
    found = choose_level(settings(model=True), site(*EVERY), named="bwrap", permitted=False)
    assert found == "bwrap"


@pytest.mark.parametrize(
    ("file", "machine", "named", "got"),
    [
        ("none", EVERY, "none", "none"),
        ("none", EVERY, "landlock", "landlock"),
        ("none", EVERY, "bwrap", "bwrap"),
        ("landlock", EVERY, "landlock", "landlock"),
        ("auto", ("none", "landlock"), "landlock", "landlock"),
        ("auto", ("none",), "none", "none"),
        ("auto", EVERY, "auto", "bwrap"),
    ],
)
def test_the_campaigns_own_level_and_stronger_ones_need_no_permission(file, machine, named, got):
    asked = settings(sandbox=file)
    assert choose_level(asked, site(*machine), named=named, permitted=False) == got


def test_auto_is_no_way_around_the_campaigns_level():
    with pytest.raises(SandboxError):
        choose_level(
            settings(sandbox="bwrap"), site("none", "landlock"), named="auto", permitted=False
        )


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
