"""No key leaves through a row, a log, an error or a printed object."""

import base64
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest

from assets.config.connection import Connection
from assets.errors import ProviderError
from assets.models.providers.client import Client
from assets.models.providers.limits import Limiter
from assets.models.providers.secrets import Secret, read_key
from assets.models.requests import Finish
from tests.asking import KEY, PROTOCOLS, VARIABLE, WAYS, ask_once, connection_to
from tests.model_server import Behaviour, Fault, ModelServer, Request


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer() as server:
        yield server


def echo(request: Request) -> str:
    """What a careless server says of a request: the key, as header and as escaped JSON."""
    given = request.headers["authorization"]
    assert KEY in given
    return f"{given} {json.dumps(given)} {given.replace('/', chr(92) + '/')}"


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_a_key_in_an_error_is_not_passed_on(server, protocol, stream, status, caplog):
    caplog.set_level(logging.DEBUG)
    server.behave = lambda request: Behaviour(status=status, message=echo(request))
    answer = ask_once(connection_to(server, protocol, stream=stream, tries=2))
    assert answer.finish is Finish.ERROR
    assert f"[key of {VARIABLE}]" in answer.reason
    assert KEY not in repr(answer)
    assert KEY[:12] not in caplog.text
    assert all(KEY not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_is_in_no_exception_and_nothing_behind_it(server, protocol, status):
    server.behave = lambda request: Behaviour(status=status, message=echo(request))
    with pytest.raises(ProviderError) as caught:
        ask_once(connection_to(server, protocol))
    error = caught.value
    assert VARIABLE in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(frames.format())
    assert KEY not in shown


@pytest.mark.parametrize(("protocol", "stream"), WAYS)
def test_a_key_in_an_answer_is_not_passed_on(server, protocol, stream):
    server.behave = lambda request: Behaviour(text=echo(request), thinking=echo(request))
    answer = ask_once(connection_to(server, protocol, stream=stream))
    assert answer.finish is Finish.STOP
    assert KEY not in repr(answer)
    assert VARIABLE in answer.response
    assert VARIABLE in answer.thinking


def test_a_key_cut_by_the_bound_of_a_quotation_is_not_passed_on(server):
    for room in range(370, 400):
        server.behave = lambda request, room=room: Behaviour(
            status=400, message="-" * room + echo(request)
        )
        answer = ask_once(connection_to(server, "openai"))
        assert KEY[:8] not in answer.reason


def test_what_a_provider_shows_of_a_wrong_key_is_left_out():
    words = "Incorrect API key provided: sk-varve*********cdef. See the page"
    assert Secret("K", "x" * 20).hide(words) == (
        "Incorrect API key provided: [masked key] See the page"
    )


def test_a_short_key_is_hidden_in_errors_and_left_in_answers():
    secret = Secret("LOCAL_KEY", "EMPTY")
    assert secret.hide("bad key EMPTY") == "bad key [key of LOCAL_KEY]"
    assert secret.hide_in_answer("if EMPTY: pass") == "if EMPTY: pass"


def test_a_missing_key_is_named_and_nothing_is_sent(server, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ProviderError, match=f"{VARIABLE} is not set"):
        ask_once(connection_to(server, "anthropic"))
    assert server.requests == []


@pytest.mark.parametrize("value", ["ключ-ключ-ключ", "two words", "a\x07b"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ProviderError) as caught:
        read_key(VARIABLE)
    assert VARIABLE in str(caught.value)
    assert value not in str(caught.value)


def test_the_blanks_around_a_key_are_not_of_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    assert read_key(VARIABLE).value == KEY


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_without_a_key_gets_no_key_of_a_vendor(server, protocol, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)
    ask_once(connection_to(server, protocol, key_variable=None))
    [request] = server.requests
    assert KEY not in str(request.headers)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_vendors_addresses_are_not_taken_from_the_environment(protocol, monkeypatch):
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    connection = Connection(provider="p", protocol=protocol, model="m")
    assert connection.address.startswith("https://api.")


def test_nothing_that_is_printed_holds_a_key(server):
    connection = connection_to(server, "anthropic")
    for thing in (connection, Client(connection, Limiter()), read_key(VARIABLE)):
        assert KEY not in repr(thing) + str(thing)
    assert KEY not in connection.model_dump_json()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_redirect_takes_no_key_elsewhere_and_nothing_else(server, protocol, status):
    with ModelServer() as other:
        place = other.url(protocol) + "/v1/messages"
        moved = f"HTTP/1.1 {status} X\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n"
        server.behave = lambda request: Behaviour(raw=lambda: [moved.encode()])
        with pytest.raises(ProviderError, match=str(status)):
            ask_once(connection_to(server, protocol))
        assert other.connections == 0


@pytest.mark.parametrize("variable", [VARIABLE, None])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_sdks_take_from_their_own_variables_is_not_sent(
    server, protocol, variable, monkeypatch
):
    for name in ("ANTHROPIC_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Corporate: s3cret\nAuthorization: Bearer s3cret")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "s3cret")
    assert ask_once(connection_to(server, protocol, key_variable=variable)).finish is Finish.STOP
    [request] = server.requests
    assert "s3cret" not in str(request.headers)
    assert request.headers["authorization"] == f"Bearer {KEY if variable else 'none'}"


def test_a_server_gets_no_cookie_back(server):
    cookie = "HTTP/1.1 500 X\r\nset-cookie: seen=1\r\ncontent-length: 0\r\n\r\n"
    taken = Behaviour(raw=lambda: [cookie.encode()])
    server.behave = lambda request: Behaviour() if request.ordinal else taken
    assert ask_once(connection_to(server, "openai")).tries == 2
    assert "cookie" not in server.requests[1].headers


def test_the_key_of_a_page_that_is_no_answer_is_hidden(server):
    server.behave = lambda request: Behaviour(fault=Fault.WRONG_TYPE)
    answer = ask_once(connection_to(server, "openai", tries=1))
    assert base64.b64encode(KEY.encode()).decode() not in answer.reason
    assert KEY not in answer.reason


def test_no_sdk_is_imported_before_the_first_call():
    program = (
        "import sys, assets.config.settings, assets.config.connection\n"
        "import assets.models.providers.client\n"
        "from assets.config.connection import Connection\n"
        "from assets.models.providers.client import Client\n"
        "from assets.models.providers.limits import Limiter\n"
        "Client(Connection(provider='p', protocol='openai', model='m'), Limiter())\n"
        "heavy = {'anthropic', 'openai', 'httpx2', 'dagster', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
