"""Where a campaign's jobs run: its launcher, and what that says of the machine for a profile."""

from assets.config.environment import Environment
from assets.config.home import Home
from assets.config.settings import LauncherSettings
from assets.errors import ManifestError
from launchers import Launcher, LauncherError, LocalLauncher, Needs, Site


def launcher_of(home: Home, settings: LauncherSettings) -> Launcher:
    """The launcher that a campaign names."""
    return LocalLauncher(home.jobs, data=home.data, slots=settings.slots)


def site_of(launcher: Launcher, environment: Environment, profile: str) -> Site:
    """Where the jobs of a profile will run.

    Raises:
        ManifestError: the profile is not declared, or the launcher has no machine for it.
    """
    size = environment.profile(profile)
    try:
        return launcher.site(Needs(python=size.python, accelerators=size.accelerators))
    except LauncherError as error:
        where = f"{environment.path / 'pyproject.toml'}: tool.varve.profiles.{profile}"
        raise ManifestError(f"{where}: {error}") from error
