"""What the user has allowed by name on a call: where a key may go, and whose code runs as the user.

Kept in the home, where no campaign's file reaches: a campaign says what it wants, the user says
what it gets. To take something back, delete it from the file.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from assets.config.connection import StrictModel, check_address
from assets.config.environment import Environment
from assets.config.exclusive import exclusive
from assets.config.home import Home
from assets.config.trust import trusted_hashes
from assets.errors import NotAllowedError

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class Allowed(StrictModel):
    """All of it."""

    keys: dict[str, list[str]] = Field(default_factory=dict)
    """Environment variable -> addresses that it may go to, beside its vendor's own."""
    code: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Folder of an environment -> path in it -> hash, see `trust`."""


def read_allowed(home: Home) -> Allowed:
    """What the user of a home has allowed so far.

    Raises:
        NotAllowedError: the file cannot be read.
    """
    try:
        return Allowed.model_validate_json(home.allowed.read_bytes())
    except FileNotFoundError:
        return Allowed()
    except ValidationError as error:
        raise NotAllowedError(
            f"{home.allowed}: {error.errors(include_url=False, include_input=False)[0]['msg']}; "
            "expected what --key and --trust wrote there. Correct it, or move it away and name "
            "what you allow again"
        ) from error


def allow(home: Home, *, keys: Iterable[str], environments: Iterable[Environment]) -> None:
    """Remember what the user names.

    Args:
        home: where.
        keys: each as `VARIABLE=ADDRESS`.
        environments: whose code may run, as it is.

    Raises:
        NotAllowedError: saying what a key must look like.
    """
    named = [_key(each) for each in keys]
    code = {str(each.path.resolve()): trusted_hashes(each) for each in environments}
    if not named and not code:
        return
    with exclusive(home.allowed.with_suffix(".lock")):
        before = read_allowed(home)
        after = {variable: list(addresses) for variable, addresses in before.keys.items()}
        for variable, address in named:
            after[variable] = sorted({*after.get(variable, []), address})
        _write(home.allowed, Allowed(keys=after, code=before.code | code))


def _key(text: str) -> tuple[str, str]:
    """Variable and address; what stands in the place of the address may be the key itself."""
    variable, _, address = text.partition("=")
    try:
        if not VARIABLE.fullmatch(variable):
            raise ValueError
        check_address(address)
    except ValueError:
        raise NotAllowedError(
            "--key: expected the name of an environment variable and the address that it may go "
            "to, for example --key LOCAL_KEY=http://127.0.0.1:8000/v1; the key itself is never "
            "written here"
        ) from None
    return variable, address


def _write(path: Path, allowed: Allowed) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    text = json.dumps(allowed.model_dump(), indent=1, ensure_ascii=True)
    partial.write_text(f"{text}\n", encoding="utf-8")
    partial.replace(path)
