"""A page of another origin, in a real browser, tries to command the UI.

Needs chromium: `apt install chromium`; skipped where there is none. The same page is first let at
Dagster's web server without the gate, so that the tries are known to be good ones.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dagster_web import LITERAL, TOKEN, Served, dagster_context, free_port, serving
from dagster_webserver.webserver import DagsterWebserver

from assets.graph.gate import own_hosts
from assets.graph.server import gated_app

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.daemon,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: apt install chromium"),
]
TRIES = """
const told = [], post = {method: "POST", mode: "no-cors"}, text = JSON.stringify({query: MUTATION});
const address = UI + "/graphql?query=" + encodeURIComponent(MUTATION);
const ends = (element, name, source) => new Promise(done => {
  element.onload = () => done("load"); element.onerror = () => done("error");
  element[name] = source; document.body.append(element); setTimeout(done, 3000, "silence");
});
const form = kind => new Promise(done => {
  const form = document.createElement("form"), field = document.createElement("input");
  Object.assign(form, {method: "POST", enctype: kind, target: "frame", action: address});
  Object.assign(field, {name: '{"query":' + JSON.stringify(MUTATION) + ',"x":"', value: '"}'});
  form.append(field); document.body.append(form); form.submit(); setTimeout(done, 1000, "sent");
});
const socket = (host) => new Promise(done => {
  const socket = new WebSocket(host.replace("http", "ws") + "/graphql", "graphql-ws");
  socket.onopen = () => done("open"); socket.onerror = () => done("error");
});
const tries = {
  image: () => ends(new Image(), "src", address),
  imageOfAnotherPath: () => ends(new Image(), "src", address.replace("?", "%0a?")),
  script: () => ends(document.createElement("script"), "src", address),
  frame: () => ends(document.createElement("iframe"), "src", UI + "/assets"),
  postText: () => fetch(address, {...post, body: text}),
  postAsJson: () => fetch(UI + "/graphql", {method: "POST", body: text,
    headers: {"Content-Type": "application/json"}}),
  postTypeOfBoth: () => fetch(UI + "/graphql", {...post, body: text,
    headers: {"Content-Type": "text/plain; a=application/json"}}),
  beacon: async () => navigator.sendBeacon(address, text),
  report: () => fetch(UI + "/report_asset_materialization/small/ideas", post),
  formText: () => form("text/plain"), formParts: () => form("multipart/form-data"),
  formPairs: () => form("application/x-www-form-urlencoded"),
  socket: () => socket(UI), socketOfTheName: () => socket(UI.replace("127.0.0.1", "localhost")),
};
(async () => {
  for (const [name, attempt] of Object.entries(tries))
    try { told.push([name, String(await attempt())]); } catch (e) { told.push([name, "refused"]); }
  await fetch("/told", {method: "POST", body: JSON.stringify(told)});
})();
"""


class Attacker:
    """A page on another origin, and what its tries came to."""

    def __init__(self, ui: int) -> None:
        script = (
            f'const UI = "http://127.0.0.1:{ui}", MUTATION = {json.dumps(LITERAL % "")};{TRIES}'
        )
        self.page = f'<body><iframe name="frame"></iframe><script>{script}</script>'.encode()
        self.told: dict[str, str] = {}
        self.ended = threading.Event()

    @contextmanager
    def serving(self) -> Iterator[int]:
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(attacker.page)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(b"")
                attacker.told = dict(json.loads(body))
                attacker.ended.set()

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not on the terminal."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
        server.server_close()


@contextmanager
def browser(folder: Path, address: str, *more: str) -> Iterator[subprocess.Popen]:
    """A browser without a window that has opened an address."""
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={folder}", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with subprocess.Popen(
        [*command, *more, address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A project with one small campaign."""
    with dagster_context(tmp_path_factory.mktemp("browser")) as context:
        yield context


@contextmanager
def served(context, *, gated: bool) -> Iterator[Served]:
    """Dagster's web server, behind the gate or as it comes."""
    with free_port() as listener:
        port = listener.getsockname()[1]
        app = DagsterWebserver(context).create_asgi_app()
        if gated:
            app = gated_app(context, own_hosts("127.0.0.1", port), token=TOKEN)
        with serving(app, listener):
            yield Served(port, context.instance)


def tried(ui: Served, folder: Path, *, host: str) -> dict[str, str]:
    """What each try of a page of `host` came to in the browser."""
    attacker = Attacker(ui.port)
    with attacker.serving() as port, browser(folder, f"http://{host}:{port}/"):
        assert attacker.ended.wait(90), "the attacker's page did not come to its end"
    return attacker.told


def test_without_the_gate_a_page_starts_runs(context, tmp_path):
    with served(context, gated=False) as ui:
        told = tried(ui, tmp_path, host="127.0.0.1")
        assert len(ui.runs()) >= 5, told
        assert ui.instance.get_asset_keys()
        assert told["socket"] == "open"
        for run in ui.runs():
            ui.instance.delete_run(run.run_id)
        for key in ui.instance.get_asset_keys():
            ui.instance.wipe_assets([key])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_through_the_gate_no_page_of_another_origin_starts_anything(context, tmp_path, host):
    with served(context, gated=True) as ui:
        told = tried(ui, tmp_path, host=host)
        assert not ui.runs(), told
        assert not ui.instance.get_asset_keys()
        assert told["socket"] == told["socketOfTheName"] == "error"
        assert told["postAsJson"] == "refused"


def test_a_name_that_comes_to_point_here_shows_a_refusal(context, tmp_path):
    with served(context, gated=True) as ui:
        for host, expected in (("evil.example", "varve ui: Host: found"), ("127.0.0.1", "Dagster")):
            address = f"http://{host}:{ui.port}/"
            with browser(tmp_path / host, address, "--dump-dom") as process:
                assert expected in process.stdout.read()
