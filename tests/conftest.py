"""What many tests need: a home of their own, and a campaign that runs in seconds."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from object_store import URI, s3_server
from scratch import scratch

from assets.config.allowed import allow
from assets.config.environment import find_environment, read_environment
from assets.config.home import PROJECT, Home, find_home
from assets.errors import VarveError
from launchers import TreeError, here

SMALL = {
    "environment": "tests/environments/ridge",
    "profile": "cpu",
    "epochs": 3,
    "batch": 4,
    "strategy": {"kind": "evolution", "ideas_per_call": 2},
    "ideators": [{"model": "catalog", "name": "tests/environments/ridge/catalog.toml"}],
    "implementer": {"model": "catalog"},
}
RIDGE = PROJECT / "tests" / "environments" / "ridge"
VARVE = Path(sys.executable).with_name("varve")


def write_campaign(folder: Path, name: str = "small", **changes) -> Path:
    """A defs.yaml like SMALL, but for `changes`; None drops a key.

    Its environment, as it is now, may run in the home that VARVE_HOME names: who writes a test's
    campaign has looked at it.
    """
    attributes = {k: v for k, v in (SMALL | changes).items() if v is not None}
    path = folder / name / "defs.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"type": "assets.campaign.Campaign", "attributes": attributes}))
    if os.environ.get("VARVE_HOME"):
        with suppress(VarveError, TreeError):
            trust(find_home(), find_environment(attributes.get("environment", "")))
    return path


@pytest.fixture(scope="session", autouse=True)
def turns():
    """Locks of their own for the jobs of these tests: they wait for nobody else of the machine."""
    folder = scratch("varve-turns-")
    folder.chmod(0o1777)
    before, here.TURNS = here.TURNS, (str(folder),)
    yield folder
    here.TURNS = before


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    """A project's state in a temporary folder, with one small campaign."""
    monkeypatch.setenv("VARVE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VARVE_CAMPAIGNS", str(tmp_path / "campaigns"))
    monkeypatch.delenv("VARVE_LAKE", raising=False)
    write_campaign(tmp_path / "campaigns")
    return find_home()


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """An S3 server on loopback, to which the process environment points."""
    with s3_server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def store(s3):
    """The place of a lake on that server, empty."""
    from obstore.store import from_url

    store = from_url(URI)
    for found in store.list().collect():
        store.delete(found["path"])
    return store


def trust(home: Home, *folders: Path) -> None:
    """Let the code of these environments run, as `--trust` does."""
    allow(home, keys=(), environments=[read_environment(folder) for folder in folders])


def child_environment(home: Home) -> dict[str, str]:
    """For a `varve` process that works on `home`."""
    return os.environ | {
        "VARVE_HOME": str(home.root),
        "VARVE_LAKE": home.lake,
        "VARVE_CAMPAIGNS": str(home.campaigns),
    }


__all__ = ["PROJECT", "RIDGE", "SMALL", "VARVE", "child_environment", "trust", "write_campaign"]
