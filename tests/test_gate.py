"""The gate of the UI: Dagster's real web server behind it, on loopback, without its daemon.

A launched run stays queued, so that what is stored of it can be looked at.
"""

import json
import re
from urllib.parse import quote, urlencode

import dagster as dg
import pytest
from dagster_web import LITERAL, SELECTOR, TOKEN, Served, dagster_context, free_port, serving
from web import Answer, ask, open_websocket, query
from websockets.sync.client import connect

from assets.config.home import find_home
from assets.config.permit import TOKEN_TAG, is_permit, new_permit
from assets.config.sandbox import LEVEL_TAG
from assets.errors import VarveError
from assets.graph.gate import is_loopback, own_hosts
from assets.graph.permits import is_permitted
from assets.graph.server import gated_app

ELSEWHERE = "http://127.0.0.1:9"
"""Another origin of the same site, as sites have no ports."""
JSON = ("Content-Type", "application/json")
AS_GRAPHQL = ("/graphql", "/graphql%0a", "/%67raphql")
"""What the server takes for this path."""
REPORTS = (
    "/report_asset_materialization/small/ideas",
    "/report_asset_check/small/scores",
    "/report_asset_observation/small/score_log",
)
FOREIGN_HOSTS = (
    "",
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:9",
    "127.0.0.1.:{port}",
    "localhost.:{port}",
    "127.1:{port}",
    "0.0.0.0:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "127.0.0.1:{port}.evil.example",
    "user@127.0.0.1:{port}",
    "127.0.0.1:{port}, evil",
)
FOREIGN_ORIGINS = (
    "",
    "null",
    "file://",
    ELSEWHERE,
    "http://evil.example",
    "http://localhost:{port}",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}.evil.example",
    "chrome-extension://a",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Dagster's web server behind the gate, with one small campaign."""
    with dagster_context(tmp_path_factory.mktemp("gate")) as context, free_port() as listener:
        port = listener.getsockname()[1]
        app = gated_app(context, own_hosts("127.0.0.1", port), token=TOKEN)
        with serving(app, listener):
            yield Served(port, context.instance)


@pytest.fixture
def unchanged(served):
    """No refused request leaves a run or an event behind."""
    before = [run.run_id for run in served.runs()]
    yield
    assert [run.run_id for run in served.runs()] == before
    assert not served.instance.get_asset_keys()


changes_nothing = pytest.mark.usefixtures("unchanged")


def assert_refused(answer: Answer, status: int, where: str) -> None:
    """One line that says where, what was found and what was expected."""
    assert answer.status == status, answer
    assert answer.text.startswith(f"varve ui: {where}: found "), answer.text
    assert ", expected " in answer.text
    assert answer.text.endswith("\n")
    assert answer.text.count("\n") == 1


# ------------------------------------------------------------------------------- whose page asks


@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/favicon.png", "/runs/x"])
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused_on_every_path(served, path, host):
    named = host.format(port=served.port)
    method = "POST" if path == "/graphql" else "GET"
    answer = ask(served.port, method, path, host=None, headers=[("Host", named), JSON], body="{}")
    assert_refused(answer, 403, "Host")


def test_no_host_and_two_hosts_are_refused(served):
    own = f"127.0.0.1:{served.port}"
    assert ask(served.port, "GET", "/", host=None).status in (400, 403)
    assert ask(served.port, "GET", "/", headers=[("Host", own)]).status in (400, 403)
    assert ask(served.port, "GET", "/", headers=[("Host", "evil")]).status in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}"])
def test_every_name_of_this_ui_is_answered(served, host):
    named = host.format(port=served.port)
    headers = [("Origin", f"http://{named.lower()}"), ("Sec-Fetch-Site", "same-origin")]
    assert ask(served.port, "GET", "/server_info", host=named, headers=headers).status == 200
    assert open_websocket(served.port, host=named, headers=headers[:1]).status == 101


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_page_of_another_origin_is_refused(served, origin):
    header = ("Origin", origin.format(port=served.port))
    body = json.dumps({"query": "{version}"})
    answer = ask(served.port, "POST", "/graphql", headers=[header, JSON], body=body)
    assert_refused(answer, 403, "Origin")
    assert_refused(ask(served.port, "GET", "/server_info", headers=[header]), 403, "Origin")
    assert_refused(open_websocket(served.port, headers=[header]), 403, "Origin")


def test_two_origins_of_which_one_is_ours_are_refused(served):
    own = ("Origin", f"http://127.0.0.1:{served.port}")
    for pair in ([own, ("Origin", ELSEWHERE)], [("Origin", ELSEWHERE), own]):
        assert_refused(ask(served.port, "GET", "/", headers=pair), 403, "Origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "none, cross-site"])
def test_what_a_browser_calls_foreign_is_refused(served, site):
    header = ("Sec-Fetch-Site", site)
    assert_refused(ask(served.port, "GET", "/", headers=[header]), 403, "Sec-Fetch-Site")
    assert_refused(open_websocket(served.port, headers=[header]), 403, "Sec-Fetch-Site")


def test_a_websocket_of_a_foreign_host_is_refused_on_every_path(served):
    for path in ("/graphql", "/", "/other"):
        assert_refused(open_websocket(served.port, path, host="evil.example"), 403, "Host")


def test_what_was_found_is_quoted_short_and_obeyed_by_no_terminal(served):
    answer = ask(served.port, "GET", "/", host="\x1b[2Jevil" + "x" * 5000)
    assert "\x1b" not in answer.text
    assert len(answer.text) < 1000


def test_nobody_may_put_the_ui_into_a_frame(served):
    for path in ("/", "/server_info"):
        assert ask(served.port, "GET", path).headers["x-frame-options"] == "SAMEORIGIN"


# --------------------------------------------------------------------------- how it may be asked


@changes_nothing
@pytest.mark.parametrize("accept", ["*/*", "image/avif,image/webp,*/*", "text/html"])
@pytest.mark.parametrize("path", [*AS_GRAPHQL, "/graphql/", "//graphql"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_query_in_an_address_is_obeyed(served, method, path, accept):
    for text in ("{version}", LITERAL % ""):
        address = f"{path}?{urlencode({'query': text})}"
        answer = ask(served.port, method, address, headers=[("Accept", accept)])
        assert "launchPipelineExecution" not in answer.text
        assert '"version"' not in answer.text
    if path in AS_GRAPHQL:
        assert answer.status == 405


@changes_nothing
@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["text/plain"],
        ["text/plain; charset=application/json"],
        ["text/plain;application/json"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=application/json"],
        ["application/graphql"],
        ["application/json, text/plain"],
        ["text/plain", "application/json"],
        ["application/jsonp"],
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/anything", *REPORTS])
def test_what_a_foreign_page_can_send_unasked_is_no_command(served, path, kinds):
    address = f"{path}?query={quote(LITERAL % '')}"
    body = json.dumps({"query": LITERAL % ""})
    headers = [("Content-Type", kind) for kind in kinds]
    assert_refused(
        ask(served.port, "POST", address, headers=headers, body=body), 415, "Content-Type"
    )


@changes_nothing
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"])
def test_other_methods_are_refused(served, method):
    answer = ask(served.port, method, "/graphql", headers=[JSON], body="{}")
    assert_refused(answer, 405, "method")


@changes_nothing
def test_json_from_a_foreign_page_is_refused_whatever_the_path(served):
    for path in ("/graphql", *REPORTS):
        headers = [JSON, ("Origin", ELSEWHERE)]
        answer = ask(served.port, "POST", path, headers=headers, body="{}")
        assert_refused(answer, 403, "Origin")


@changes_nothing
def test_a_websocket_obeys_no_mutation(served):
    origin = f"http://127.0.0.1:{served.port}"
    with connect(
        f"ws://127.0.0.1:{served.port}/graphql", origin=origin, subprotocols=["graphql-ws"]
    ) as ws:
        ws.send(json.dumps({"type": "connection_init"}))
        assert json.loads(ws.recv()) == {"type": "connection_ack"}
        ws.send(json.dumps({"type": "start", "id": "1", "payload": {"query": LITERAL % ""}}))
        assert json.loads(ws.recv(timeout=30))["type"] == "error"


def test_the_ui_itself_reads_launches_and_subscribes(served):
    assert json.loads(query(served.port, "{version}").text) == {"data": {"version": ""}}
    assert "<html" in ask(served.port, "GET", "/asset-groups").text
    run = served.launched()
    subscription = """
    subscription($id: ID!) {pipelineRunLogs(runId: $id) {
      ... on PipelineRunLogsSubscriptionSuccess {messages {__typename}}}}"""
    payload = {"query": subscription, "variables": {"id": run.run_id}}
    with connect(f"ws://127.0.0.1:{served.port}/graphql", subprotocols=["graphql-ws"]) as ws:
        ws.send(json.dumps({"type": "connection_init"}))
        ws.recv()
        ws.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        assert "RunEnqueuedEvent" in ws.recv(timeout=30)


# ------------------------------------------------------------------- a weaker level and its token


@pytest.mark.parametrize("literal", [False, True])
def test_a_token_is_taken_out_and_leaves_a_permit_for_one_launch(served, literal):
    if literal:
        text = LITERAL % f', {{key: "{TOKEN_TAG}", value: "{TOKEN}"}}'
        answer = query(served.port, text)
        run_id = json.loads(answer.text)["data"]["launchPipelineExecution"]["run"]["runId"]
        run = served.instance.get_run_by_id(run_id)
    else:
        run = served.launched((TOKEN_TAG, TOKEN), (LEVEL_TAG, "none"))
    assert run.tags[LEVEL_TAG] == "none"
    assert is_permit(run.tags[TOKEN_TAG], TOKEN, "none")
    assert is_permitted(served.instance, run)
    kept = [path.read_bytes() for path in find_home().root.rglob("*") if path.is_file()]
    assert kept
    assert not any(TOKEN.encode() in each for each in kept)


def test_of_many_runs_launched_at_once_each_gets_a_permit(served):
    many = """
    mutation($e: [ExecutionParams!]!) {launchMultipleRuns(executionParamsList: $e) {
      ... on LaunchMultipleRunsResult {launchMultipleRunsResult {
        ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}}}"""
    pairs = [("dagster/partition", "0000"), (LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN)]
    tags = [{"key": key, "value": value} for key, value in pairs]
    one = {"selector": SELECTOR, "mode": "default", "executionMetadata": {"tags": tags}}
    answer = json.loads(query(served.port, many, e=[one, one]).text)["data"]
    launched = [
        served.instance.get_run_by_id(each["run"]["runId"])
        for each in answer["launchMultipleRuns"]["launchMultipleRunsResult"]
    ]
    assert len({run.tags[TOKEN_TAG] for run in launched}) == 2
    assert all(is_permitted(served.instance, run) for run in launched)


def test_without_a_token_a_level_is_stored_and_not_permitted(served):
    run = served.launched((LEVEL_TAG, "none"))
    assert not is_permitted(served.instance, run)


def test_a_permit_that_was_read_in_the_history_is_refused(served):
    read = served.launched((LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN)).tags[TOKEN_TAG]
    before = len(served.runs())
    for given in (read, new_permit("another", "none"), "", TOKEN.upper(), TOKEN + " ", "\ud800"):
        answer = served.launch((LEVEL_TAG, "none"), (TOKEN_TAG, given))
        assert answer.status == 400
        assert "expected that token" in json.loads(answer.text)["errors"][0]["message"]
        twice = [(LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN), (TOKEN_TAG, given)]
        assert served.launch(*twice).status == 400
    assert served.launch((TOKEN_TAG, TOKEN)).status == 400
    assert len(served.runs()) == before


def test_a_permit_holds_for_its_level_alone(served):
    run = served.launched((LEVEL_TAG, "landlock"), (TOKEN_TAG, TOKEN))
    assert is_permitted(served.instance, run)
    assert not is_permit(run.tags[TOKEN_TAG], TOKEN, "none")
    last = served.launched((LEVEL_TAG, "landlock"), (LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN))
    assert last.tags[LEVEL_TAG] == "none"
    assert is_permit(last.tags[TOKEN_TAG], TOKEN, "none")


AGAIN = """
mutation($p: ReexecutionParams!) {launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
}}"""


def run_again(served: Served, run: dg.DagsterRun, *extra: tuple[str, str]) -> dg.DagsterRun:
    tags = [{"key": key, "value": value} for key, value in extra]
    params = {"parentRunId": run.run_id, "strategy": "ALL_STEPS", "extraTags": tags}
    answer = json.loads(query(served.port, AGAIN, p=params).text)["data"]["launchRunReexecution"]
    again = served.instance.get_run_by_id(answer["run"]["runId"])
    assert again is not None
    return again


def test_a_run_that_is_launched_again_needs_the_token_again(served):
    run = served.launched((LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN))
    again = run_again(served, run)
    assert again.tags[TOKEN_TAG] == run.tags[TOKEN_TAG]
    assert not is_permitted(served.instance, again)
    assert not is_permitted(served.instance, run_again(served, again))
    permitted = run_again(served, run, (LEVEL_TAG, "none"), (TOKEN_TAG, TOKEN))
    assert is_permitted(served.instance, permitted)
    served.instance.delete_run(run.run_id)
    assert not is_permitted(served.instance, again)


BACKFILL = """
mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {
  ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}
}}"""


def test_a_backfill_stores_a_permit_too(served):
    tags = [{"key": LEVEL_TAG, "value": "none"}, {"key": TOKEN_TAG, "value": TOKEN}]
    keys = [{"path": ["small", "evolution"]}]
    params = {"assetSelection": keys, "partitionNames": ["0000", "0001"], "tags": tags}
    answer = json.loads(query(served.port, BACKFILL, p=params).text)["data"]
    backfill = served.instance.get_backfill(answer["launchPartitionBackfill"]["backfillId"])
    assert is_permit(backfill.tags[TOKEN_TAG], TOKEN, "none")
    run = served.launched().with_tags(backfill.tags)
    assert is_permitted(served.instance, run)
    repeated = run.with_tags({**backfill.tags, "dagster/parent_backfill_id": backfill.backfill_id})
    assert not is_permitted(served.instance, repeated)


# ------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "names", "hosts"),
    [
        ("127.0.0.1", [], ["127.0.0.1:7", "localhost:7", "[::1]:7"]),
        ("0.0.0.0", [], ["127.0.0.1:7", "localhost:7", "[::1]:7"]),
        ("::", ["Box"], ["127.0.0.1:7", "localhost:7", "[::1]:7", "box:7"]),
        ("fe80::1", [], ["[fe80::1]:7", "127.0.0.1:7", "localhost:7", "[::1]:7"]),
        ("box", ["a:8"], ["box:7", "127.0.0.1:7", "localhost:7", "[::1]:7", "a:8"]),
        ("::1", ["a:443"], ["[::1]:7", "127.0.0.1:7", "localhost:7", "a:443", "a"]),
    ],
)
def test_the_hosts_of_a_ui_are_those_that_its_browser_can_name(address, names, hosts):
    assert list(own_hosts(address, 7, names)) == hosts


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_known(address):
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "box", "localhost.example"])
def test_an_address_beyond_this_machine_is_known(address):
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "name", ["http://box", "box:", "box:0x", "a b", "box/path", "[::1", "-", ""]
)
def test_a_name_that_no_browser_can_ask_for_is_refused(name):
    with pytest.raises(VarveError, match=f"--name: found {re.escape(repr(name))}, expected a name"):
        own_hosts("127.0.0.1", 7, [name])
