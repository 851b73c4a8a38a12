"""Run an environment's `prepare.py`: on a copy of what was read, without the user's secrets.

It sees the variables that a job sees, and those by which a download finds its way: where the
user's caches, mirror, proxy and certificates are. None of them is a secret, and a name and password
in a proxy's address are taken out. Tokens are not handed on, nor those that a hub's client would
take from the user's home by itself: a data set behind a login is downloaded by the user first, into
the cache that `HF_HOME` names.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from assets.config.environment import Environment
from launchers.sandbox.environment import passed_environment
from launchers.tree import lay_tree

PREPARE_SECONDS = 3600
DOWNLOADS = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
LOGIN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
"""Name and password before the host of an address."""


def run_prepare(environment: Environment, profile: str, target: Path) -> None:
    """Let `prepare.py` lay its data down; it runs in a folder with the tree's files alone.

    Raises:
        ValueError: saying how it ended, where that is not well.
    """
    making = target.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    try:
        (making / "home").mkdir(parents=True)
        folder = making / "environment"
        lay_tree(str(folder), environment.files)
        _run(folder, making / "home", ["--profile", profile, "--out", str(target)])
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _run(folder: Path, home: Path, arguments: list[str]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "prepare.py", *arguments],
            cwd=folder,
            env=prepare_environment(os.environ, home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PREPARE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"it still at work after {PREPARE_SECONDS:g} s; it was ended") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise ValueError(f"exit code {done.returncode}. It said:\n{said}")


def prepare_environment(outer: Mapping[str, str], home: Path) -> dict[str, str]:
    """The whole process environment of `prepare.py`.

    Args:
        outer: the environment of whoever runs Varve.
        home: an empty folder for what it leaves behind.
    """
    kept = {name: _without_login(name, outer[name]) for name in DOWNLOADS if outer.get(name)}
    return {
        **passed_environment(outer),
        **kept,
        "HOME": str(home),
        "TMPDIR": str(home),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "PYTHONNOUSERSITE": "1",
    }


def _without_login(name: str, value: str) -> str:
    """An address without name and password; a path, which may hold an @, as it is."""
    is_address = name.lower().endswith("_proxy") or name == "HF_ENDPOINT"
    return LOGIN.sub(r"\1", value) if is_address else value
