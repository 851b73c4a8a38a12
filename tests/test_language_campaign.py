"""Campaigns whose ideas and patches come from a model server over HTTP, through the real SDKs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from campaigns import PressedAfter, materialize, opened, rows, search_all, takes_turns
from conftest import PROJECT, VARVE, child_environment, write_campaign

from assets.attempt.monitor import Hooks, Stop
from assets.config.allowed import allow
from assets.config.environment import read_environment
from assets.config.home import Home
from assets.diffs.git import apply_diff
from assets.errors import Interrupted, ProviderError, VarveError
from lake import Journal, Lake, StorageError, query
from lake.tables import (
    Blame,
    Completion,
    Idea,
    IdeaKind,
    IdeaStatus,
    Patch,
    PatchStatus,
    Run,
    RunEvent,
    RunEventKind,
    RunPurpose,
    Score,
    Stage,
)
from launchers.tree import tree_hash
from tests.model_server import Behaviour, ModelServer, Request
from tests.scripted_model import VALUE, ScriptedModel

pytestmark = pytest.mark.trains

KEY, VARIABLE = "sk-varve-test-0123456789", "VARVE_TEST_KEY"
PROTOCOLS = ("anthropic", "openai", "openai_chat")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)


def write_asking(home: Home, server: ModelServer, name: str = "small", **changes) -> None:
    """A campaign that asks a server."""
    provider = {
        "protocol": "anthropic",
        "key": VARIABLE,
        "timeout_seconds": 5.0,
        "wait_seconds": 0.05,
        "price": {"input": 3, "output": 15, "cached": 0.3, "written": 3.75},
    } | changes.pop("provider", {})
    provider["base_url"] = server.url(provider["protocol"])
    allow(home, keys=[f"{VARIABLE}={provider['base_url']}"], environments=())
    role = {"model": "local", "name": "m-1"}
    defaults = {
        "epochs": 2,
        "ideators": [role],
        "implementer": role | {"diffs": 2, "revisions": 1},
        "providers": {"local": provider},
        "launcher": {"kind": "local", "slots": 2},
    }
    write_campaign(home.campaigns, name, **defaults | changes)


def run_all(home: Home, name: str = "small", **hooks) -> None:
    search_all(home, name, hooks=Hooks(sandbox="none", **hooks))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ideas_and_patches_come_from_the_model_and_every_call_is_a_row(home, protocol):
    with ModelServer(ScriptedModel(bad_patches=0.5), idempotent=True) as server:
        write_asking(home, server, provider={"protocol": protocol})
        run_all(home)
    completions = rows(home, Completion)
    assert server.paid == len(completions)
    assert {c.finish_reason for c in completions} == {"stop"}
    assert {c.model for c in completions} == {"local/m-1"}
    assert all(c.cost_usd and c.input_tokens and c.output_tokens for c in completions)
    assert all(c.thinking == "I think about it." for c in completions)
    assert json.loads(completions[0].price)["rates"]["output"] == 15
    patchers = [c for c in completions if c.role == "implementer"]
    assert len({c.prefix for c in completions}) == 1, "what is cached is the same in all calls"
    assert "RIDGE = 30.0" in completions[0].prefix
    cold = [c for c in patchers if not c.cached_tokens]
    assert len(cold) <= 2, "of each epoch's calls all but the first find the prefix in the cache"
    ideas = [i for i in rows(home, Idea) if i.kind is not IdeaKind.BASELINE]
    assert len(ideas) == 8
    patches = rows(home, Patch)
    environment = read_environment(PROJECT / "tests/environments/ridge")
    for patch in patches:
        if patch.status is PatchStatus.APPLIED:
            assert tree_hash(apply_diff(environment.files, patch.diff)) == patch.tree
    by_idea = Counter(p.idea_id for p in patches if p.status is PatchStatus.APPLIED)
    assert set(by_idea.values()) == {1}
    assert {p.status for p in patches} >= {PatchStatus.APPLIED, PatchStatus.UNTRIED}
    repaired = [p for p in patches if p.revision == 1 and p.status is PatchStatus.APPLIED]
    assert repaired, "a patch that did not fit was given back and mended"
    failed = next(p for p in patches if p.status is PatchStatus.FAILED)
    assert failed.blame is Blame.PATCH
    asked_again = next(c for c in completions if c.revision == 1)
    assert "31.0" in json.loads(asked_again.request)["turns"][1]["text"]
    assert sum(s.value is not None for s in rows(home, Score)) == 3 + len(by_idea) - 1
    assert takes_turns(home) == {True}, "who wrote a patch may listen to a server of another"


def test_the_lowest_try_that_holds_is_taken_and_the_ones_behind_it_are_rows(home):
    with ModelServer(ScriptedModel()) as server:
        write_asking(
            home, server, epochs=1, implementer={"model": "local", "name": "m", "diffs": 4}
        )
        run_all(home)
    tries = [p for p in rows(home, Patch) if p.diff]
    assert Counter((p.ordinal, p.status) for p in tries) == {
        (0, PatchStatus.APPLIED): 4,
        **{(n, PatchStatus.UNTRIED): 4 for n in (1, 2, 3)},
    }
    groups = Counter(c.group for c in rows(home, Completion) if c.role == "implementer")
    assert set(groups.values()) == {4}


def test_ideas_that_say_the_same_again_are_rejected_before_a_patch_is_paid(home):
    def same(request):
        behaviour = ScriptedModel()(request)
        if request.messages[0][1].count("Give exactly"):
            behaviour = replace(
                behaviour,
                text=json.dumps(
                    {
                        "ideas": [
                            {
                                "title": f"Penalty {n % 2}",
                                "text": f"Set RIDGE in train.py to {n % 2}.5",
                            }
                            for n in range(2)
                        ]
                    }
                ),
            )
        return behaviour

    with ModelServer(same) as server:
        write_asking(home, server, epochs=1, batch=4)
        run_all(home)
    ideas = [i for i in rows(home, Idea) if i.kind is not IdeaKind.BASELINE]
    kept = [i for i in ideas if i.status is IdeaStatus.PROPOSED]
    rejected = [i for i in ideas if i.status is IdeaStatus.REJECTED]
    assert len(kept) == 2
    assert len(rejected) == 2 * 3, "three tries of the second call"
    assert all("too like idea" in i.reason for i in rejected)
    assert {p.idea_id for p in rows(home, Patch)} & {i.idea_id for i in rejected} == set()
    shown = query(Lake.open(home.lake), "select count(*) from leaderboard where kind = 'fresh'")
    assert shown.rows == [(2,)]


def test_a_search_stopped_by_its_budget_goes_on_with_a_higher_one_and_pays_nothing_twice(home):
    with ModelServer(ScriptedModel(), idempotent=True) as server:
        write_asking(home, server, epochs=1, budget={"max_usd": 1e-6})
        with pytest.raises(VarveError, match=r"budget\.max_usd is 1e-06, so no new work starts"):
            run_all(home)
        first = {c.completion_id for c in rows(home, Completion)}
        assert len(first) == 1, "one call was enough to reach it"
        write_asking(home, server, epochs=1, budget={"max_usd": 100.0})
        run_all(home)
        completions = rows(home, Completion)
        assert first < {c.completion_id for c in completions}
        assert len({c.n for c in completions}) == 1, "the same attempt went on"
        assert server.paid == len(completions) == len(server.requests)


def test_a_missing_key_is_named_before_anything_begins(home, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    with ModelServer(ScriptedModel()) as server:
        write_asking(home, server)
        with pytest.raises(ProviderError, match=f"{VARIABLE} is not set"):
            run_all(home)
    assert rows(home, Completion) == []
    assert Lake.open(home.lake).attempts("small").epochs() == []


def test_no_key_reaches_the_lake_also_where_a_server_sends_it_back(home):
    def echo(request):
        behaviour = ScriptedModel()(request)
        sent = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        if request.ordinal % 3 == 0:
            return replace(behaviour, status=400, message=f"bad request: {sent}")
        return replace(behaviour, thinking=sent)

    with ModelServer(echo) as server:
        write_asking(home, server, epochs=1)
        run_all(home)
    assert all(KEY in repr(request.headers) for request in server.requests)
    for path in home.root.rglob("*"):
        if path.is_file() and KEY.encode() in path.read_bytes():
            raise AssertionError(f"{path} holds the key")
    reasons = [c.reason for c in rows(home, Completion) if c.reason]
    assert any("bad request" in reason for reason in reasons), reasons
    told = query(Lake.open(home.lake), "select * from completions").rows
    assert KEY not in repr(told)


def test_a_campaign_is_repeated_from_its_completions_without_a_server(home):
    with ModelServer(ScriptedModel(bad_patches=0.5)) as server:
        write_asking(home, server)
        run_all(home)
    recorded = {"model": "recorded", "name": "small"}
    write_campaign(
        home.campaigns,
        "again",
        epochs=2,
        ideators=[recorded],
        implementer=recorded | {"diffs": 2, "revisions": 1},
    )
    run_all(home, "again")
    for row_type, columns in ((Idea, ("title", "text", "kind")), (Patch, ("diff", "status"))):
        then, now = (
            [tuple(getattr(row, c) for c in columns) for row in rows(home, row_type, name)]
            for name in ("small", "again")
        )
        assert Counter(then) == Counter(now)
    completions = rows(home, Completion, "again")
    assert {c.reason for c in completions} == {None}, "what was asked is the same, too"
    assert {c.cost_usd for c in completions} == {None}
    assert len(completions) == len(rows(home, Completion))


def test_a_recording_that_lacks_an_answer_says_which(home):
    with ModelServer(ScriptedModel()) as server:
        write_asking(home, server, epochs=1)
        run_all(home)
    recorded = {"model": "recorded", "name": "small"}
    write_campaign(
        home.campaigns,
        "again",
        epochs=1,
        ideators=[recorded],
        implementer=recorded | {"diffs": 3},
    )
    with pytest.raises(VarveError, match="has no recorded completion for epoch 0000, patches"):
        run_all(home, "again")


def test_a_flood_instead_of_an_answer_is_a_row_and_the_search_goes_on(home):
    model, block = ScriptedModel(), b"x" * (1 << 20)
    status = b"HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n"
    flood = Behaviour(raw=lambda: [status, *[b"100000\r\n" + block + b"\r\n"] * 64])
    with ModelServer(lambda request: model(request) if request.ordinal % 3 else flood) as server:
        write_asking(home, server, epochs=1)
        run_all(home)
    failed = [c for c in rows(home, Completion) if c.finish_reason == "error"]
    assert len(failed) >= 3
    assert {c.blame for c in failed} == {Blame.INFRASTRUCTURE}
    [reason] = {c.reason for c in failed}
    assert reason == "status 400: a body of more than 1 MiB, whose rest was not read"
    assert sum(p.status is PatchStatus.APPLIED for p in rows(home, Patch)) == 5


def test_ctrl_c_waits_for_the_answers_on_their_way_and_the_search_goes_on(home):
    with ModelServer(ScriptedModel(delay_seconds=0.2), idempotent=True) as server:
        write_asking(home, server, epochs=1)
        stop = Stop()
        pressed = PressedAfter(stop, done=3, times=1, what="calls")
        with pytest.raises(Interrupted):
            run_all(home, monitor=pressed, stop=stop)
        assert all(request.answered for request in server.requests)
        assert len(rows(home, Completion)) == len(server.requests)
        run_all(home)
        assert server.paid == len(rows(home, Completion)) == len(server.requests)


def test_a_search_whose_server_is_gone_stays_open_and_asks_again_when_it_is_back(home):
    model, dead = ScriptedModel(), Behaviour(status=500)
    with ModelServer(lambda request: dead) as server:
        write_asking(home, server, epochs=1, provider={"tries": 1})
        with pytest.raises(VarveError, match=r"no answer came: .*what was not is asked again"):
            run_all(home)
        server.behave = lambda request: dead if VALUE.search(request.text) else model(request)
        with pytest.raises(VarveError, match="no answer"):
            run_all(home)
        errors = [c for c in rows(home, Completion) if c.finish_reason == "error"]
        assert errors
        assert all(c.blame is Blame.INFRASTRUCTURE for c in errors)
        assert all("status 500" in c.reason for c in errors)
        server.behave = model
        run_all(home)
        asked = " ".join(request.text for request in server.requests)
    assert len([i for i in rows(home, Idea) if i.kind is not IdeaKind.BASELINE]) == 4
    assert sum(p.status is PatchStatus.APPLIED for p in rows(home, Patch)) == 5
    assert "status 500" not in asked, "no model was told of it as of its own answer"


def test_a_disk_that_is_full_ends_the_paying(home, monkeypatch):
    real, kept = Journal.append, []

    def full(self, *facts):
        kept.extend(f for f in facts if isinstance(f, Completion))
        if len(kept) > 6:
            raise StorageError(
                where="journal", found="disk full", expected="room", todo="Make some"
            )
        real(self, *facts)

    with ModelServer(ScriptedModel(), idempotent=True) as server:
        write_asking(home, server, epochs=1, batch=8, provider={"concurrency": 2})
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", full)
            with pytest.raises(VarveError, match="disk full"):
                run_all(home)
        assert server.paid <= 6 + 2 * 2 + 1, "nothing new was asked for once nothing could be kept"
        run_all(home)
        assert server.paid == len(rows(home, Completion))


def test_a_budget_in_dollars_needs_a_server_that_counts(home):
    mute = ScriptedModel()
    with ModelServer(lambda request: replace(mute(request), output_tokens=-5)) as server:
        write_asking(home, server, epochs=1, budget={"max_usd": 5.0})
        with pytest.raises(
            VarveError, match=r"counts no tokens, so that budget\.max_usd cannot be enforced"
        ):
            run_all(home)
    assert len(rows(home, Completion)) == 1, "the answer is kept, and no other one asked for"


def test_ctrl_c_does_not_wait_for_the_tries_that_are_to_come(home):
    stop = Stop()

    def busy(request: Request) -> Behaviour:
        threading.Timer(1.0, stop.press).start()
        return Behaviour(status=429, headers={"retry-after": "300"})

    with ModelServer(busy) as server:
        write_asking(home, server, epochs=1)
        began = time.monotonic()
        with pytest.raises(VarveError, match="while a call waited to be sent"):
            run_all(home, stop=stop)
    assert time.monotonic() - began < 60
    assert len(server.requests) == 1


def test_a_recording_of_itself_is_refused(home):
    recorded = {"model": "recorded", "name": "small"}
    with ModelServer(ScriptedModel()) as server:
        write_asking(home, server, epochs=1)
        run_all(home)
    write_campaign(
        home.campaigns, epochs=1, ideators=[recorded], implementer=recorded | {"diffs": 2}
    )
    materialize(home, 0, [Stage.IDEAS])
    with pytest.raises(VarveError, match="is itself recorded from 'small'"):
        materialize(home, 0, [Stage.PATCHES])


def test_several_ideators_share_a_campaign_by_weight(home):
    with ModelServer(ScriptedModel()) as server:
        write_asking(
            home,
            server,
            epochs=1,
            batch=8,
            ideators=[
                {"model": "local", "name": "big", "weight": 3.0},
                {"model": "local", "name": "small", "weight": 1.0},
            ],
        )
        run_all(home)
    asked = Counter(c.model for c in rows(home, Completion) if c.role == "ideator")
    assert asked == {"local/big": 3, "local/small": 1}


def test_winners_are_run_again_with_seeds_drawn_after_the_patch(home):
    write_campaign(home.campaigns, epochs=2, confirm={"top": 2, "seeds": 3})
    search_all(home)
    again = [r for r in rows(home, Run) if r.purpose is RunPurpose.CONFIRMATION]
    assert again
    assert all(count == 3 for count in Counter(r.patch_id for r in again).values())
    assert len({r.seed for r in again}) == len(again)
    search = opened(home)
    best = search.summary().best
    assert best is not None
    assert len(best.confirmed) == 3
    assert best.value == pytest.approx(sum(best.confirmed) / 3)
    sql = (
        f"select value, confirmed, screened from leaderboard where idea_id = '{best.idea.idea_id}'"
    )
    (value, confirmed, screened) = query(Lake.open(home.lake), sql).rows[0]
    assert (value, confirmed, screened) == (pytest.approx(best.value), 3, best.screened)
    parents = {p for i in rows(home, Idea) for p in i.parents}
    confirmed_ideas = {
        p.idea_id for p in rows(home, Patch) if p.patch_id in {r.patch_id for r in again}
    }
    assert parents <= confirmed_ideas


@pytest.fixture
def smoking(tmp_path):
    """The small environment with a smoke profile, and a size of which a GPU could be thought."""
    folder = tmp_path / "ridge"
    shutil.copytree(PROJECT / "tests/environments/ridge", folder)
    prepare = folder / "prepare.py"
    prepare.write_text(prepare.read_text().replace('choices=["cpu"]', 'choices=["big", "smoke"]'))
    manifest = (folder / "pyproject.toml").read_text()
    head, profile = manifest.split("[tool.varve.profiles.cpu]")
    (folder / "pyproject.toml").write_text(
        head + "".join(f"[tool.varve.profiles.{name}]{profile}\n" for name in ("big", "smoke"))
    )
    return folder


def test_a_patch_that_falls_over_in_its_smoke_run_goes_back_with_its_log(home, smoking):
    def crash(request):
        behaviour = ScriptedModel()(request)
        if "SEARCH" in behaviour.text and len(request.messages) == 1:
            broken = behaviour.text.replace(
                "# penalty on the squared weights\n>>>>>>> REPLACE",
                "+ undefined_name  # penalty\n>>>>>>> REPLACE",
            )
            return replace(behaviour, text=broken)
        return behaviour

    with ModelServer(crash) as server:
        write_asking(
            home,
            server,
            epochs=1,
            batch=2,
            environment=str(smoking),
            profile="big",
            implementer={"model": "local", "name": "m", "diffs": 1, "revisions": 1},
        )
        run_all(home)
    tries = [p for p in rows(home, Patch) if p.diff]
    assert Counter((p.revision, p.status, p.blame) for p in tries) == {
        (0, PatchStatus.FAILED, Blame.TRAIN): 2,
        (1, PatchStatus.APPLIED, None): 2,
    }
    again = [c for c in rows(home, Completion) if c.revision == 1]
    told = json.loads(again[0].request)["turns"][2]["text"]
    assert "NameError: name 'undefined_name' is not defined" in told
    assert "<<<LOG " in told
    smoke = [e for e in rows(home, RunEvent) if e.stage is Stage.PATCHES]
    told = {e.run_id: [x.kind for x in smoke if x.run_id == e.run_id] for e in smoke}
    assert len(told) == 4
    for kinds in told.values():
        assert kinds[:2] == [RunEventKind.INTENDED, RunEventKind.SUBMITTED]
        assert kinds[2:] in ([RunEventKind.FINISHED], [RunEventKind.FAILED])


def test_a_smoke_run_that_the_machine_fails_says_where_to_look(home, smoking):
    (smoking / "evaluate.py").write_text("raise SystemExit(3)\n")
    with ModelServer(ScriptedModel()) as server:
        write_asking(home, server, epochs=1, batch=1, environment=str(smoking), profile="big")
        with pytest.raises(VarveError) as failed:
            run_all(home)
    said = re.search(
        r"the smoke run of patch .* failed more than once .*: repair what (.*) shows",
        str(failed.value),
    )
    assert said is not None, failed.value
    assert (Path(said[1]) / "score.txt").exists()


def test_80_ideas_over_3_epochs_end_although_a_fifth_of_the_answers_is_faulty(home):
    model = ScriptedModel(faulty=0.2, bad_patches=0.2, silent=0.002)
    with ModelServer(model, idempotent=True) as server:
        write_asking(
            home,
            server,
            epochs=3,
            batch=80,
            strategy={"kind": "evolution", "ideas_per_call": 10},
            provider={"timeout_seconds": 3.0, "tries": 8},
        )
        run_all(home)
    completions, patches = rows(home, Completion), rows(home, Patch)
    assert model.faults > 0.1 * len(server.requests)
    assert server.paid == len({r.key for r in server.requests if r.answered})
    for completion in completions:
        assert (completion.finish_reason == "stop") or completion.blame is not None
        assert completion.blame is None or completion.reason or completion.response
    finishes = Counter(c.finish_reason for c in completions)
    assert finishes.keys() >= {"stop", "refusal", "length", "empty"}
    assert all(p.blame and p.reason for p in patches if p.status is PatchStatus.FAILED)
    assert any(".." in (p.reason or "") for p in patches if p.status is PatchStatus.FAILED)
    ideas = [i for i in rows(home, Idea) if i.kind is not IdeaKind.BASELINE]
    log = Lake.open(home.lake).attempts("small")
    assert all(log.newest(epoch, Stage.SCORES) for epoch in range(3))
    won = {p.idea_id for p in patches if p.status is PatchStatus.APPLIED}
    kept = [i for i in ideas if i.status is IdeaStatus.PROPOSED]
    assert len(kept) >= 230, "what is missing are answers refused, cut off or unreadable twice"
    assert len(won) >= 0.95 * len(kept)


def test_a_search_killed_in_the_middle_of_its_calls_pays_nothing_twice(home):
    model = ScriptedModel(delay_seconds=0.1, bad_patches=0.3)
    with ModelServer(model, idempotent=True) as server:
        write_asking(home, server, epochs=1, batch=8, provider={"concurrency": 4})
        environment = child_environment(home) | {VARIABLE: KEY}
        command = [sys.executable, str(VARVE), "search", "small", "--sandbox", "none"]
        held: list[tuple[int, set[str]]] = []
        for kills in range(3):
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            before = len(server.requests)
            give_up = time.monotonic() + 60
            while len(server.requests) < before + 5 + 3 * kills and process.poll() is None:
                assert time.monotonic() < give_up
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            held.append((len(server.requests), kept(home)))
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    completions = rows(home, Completion)
    assert server.paid == len(completions)
    asked = Counter(request.key for request in server.requests)
    assert set(asked) == {c.completion_id for c in completions}
    for place, known in held:
        before = {request.key for request in server.requests[:place]}
        after = {request.key for request in server.requests[place:]}
        assert not known & after, "what is on disk is not asked for again"
        assert len(before - known) <= 2 * 4, "in the air, or answered and not written down yet"


def kept(home) -> set[str]:
    """The calls that a killed process left on disk; moves them to the lake, as a search does."""
    with closing(Journal.open(home.journal("small"))) as journal:
        journal.drain(Lake.open(home.lake))
    return {completion.completion_id for completion in rows(home, Completion)}


def test_the_campaigns_that_ship_say_which_key_is_missing(home, monkeypatch):
    for name in ("nanogpt_claude", "nanogpt_gpt"):
        shutil.copytree(PROJECT / "assets/campaigns" / name, home.campaigns / name)
        expected = yaml.safe_load((home.campaigns / name / "defs.yaml").read_text())["attributes"]
        variable = f"{expected['implementer']['model'].upper()}_API_KEY"
        environment = {k: v for k, v in child_environment(home).items() if k != variable}
        done = subprocess.run(
            [sys.executable, str(VARVE), "search", name],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert f"{variable} is not set" in done.stderr
