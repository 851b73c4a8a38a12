"""Where a project's state lies: the one file that reads it from the process environment.

VARVE_HOME       everything but the code; default `.varve` next to it
VARVE_LAKE       folder or URI of the lake; default `VARVE_HOME/lake`
VARVE_CAMPAIGNS  folder of campaigns; default `assets/campaigns`
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folders of one project."""

    root: Path
    lake: str
    """Folder or URI."""
    campaigns: Path

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: run history, schedules, the instance's settings."""
        return self.root / "dagster"

    @property
    def jobs(self) -> Path:
        """One folder per job."""
        return self.root / "runs"

    @property
    def data(self) -> Path:
        """Prepared data of environments."""
        return self.root / "data"

    @property
    def allowed(self) -> Path:
        """What the user has allowed: keys for addresses, code of folders."""
        return self.root / "allowed.json"

    def journal(self, campaign: str) -> Path:
        """The campaign's facts that are not in the lake yet."""
        return self.root / "journal" / f"{campaign}.db"

    def lock(self, campaign: str) -> Path:
        """Held by the one process that works on the campaign."""
        return self.root / "locks" / f"{campaign}.lock"

    @property
    def history_lock(self) -> Path:
        """Held for a moment by whoever opens Dagster's history, which makes it on first use."""
        return self.lock(".history")


def find_home() -> Home:
    """Read VARVE_HOME, VARVE_LAKE and VARVE_CAMPAIGNS; nothing is created."""
    root = Path(os.environ.get("VARVE_HOME") or PROJECT / ".varve").resolve()
    campaigns = os.environ.get("VARVE_CAMPAIGNS") or PROJECT / "assets" / "campaigns"
    return Home(
        root=root,
        lake=_resolved(os.environ.get("VARVE_LAKE")) or str(root / "lake"),
        campaigns=Path(campaigns).resolve(),
    )


def _resolved(lake: str | None) -> str | None:
    lake = (lake or "").removeprefix("file://")
    return str(Path(lake).resolve()) if lake and "://" not in lake else lake or None


def server_environment(home: Home) -> dict[str, str]:
    """What Dagster's servers inherit: everything, with these paths resolved."""
    return os.environ | {
        "DAGSTER_HOME": str(home.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "VARVE_HOME": str(home.root),
        "VARVE_LAKE": home.lake,
        "VARVE_CAMPAIGNS": str(home.campaigns),
    }
