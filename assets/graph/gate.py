"""The gate of the UI: every request passes here before Dagster's web server sees it.

Dagster's server has no login and obeys whoever reaches it, and every page in the user's browser
reaches loopback: with an image whose address is a mutation, a form, a WebSocket, or a name of its
own that comes to point here. A request must therefore name this UI as its host, come from a page
of this UI or from no page at all, and change something only by what no foreign page can send
unasked: JSON.

It keeps pages out, not people: whoever opens a connection without a browser is let in.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from assets.errors import VarveError
from assets.quoting import one_line

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
NAME = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
USUAL_PORTS = ("80", "443")
"""Browsers leave these out of `Host`."""
SCHEMES = ("http", "https")
"""The second where a proxy in front of the UI encrypts."""
METHODS = ("GET", "HEAD", "POST")
JSON = "application/json"
OWN_SITES = ("same-origin", "none")
"""What a browser says of a request of this UI's own pages, or of an address that was typed."""
ALONE = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Sent with every answer: no other page may show the UI in a frame or load what it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not passed on."""

    status: int
    """Of HTTP, 4xx."""
    said: str
    """One line: where, what was found, what was expected, what to do."""


def is_loopback(address: str) -> bool:
    """Whether only processes of this machine reach a server that listens there."""
    ip = _ip(address)
    return ip.is_loopback if ip else address == "localhost"


def own_hosts(address: str, port: int, names: Sequence[str] = ()) -> tuple[str, ...]:
    """What `Host` may say when a browser asks this UI.

    Args:
        address: where it listens; of every address at once, none is known.
        port: where it listens.
        names: further ones, `name` for this port or `name:port`.

    Raises:
        VarveError: no browser can ask for such a name.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise VarveError(
                f"--name: found {name!r}, expected a name or address as it stands between http:// "
                "and the next / in a browser, such as box.example or localhost:8080"
            )
    ip = _ip(address)
    listening = f"[{address}]" if ip and ip.version == 6 else address
    known = [*([] if ip and ip.is_unspecified else [listening]), *LOOPBACK, *names]
    return tuple(dict.fromkeys(host for name in known for host in _hosts(name.lower(), port)))


def _hosts(name: str, port: int) -> list[str]:
    """A name with its port, and without where browsers leave that out."""
    host, colon, named_port = name.rpartition(":")
    if not colon or name.endswith("]"):
        host, named_port = name, str(port)
    return [f"{host}:{named_port}", *([host] if named_port in USUAL_PORTS else [])]


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


class Gate:
    """The web server behind the gate, itself a web server."""

    def __init__(self, app: App, *, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = tuple(hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = next(refusals(scope, self._hosts), None)
        if refusal is None:
            await self._app(scope, receive, _alone(send))
        else:
            await _refuse(scope, receive, send, refusal)


def refusals(scope: Message, hosts: Sequence[str]) -> Iterator[Refusal]:
    """Everything that is wrong with a request.

    Args:
        scope: of a request or of a WebSocket that asks to be opened.
        hosts: what `Host` may say.
    """
    here = f"open http://{hosts[0]}/ by its address"
    named = _values(scope, b"host")
    if len(named) != 1 or named[0].lower() not in hosts:
        todo = f"{here}, or start `varve ui` with --name if this name is yours"
        yield _refusal(403, "Host", named, hosts, todo)
    origins = [f"{scheme}://{host.lower()}" for host in named for scheme in SCHEMES]
    if foreign := [origin for origin in _values(scope, b"origin") if origin not in origins]:
        yield _refusal(403, "Origin", foreign, origins, f"use the page itself: {here}")
    if foreign := [site for site in _values(scope, b"sec-fetch-site") if site not in OWN_SITES]:
        yield _refusal(403, "Sec-Fetch-Site", foreign, OWN_SITES, f"do not follow a link: {here}")
    if scope["type"] == "websocket":
        return
    if scope["method"] not in METHODS:
        yield _refusal(405, "method", [scope["method"]], METHODS, "use one of these")
    kinds = _values(scope, b"content-type")
    if scope["method"] == "POST" and [_media_type(kind) for kind in kinds] != [JSON]:
        yield _refusal(415, "Content-Type", kinds, [JSON], "send JSON")


def _values(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _media_type(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _refusal(
    status: int, where: str, found: Sequence[str], expected: Sequence[str], todo: str
) -> Refusal:
    had = one_line(", ".join(map(repr, found))) or "none"
    said = f"varve ui: {where}: found {had}, expected {' or '.join(expected)}; {todo}"
    return Refusal(status=status, said=said)


def _alone(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *ALONE]
        await send(message)

    return with_headers


async def _refuse(scope: Message, receive: Receive, send: Send, refusal: Refusal) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})  # which a server answers with 403
            return
    body = f"{refusal.said}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *ALONE,
    ]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
