"""Which sandbox level the jobs of a call run at.

Patches of a catalog in this repository are our own code and run at the best level there is.
Patches that a model wrote need bubblewrap. A weaker level for them cannot be set in a file, which
would outlast the decision: it must be named on the call itself.
"""

from assets.config.authors import writes_own_code
from assets.config.permit import TOKEN_TAG
from assets.config.settings import CampaignSettings
from assets.errors import SandboxError
from launchers import Site
from launchers.sandbox.levels import LEVELS, at_least

STRONGEST = list(LEVELS)[-1]
LEVEL_TAG = "varve/sandbox"
"""Tag of a Dagster run that names the level for that run."""


def choose_level(
    settings: CampaignSettings, site: Site, *, named: str | None, permitted: bool = True
) -> str:
    """The level for the jobs of one call.

    Args:
        settings: of the campaign.
        site: where its jobs run; says which levels work there.
        named: level that the user named on this call, if any.
        permitted: whether that may be weaker than what the campaign gets without it.

    Raises:
        SandboxError: the level does not work there, or is too weak for the author of the patches,
            or is weaker than the campaign's without permission.
    """
    level = _chosen(settings, site, named=named)
    if permitted or named is None or at_least(level, STRONGEST):
        return level
    own = _chosen(settings, site, named=None)
    if not at_least(level, own):
        raise SandboxError(
            f"tag {LEVEL_TAG}: found {level!r}, which is weaker than this campaign's {own!r}, "
            f"without a tag {TOKEN_TAG} that permits it; expected that tag on this very launch, "
            "with the token that `varve ui` printed on its terminal: launch the run again with it, "
            f"or name the level in a terminal: `varve search NAME --sandbox {level}`"
        )
    return level


def _chosen(settings: CampaignSettings, site: Site, *, named: str | None) -> str:
    wanted = named or settings.sandbox
    if wanted != "auto" and wanted not in LEVELS:
        raise SandboxError(f"sandbox: found {wanted!r}, expected one of auto, {', '.join(LEVELS)}")
    if not writes_own_code(settings):
        return _for_model_code(wanted, site, named=named is not None)
    if wanted == "auto":
        return next(name for name in reversed(LEVELS) if site.finding(name).works)
    return _working(wanted, site)


def level_line(level: str) -> str:
    """One line that says at which level the jobs of a call run, and how to get a better one."""
    if level == STRONGEST:
        return f"jobs run in the sandbox at level {level}"
    return (
        f"jobs run at sandbox level {level}, which is not the best there is: "
        "`varve doctor` says what it does not hold against and how to get a better one"
    )


def _for_model_code(wanted: str, site: Site, *, named: bool) -> str:
    level = STRONGEST if wanted == "auto" else wanted
    if not named and not at_least(level, STRONGEST):
        raise SandboxError(
            f"sandbox: found {level!r} in defs.yaml, expected {STRONGEST!r}: the patches are "
            f"written by a model. To run them at a weaker level, say so on the call: --sandbox "
            f"{level}, or the tags {LEVEL_TAG} = {level} and {TOKEN_TAG} on a run in the UI"
        )
    if named or site.finding(level).works:
        return _working(level, site)
    raise SandboxError(
        f"{_refusal(level, site)} The patches are written by a model, so no weaker level is "
        "chosen for you; to accept a weaker level, name it on the call: --sandbox landlock or "
        "--sandbox none"
    )


def _working(level: str, site: Site) -> str:
    if not site.finding(level).works:
        raise SandboxError(_refusal(level, site))
    return level


def _refusal(level: str, site: Site) -> str:
    found = site.finding(level)
    return (
        f"sandbox: the level {level!r} does not work on this machine: {found.reason}. "
        f"What would help: {found.remedy}. `varve doctor` shows every level."
    )
