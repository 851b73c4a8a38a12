"""Requests as a browser or an attacker writes them, byte by byte where it matters."""

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "graphql-ws",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    text: str


def ask(
    port: int,
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    host: str | None = "",
    body: str | None = None,
) -> Answer:
    """One request to a server on loopback.

    Args:
        headers: sent as they are, none is added.
        host: None to send none; by default the server's own.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if host is not None:
        connection.putheader("Host", host or f"127.0.0.1:{port}")
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body.encode())))
    connection.endheaders(body.encode() if body is not None else None)
    response = connection.getresponse()
    text = "" if response.status == 101 else response.read().decode()
    connection.close()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)


def open_websocket(port: int, path: str = "/graphql", **more) -> Answer:
    """Ask for a WebSocket; 101 if it is opened, and closed again at once."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = [*UPGRADE.items(), ("Sec-WebSocket-Key", key), *more.pop("headers", ())]
    return ask(port, "GET", path, headers=headers, **more)


def query(port: int, text: str, **variables) -> Answer:
    """A GraphQL query as the UI's own page sends it."""
    headers = [
        ("Content-Type", "application/json"),
        ("Origin", f"http://127.0.0.1:{port}"),
        ("Sec-Fetch-Site", "same-origin"),
    ]
    body = json.dumps({"query": text, "variables": variables})
    return ask(port, "POST", "/graphql?op=Any", headers=headers, body=body)
