"""A key goes where its user has said, and nowhere else, whatever a campaign says."""

import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaigns import search_all
from conftest import VARVE, child_environment, write_campaign

from assets.attempt.monitor import Hooks
from assets.config.allowed import Allowed, allow, read_allowed
from assets.config.connection import Connection
from assets.config.keys import check_key
from assets.config.settings import read_campaign
from assets.errors import NotAllowedError
from assets.models.providers.client import Client
from assets.models.providers.limits import Limiter
from assets.work import work
from lake.tables import Stage
from tests.asking import KEY, PROMPT, PROTOCOLS, VARIABLE, connection_to
from tests.model_server import ModelServer
from tests.scripted_model import ScriptedModel

AWS = "AWS_SECRET_ACCESS_KEY"
LOCAL = "http://127.0.0.1:8000/v1"
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"


def connection(protocol: str, address: str | None, variable: str | None) -> Connection:
    return Connection(
        provider="p", protocol=protocol, model="m", base_url=address, key_variable=variable
    )


@pytest.mark.parametrize(
    ("protocol", "address", "variable"),
    [
        ("anthropic", None, None),
        ("openai", None, None),
        ("openai_chat", None, "OPENAI_API_KEY"),
        ("openai", OPENAI + "/", "OPENAI_API_KEY"),
        ("openai", "https://API.OpenAI.com:443/v2", "OPENAI_API_KEY"),
        ("openai_chat", ANTHROPIC + "/v1", "ANTHROPIC_API_KEY"),
        ("openai_chat", LOCAL, None),
        ("anthropic", "http://somewhere.example", None),
    ],
)
def test_a_vendors_key_goes_to_the_vendor_and_no_key_goes_anywhere(protocol, address, variable):
    check_key(connection(protocol, address, variable), {})


@pytest.mark.parametrize(
    ("protocol", "address", "variable"),
    [
        ("anthropic", None, AWS),
        ("openai", OPENAI, AWS),
        ("openai", None, "ANTHROPIC_API_KEY"),
        ("anthropic", None, "OPENAI_API_KEY"),
        ("openai", "http://api.openai.com/v1", "OPENAI_API_KEY"),
        ("openai", "https://api.openai.com:8443/v1", "OPENAI_API_KEY"),
        ("openai", "https://api.openai.com./v1", "OPENAI_API_KEY"),
        ("openai", "https://api.openai.com.evil.example/v1", "OPENAI_API_KEY"),
        ("openai", "https://evil.example/api.openai.com/v1", "OPENAI_API_KEY"),
        ("openai", "https://eu.api.openai.com/v1", "OPENAI_API_KEY"),
        ("openai_chat", LOCAL, "OPENAI_API_KEY"),
        ("openai_chat", LOCAL, AWS),
        ("openai_chat", LOCAL, "LOCAL_KEY"),
    ],
)
def test_any_other_pair_is_refused_with_the_line_to_type(protocol, address, variable):
    refused = connection(protocol, address, variable)
    with pytest.raises(NotAllowedError) as caught:
        check_key(refused, {}, campaign="small")
    said = re.search(r"varve search small --key (\S+)=(\S+)\. ", str(caught.value))
    assert said.groups() == (variable, refused.address)
    check_key(refused, {said[1]: [said[2]]})


@pytest.mark.parametrize(
    ("allowed", "fits"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.0.0.1:8000/", True),
        (LOCAL, True),
        (LOCAL + "/", True),
        ("http://127.0.0.1:8000/v2", False),
        ("http://127.0.0.1:8000/v", False),
        ("http://127.0.0.1:8001/v1", False),
        ("https://127.0.0.1:8000/v1", False),
        ("http://127.0.0.1/v1", False),
        ("http://localhost:8000/v1", False),
    ],
)
def test_an_address_stands_for_its_host_or_for_its_one_path(allowed, fits):
    asked = connection("openai_chat", LOCAL, "LOCAL_KEY")
    if fits:
        return check_key(asked, {"LOCAL_KEY": [allowed]})
    with pytest.raises(NotAllowedError):
        check_key(asked, {"LOCAL_KEY": [allowed], "OTHER": [LOCAL]})


@pytest.mark.parametrize(
    "address",
    [
        "https://api.openai.com\\@evil.example/v1",
        "https://api.openai.com\\.evil.example/v1",
        "https://api.op\tenai.com/v1",
        "https://api.openai.com\n.evil.example/v1",
        " https://api.openai.com/v1",
        "https://api.openai\u3002com/v1",
        "https://api.opena\u0131.com/v1",
        "https://api.openai.com%2eevil.example/v1",
        "https://api.openai.com:443:80/v1",
        "https://api.openai.com:99999/v1",
        "https://api.openai.com:0/v1",
        "https://[::1/v1",
        "https:api.openai.com/v1",
        "https:///api.openai.com",
        "ftp://api.openai.com",
    ],
)
def test_an_address_that_two_readers_may_read_differently_is_none(address):
    with pytest.raises(ValueError, match=r"base_url|port|Port|IPv6"):
        connection("openai", address, "OPENAI_API_KEY")


@pytest.mark.parametrize(
    "text",
    [
        "sk-secret-0123456789",
        "OPENAI_API_KEY=sk-secret-0123456789",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY=",
        "=http://127.0.0.1:1",
        "openai=http://127.0.0.1:1",
        "A B=http://127.0.0.1:1",
        "KEY=http://me:sk-secret-0123456789@127.0.0.1",
    ],
)
def test_what_is_no_variable_for_an_address_is_refused_and_not_repeated(home, text):
    with pytest.raises(NotAllowedError, match="--key: expected the name of") as caught:
        allow(home, keys=[text], environments=())
    assert "0123456789" not in str(caught.value)
    assert read_allowed(home).keys == {}


def test_what_is_allowed_at_once_is_all_remembered(home):
    pairs = [f"KEY_{n % 4}=http://127.0.0.1:{8000 + n}" for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: allow(home, keys=[pair], environments=()), pairs))
    kept = read_allowed(home)
    assert sorted(f"{name}={each}" for name in kept.keys for each in kept.keys[name]) == sorted(
        pairs
    )
    assert kept.code, "what was there before is there still"


@pytest.mark.parametrize("content", ["{oops", "[]", '{"keys": {"A": "http://x"}}', "\xff"])
def test_a_damaged_list_allows_nothing_and_is_told(home, content):
    home.allowed.write_bytes(content.encode("latin-1"))
    with pytest.raises(NotAllowedError, match=f"{home.allowed}: .*move it away"):
        read_allowed(home)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_sends_no_key_that_is_not_allowed_there(monkeypatch, protocol):
    import asyncio

    monkeypatch.setenv(VARIABLE, KEY)
    with ModelServer() as server:
        client = Client(connection_to(server, protocol), Limiter())
        with pytest.raises(NotAllowedError, match=VARIABLE):
            asyncio.run(client.send(PROMPT, key="1"))
        assert server.connections == 0


def write_greedy(home, server, name="greedy", **changes) -> None:
    """A campaign that sends a secret of the user's to a server of its own."""
    role = {"model": "friendly", "name": "gpt"}
    provider = {"protocol": "openai_chat", "base_url": server.url("openai_chat"), "key": AWS}
    fields = {
        "epochs": 1,
        "batch": 2,
        "ideators": [role],
        "implementer": role | {"diffs": 1, "revisions": 0},
        "providers": {"friendly": provider},
    }
    write_campaign(home.campaigns, name, **fields | changes)


def test_a_campaign_that_asks_for_another_secret_begins_nothing_from_terminal_or_ui(
    home, monkeypatch
):
    monkeypatch.setenv(AWS, KEY)
    with ModelServer(ScriptedModel()) as server:
        write_greedy(home, server)
        with pytest.raises(NotAllowedError, match=f"--key {AWS}={server.url('openai_chat')}"):
            search_all(home, "greedy", hooks=Hooks(sandbox="none"))
        with pytest.raises(NotAllowedError, match=AWS):
            work(home, "greedy", Stage.EVOLUTION, 0, hooks=Hooks(sandbox="none"))
        assert server.connections == 0
    assert not (home.root / "lake").exists()
    assert not home.dagster.exists()


def test_a_recorded_role_asks_nobody_and_needs_no_key(home):
    with ModelServer() as server:
        recorded = {"model": "recorded", "name": "other"}
        write_greedy(home, server, ideators=[recorded], implementer=recorded)
    assert read_campaign(home.campaigns, "greedy").asking == ()


@pytest.mark.trains
def test_what_the_line_allows_is_remembered_for_the_next_call(home, monkeypatch):
    monkeypatch.setenv(AWS, KEY)
    with ModelServer(ScriptedModel()) as server:
        write_greedy(home, server)

        def varve(*more: str) -> subprocess.CompletedProcess:
            command = [sys.executable, str(VARVE), "search", "greedy", "--sandbox", "none", *more]
            return subprocess.run(
                command, env=child_environment(home), capture_output=True, text=True
            )

        refused = varve()
        assert refused.returncode == 1
        [option] = re.findall(r"(--key \S+)\. ", refused.stderr.replace("\n", " "))
        assert varve(*shlex.split(option)).returncode == 0
        assert all(r.headers["authorization"] == f"Bearer {KEY}" for r in server.requests)
        again = varve()
        assert (again.returncode, "Nothing is missing" in again.stdout) == (0, True)
    assert json.loads(home.allowed.read_text())["keys"] == {AWS: [server.url("openai_chat")]}
    assert KEY not in home.allowed.read_text()


def test_what_is_allowed_is_a_mapping_that_a_person_can_read():
    assert json.loads(Allowed(keys={"A": [LOCAL]}).model_dump_json()) == {
        "keys": {"A": [LOCAL]},
        "code": {},
    }
