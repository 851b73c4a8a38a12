"""Where a key may go: a vendor's to the vendor, any other where the user has said.

A campaign names the variable of a key and an address. Both together decide who learns a secret of
the user, so they must stand together in what the user has allowed, unless the variable is a
vendor's usual one and the address that vendor's own, by https.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from assets.config.connection import ADDRESSES, KEYS, Connection
from assets.errors import NotAllowedError

PORTS = {"http": 80, "https": 443}


def check_key(
    connection: Connection, allowed: Mapping[str, Sequence[str]], *, campaign: str = "CAMPAIGN"
) -> None:
    """Check that the key of a connection may go to its address.

    Args:
        connection: how a model is reached.
        allowed: variable -> addresses.
        campaign: for the line to type.

    Raises:
        NotAllowedError: with that line.
    """
    variable, address = connection.variable, connection.address
    if variable is None or any(_covers(each, address) for each in allowed.get(variable, ())):
        return
    vendors = {ADDRESSES[protocol] for protocol, usual in KEYS.items() if usual == variable}
    if _origin(address) in map(_origin, vendors):
        return
    usual = f"that goes to {' or '.join(sorted(vendors))} alone, " if vendors else ""
    raise NotAllowedError(
        f"providers.{connection.provider}: found the key {variable} for {address}; expected a key "
        f"{usual}or that you have allowed to go there. If whoever answers at that address may have "
        f"it: varve search {campaign} --key {variable}={address}. If the server needs none, leave "
        "`key` out"
    )


def _covers(allowed: str, address: str) -> bool:
    """An address without a path stands for all of its host, one with a path for itself alone."""
    path, wanted = urlsplit(allowed).path.rstrip("/"), urlsplit(address).path.rstrip("/")
    return _origin(allowed) == _origin(address) and path in ("", wanted)


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
