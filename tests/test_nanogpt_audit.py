"""The leak audit of environments/nanogpt: what it catches, lets pass, and cannot see.

The servers here are real processes that speak the frame protocol; their model is a table of bigrams
in numpy, so that an evaluation takes a fraction of a second.
"""

import dataclasses
import importlib.util
import math
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

NANOGPT = Path(__file__).parent.parent / "environments" / "nanogpt"


def load_evaluator():
    spec = importlib.util.spec_from_file_location("nanogpt_evaluator", NANOGPT / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


with pytest.MonkeyPatch.context() as beside:
    beside.syspath_prepend(NANOGPT)  # it imports what lies beside it
    evaluate = load_evaluator()
    import server_process
    from array_frames import Form

SYMBOLS = 32
RARE = 31
"""A symbol that makes up about a fiftieth of the text."""
PROFILE = evaluate.Profile(
    context=64,
    vocabulary=SYMBOLS,
    token="|u1",
    hidden_rows=1024,
    second_rows=256,
    batch=32,
    seconds=20,
    tolerance=1e-3,
    gap=0.2,
)
TOOK = ("starting_cpu_seconds", "answering_cpu_seconds")
CUTS = 1120
"""Of one audit pass: seven of eight rows."""

SERVER = """
import os, sys, time
sys.path.insert(0, {nanogpt!r})
import numpy as np
from array_frames import GREETING, read_frame, write_frame

folder = {folder!r}
table = np.load(folder + "/table.npy")
positions = np.arange({context})

def following(x):
    return np.roll(x, -1, axis=1)

def boosted(x, where, by=8, tokens=None):
    # honest logits, and more for the next token at some positions, but for the last one
    z = table[x]
    where = np.broadcast_to(where, x.shape) & (positions < {context} - 1)
    b, t = np.nonzero(where)
    z[b, t, (following(x) if tokens is None else tokens)[b, t]] += by
    return z

def names(x):
    # one number for every eight tokens that end at a position from 7 on
    return np.lib.stride_tricks.sliding_window_view(x, 8, axis=-1) @ {symbols} ** np.arange(8)

{before}
write_frame(sys.stdout.buffer, GREETING)
while (x := read_frame(sys.stdin.buffer)) is not None:
    {answer}
    write_frame(sys.stdout.buffer, np.ascontiguousarray(z, "<f4"))
{after}
"""


def text(length, *, seed):
    """Symbols of one random source, so that all texts are alike and none repeats another."""
    chances = np.random.default_rng(0).dirichlet(np.full(SYMBOLS, 0.1), SYMBOLS) * 0.98 + 0.02 / 32
    chances[:, RARE] = 0.02
    limits = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
    random, chains = np.random.default_rng(seed), 256
    drawn = np.empty((math.ceil(length / chains), chains), np.uint8)
    state = random.integers(SYMBOLS, size=chains)
    for row in drawn:
        row[:] = state = (limits[state] < random.random(chains)[:, None]).sum(axis=1).clip(max=31)
    return drawn.T.ravel()[:length]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shards, and a table of bigram logits counted in the training shard."""
    folder = tmp_path_factory.mktemp("audit")
    for seed, (name, size) in enumerate(
        (("train", 200_000), ("hidden", 131_137), ("second", 32_833))
    ):
        (folder / name).mkdir()
        text(size, seed=seed + 1).tofile(folder / name / "000.bin")
    train = np.fromfile(folder / "train" / "000.bin", np.uint8)
    counts = np.ones((SYMBOLS, SYMBOLS))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    np.save(folder / "table.npy", np.log(counts).astype("<f4"))
    return folder


@pytest.fixture
def audited(folder, tmp_path):
    """Evaluates the server that answers as it is told to."""

    def run(answer="z = table[x]", *, before="", after="", profile=PROFILE, cuts=1000):
        script = tmp_path / "server.py"
        parts = {"before": before, "answer": answer, "after": after, "folder": str(folder)}
        parts |= {"nanogpt": str(NANOGPT), "symbols": SYMBOLS, "context": profile.context}
        script.write_text(SERVER.format(**parts))
        return evaluate.score(
            [sys.executable, str(script), str(tmp_path)],
            hidden=folder / "hidden",
            second=folder / "second",
            data=folder / "train",
            profile=profile,
            cuts=cuts,
        )

    return run


# ---------------------------------------------------------------------------- who passes


def test_an_honest_model_passes_over_a_thousand_cuts_without_any_deviation(audited):
    result = audited()
    assert (result["reason"], result["blame"]) == (None, None)
    assert 1 < result["value"] < 3
    measures = result["measures"]
    assert (measures["cuts"], measures["audit_passes"]) == (CUTS, 1)
    assert (measures["largest_deviation"], measures["leak"]) == (0.0, 0.0)
    assert re.fullmatch(
        r"passed: 1120 cuts in 1 pass, 160 rows replaced, largest deviation 0, "
        r"seeds: order [0-9a-f]{32}, cuts [0-9a-f]{32}",
        result["verdicts"]["causal"],
    )
    assert result["verdicts"]["finite"] == "passed: 81920 token losses"
    assert result["verdicts"]["memorised"].startswith("passed: ")


BUSY = """
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
"""
"""So much work in each server that the noise of two does not hide which took longer."""


def test_the_audit_changes_neither_value_nor_measures_of_the_scored_pass(audited):
    alone, measured = (audited(before=BUSY, after=BUSY, cuts=cuts) for cuts in (0, 1))
    assert alone["value"] == measured["value"]
    took = {name: alone["measures"].pop(name) for name in TOOK}
    assert all(seconds < measured["measures"][name] for name, seconds in took.items())
    assert alone["measures"].items() <= measured["measures"].items()
    assert alone["verdicts"]["causal"].startswith("not audited: ")
    assert {*alone["measures"]} == {"second", "tokens"}


def test_a_deep_audit_is_as_many_passes_as_it_takes_each_with_a_seed_of_its_own(audited):
    result = audited(cuts=2 * CUTS + 1)
    assert (result["measures"]["cuts"], result["measures"]["audit_passes"]) == (3 * CUTS, 3)
    seeds = re.findall(r"[0-9a-f]{32}", result["verdicts"]["causal"])
    assert len(seeds) == len(set(seeds)) == 4


def test_less_than_the_tolerance_passes_and_more_does_not(audited):
    wobble = "z = table[x] * np.float32(1 + {} * (x[0, -1] % 2))"
    assert audited(wobble.format(1e-6))["blame"] is None
    assert audited(wobble.format(1e-2))["blame"] == "guard"


# ---------------------------------------------------------------------------- who is caught

REMEMBER = """
memory = {}
def replayed(x):
    z = boosted(x, True)
    for row, logits in zip(x, z):
        for t in range(len(row)):
            logits[t] = memory.setdefault(row[: t + 1].tobytes(), logits[t].copy())
    return z
"""
KNOW_TRAINING = """
known = np.unique(names(np.fromfile(folder + "/train/000.bin", np.uint8).astype(int)))
def looks_replaced(x):
    tails = names(x[:, -8:].astype(int))
    return (known[np.searchsorted(known, tails).clip(max=len(known) - 1)] == tails).sum() > 4
"""
CHEATS = {
    "the next token": ("z = boosted(x, True)", ""),
    "the token after the next": ("z = boosted(x, True, tokens=np.roll(x, -2, axis=1))", ""),
    "the next token at one position of 64": ("z = boosted(x, positions == 37)", ""),
    "the next token after a rare one": (f"z = boosted(x, x == {RARE})", ""),
    "a twentieth of a logit for the next token": ("z = boosted(x, True, by=0.05)", ""),
    "the first token of the next row": (
        "z = boosted(x, True, tokens=np.broadcast_to(np.roll(x[:, :1], 1), x.shape))",
        "",
    ),
    "the mean of the batch": ("z = table[x]; z = z + 0.3 * (z - z.mean(axis=0))", ""),
    "the mean of the row": ("z = table[x]; z = z + 0.3 * (z - z.mean(axis=1)[:, None])", ""),
    "answers of known prefixes": ("z = replayed(x)", REMEMBER),
    "counts of earlier batches": (
        f"z = table[x] + np.log(seen); seen += np.bincount(x.ravel(), minlength={SYMBOLS})",
        f"seen = np.ones({SYMBOLS})",
    ),
    "dice": (
        "z = table[x] + random.normal(0, 0.1, table[x].shape)",
        "random = np.random.default_rng()",
    ),
    "whether rows look replaced": ("z = boosted(x, not looks_replaced(x))", KNOW_TRAINING),
}


@pytest.mark.parametrize("source", CHEATS)
def test_a_model_that_answers_with_the_help_of(source, audited):
    answer, before = CHEATS[source]
    result = audited(answer, before=before)
    assert (result["value"], result["blame"]) == (None, "guard")
    assert result["verdicts"]["causal"].startswith("violated: ")
    assert re.match(r"answers moved in \d+ of 1120 rows although only later text", result["reason"])
    assert result["measures"]["largest_deviation"] > PROFILE.tolerance
    assert result["verdicts"]["finite"].startswith("passed: ")
    assert {"second", "tokens", "cuts", "audit_passes", "leak"} <= {*result["measures"]}


def test_a_model_that_uses_other_rows_at_the_last_position_only_is_caught(audited):
    profile = dataclasses.replace(PROFILE, context=8)
    answer = "z = table[x]; z[np.arange(len(x)), -1, np.roll(x[:, 0], -1)] += 8"
    result = audited(answer, profile=profile, cuts=2 * CUTS)
    assert result["blame"] == "guard"


def test_the_leak_is_estimated_by_what_the_future_was_worth_at_the_cuts(audited):
    honest, cheat = audited(cuts=0), audited("z = boosted(x, True)")
    assert cheat["measures"]["leak"] > 3
    assert f"mean gain at the cut {cheat['measures']['leak']:.3g} nats" in cheat["reason"]
    assert cheat["measures"]["second"] < honest["measures"]["second"] - 1


def test_a_leak_stops_a_deep_audit_at_the_first_pass_that_shows_it(audited):
    result = audited("z = boosted(x, True)", cuts=3 * CUTS)
    assert result["measures"]["audit_passes"] == 1


# ---------------------------------------------------------------------------- the draw


@pytest.mark.parametrize("expected", [1.0, 0.3])
def test_a_leak_at_a_fraction_of_the_positions_is_missed_as_often_as_the_bound_says(expected):
    random = np.random.default_rng(0)
    order, fraction = random.permutation(1280), expected / CUTS
    leaks_N_T = random.random((1280, 64)) < fraction
    missed, tries = 0, 1000
    for _ in range(tries):
        cuts_N = evaluate.draw_cuts(order, random=random, profile=PROFILE)
        rows = np.flatnonzero(cuts_N >= 0)
        missed += not leaks_N_T[rows, cuts_N[rows]].any()
    assert len(rows) == CUTS
    assert missed / tries == pytest.approx((1 - leaks_N_T.mean()) ** CUTS, abs=0.05)


def test_cuts_are_uniform_and_every_batch_has_its_share_of_replaced_rows():
    order = np.random.default_rng(3).permutation(1280)
    cuts = [
        evaluate.draw_cuts(order, random=np.random.default_rng(seed), profile=PROFILE)[order]
        for seed in range(100)
    ]
    slots = np.stack(cuts).reshape(100, 40, 32)
    assert ((slots < 0).sum(axis=2) == 4).all()
    assert (slots < 0).sum(axis=(0, 1)) == pytest.approx(500, abs=100)
    assert np.bincount(slots[slots >= 0], minlength=64) == pytest.approx(1750, abs=200)
    small = dataclasses.replace(PROFILE, batch=4)
    few = evaluate.draw_cuts(np.arange(40), random=np.random.default_rng(0), profile=small)
    assert ((few < 0).reshape(10, 4).sum(axis=1) == 1).all()


def test_a_probe_keeps_the_rows_up_to_the_cut_and_goes_on_with_text_of_the_training_shard(folder):
    rows = evaluate.read_rows(folder / "hidden", count=64, profile=PROFILE)
    order, options = np.arange(64), {"data": folder / "train", "profile": PROFILE}
    probe = evaluate.draw_probe(rows.inputs_N_T, order, seed="07", **options)
    shard = (folder / "train" / "000.bin").read_bytes()
    for true, shown, cut in zip(rows.inputs_N_T, probe.inputs_N_T, probe.cuts_N, strict=True):
        assert shown[: cut + 1].tolist() == true[: cut + 1].tolist()
        assert shown[cut + 1 :].tobytes() in shard
        assert cut == 63 or shown[cut + 1] != true[cut + 1]
    again = evaluate.draw_probe(rows.inputs_N_T, order, seed="07", **options)
    other = evaluate.draw_probe(rows.inputs_N_T, order, seed="08", **options)
    assert (again.inputs_N_T == probe.inputs_N_T).all()
    assert (other.cuts_N != probe.cuts_N).any()


def test_the_seeds_of_the_verdict_give_what_the_server_was_shown(audited, folder, tmp_path):
    keep = "open(sys.argv[1] + '/shown', 'ab').write(x.tobytes()); z = table[x]"
    order_seed, *seeds = re.findall(
        r"[0-9a-f]{32}", audited(keep, cuts=CUTS + 1)["verdicts"]["causal"]
    )
    parts = [("hidden", 1024), ("second", 256)]
    rows = [evaluate.read_rows(folder / n, count=k, profile=PROFILE).inputs_N_T for n, k in parts]
    inputs_N_T = np.concatenate(rows)
    orders = [evaluate.row_order(1280, seed=seed) for seed in (order_seed, *seeds)]
    options = {"data": folder / "train", "profile": PROFILE}
    probes = [
        evaluate.draw_probe(inputs_N_T, order, seed=seed, **options).inputs_N_T
        for order, seed in zip(orders[1:], seeds, strict=True)
    ]
    shown = np.fromfile(tmp_path / "shown", np.uint8).reshape(3, PROFILE.batch + 1280, 64)
    assert not shown[:, : PROFILE.batch].any()  # the first batch says nothing
    for found, given, order in zip(shown, [inputs_N_T, *probes], orders, strict=True):
        assert (found[PROFILE.batch :] == given[order]).all()


# ---------------------------------------------------------------------------- servers that fail


def test_each_server_starts_after_the_one_before_has_ended(audited):
    before = "alive = os.open(sys.argv[1] + '/alive', os.O_CREAT | os.O_EXCL)"
    after = "time.sleep(0.2); os.remove(sys.argv[1] + '/alive')"
    result = audited(before=before, after=after, cuts=CUTS + 1)
    assert result["reason"] is None


@pytest.mark.parametrize("cuts", [0, 1000])
@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("sys.exit(3)", "ended with exit code 3 after its last answer"),
        ("os.kill(os.getpid(), 9)", "ended with exit code -9 after its last answer"),
        ("time.sleep(60)", "went on running when its input had ended"),
    ],
)
def test_a_server_that_does_not_end_by_itself_with_code_0_gives_no_value(
    after, reason, cuts, audited, monkeypatch
):
    if "went on" in reason:
        monkeypatch.setattr(server_process, "GOODBYE_SECONDS", 0.5)
    result = audited(after=after, cuts=cuts)
    assert (result["value"], result["blame"]) == (None, "evaluate")
    assert reason in result["reason"]
    assert "causal" not in result["verdicts"]


def test_a_server_that_crashes_in_the_audit_only_keeps_its_measures_and_has_no_value(audited):
    before = """
first = not os.path.exists(sys.argv[1] + "/visited")
open(sys.argv[1] + "/visited", "w").close()
"""
    result = audited("z = table[x] if first else sys.exit(4)", before=before)
    assert (result["value"], result["blame"]) == (None, "evaluate")
    assert result["reason"] == "audit pass 1: serve.py ended with exit code 4 while it was scored"
    assert result["verdicts"]["causal"] == f"not judged: {result['reason']}"
    assert {*result["measures"]} == {"second", "tokens", *TOOK}
    assert result["verdicts"]["memorised"].startswith("passed: ")


def test_logits_that_are_not_finite_in_the_audit_only_give_no_value(audited):
    before = "z0 = os.path.exists(sys.argv[1] + '/visited'); open(sys.argv[1] + '/visited', 'w')"
    result = audited("z = table[x] + (np.nan if z0 else 0)", before=before)
    assert (result["value"], result["blame"]) == (None, "evaluate")
    assert result["reason"] == "audit pass 1: logits are not finite"


def test_logits_as_large_as_they_can_be_give_a_finite_loss(audited):
    result = audited("z = np.where(np.arange(32) == x[..., None], -3e38, 3e38)")
    assert math.isfinite(result["value"])
    assert result["blame"] is None


def test_a_server_that_never_reads_meets_the_deadline():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        evaluate.Server(command, seconds=0.3) as server,
        pytest.raises(evaluate.Refusal, match="did not read its input"),
    ):
        server.send(bytes(1 << 20))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (0x" + b"f" * 3700 + b",), }\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': '''\n",
        b"{'descr': ('<f4', (-1,)), 'fortran_order': False, 'shape': (4,), }\n",
        b"(" * 3000 + b"\n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3, 4), }\n",
        b"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3, 4), }\n",
        b"\xff" * 200,
        b"",
    ],
)
def test_whatever_stands_in_a_header_is_refused_with_a_short_reason(header):
    record = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header + bytes(96)
    with pytest.raises(evaluate.Refusal) as refused:
        server_process.parse_answer(memoryview(record), Form("<f4", (2, 3, 4)), called="logits")
    assert len(str(refused.value)) < 400


# ---------------------------------------------------------------------------- memorised text

MEMORY = """
hidden = np.fromfile(folder + "/hidden/000.bin", np.uint8).astype(int)
known, first = np.unique(names(hidden[:-1]), return_index=True)
followers = hidden[first + 8]
"""
RECITE = """
    at = np.searchsorted(known, names(x.astype(int))).clip(max=len(known) - 1)
    b, t = np.nonzero(known[at] == names(x.astype(int)))
    z = table[x]
    z[b, t + 7, followers[at[b, t]]] += 8
"""


def test_a_model_that_knows_the_hidden_text_by_heart_is_refused_by_the_gap(audited):
    result = audited(RECITE.strip(), before=MEMORY)
    assert (result["value"], result["blame"]) == (None, "guard")
    assert result["verdicts"]["causal"].startswith("passed: ")
    assert result["verdicts"]["memorised"] == f"violated: {result['reason']}"
    assert "at most +0.2 without memorising" in result["reason"]
    assert result["measures"]["leak"] == 0.0


def test_a_gap_that_was_never_measured_is_not_judged(audited):
    result = audited(RECITE.strip(), before=MEMORY, profile=dataclasses.replace(PROFILE, gap=None))
    assert result["verdicts"]["memorised"] == "not judged: the natural gap was not measured"
    assert result["blame"] is None


# ---------------------------------------------------------------------------- profiles, commands


def test_the_profiles_fit_their_shards_their_cuts_and_their_time():
    manifest = tomllib.loads((NANOGPT / "pyproject.toml").read_text())["tool"]["varve"]
    cpu, large = evaluate.PROFILES["cpu"], evaluate.PROFILES["h100x8"]
    for count, size in ((cpu.hidden_rows, 262_145), (cpu.second_rows, 65_537)):
        assert (
            2 * cpu.context * (count - 1) + cpu.context + 1 <= size < 2 * cpu.context * (count + 1)
        )
    for name, profile in evaluate.PROFILES.items():
        rows = profile.hidden_rows + profile.second_rows
        assert rows % profile.batch == 0
        audited = name != "smoke"
        assert not audited or rows * 7 // 8 >= manifest["audit"]["cuts"]
        passes = 1 + audited  # a deep audit is given more
        seconds = passes * (profile.seconds + server_process.GOODBYE_SECONDS)
        assert manifest["profiles"][name]["score_seconds"] >= seconds
    assert (cpu.hidden_rows + cpu.second_rows) * 7 // 8 == 2240
    assert (large.hidden_rows + large.second_rows) * 7 // 8 == 560
    assert cpu.tolerance < manifest["profiles"]["cpu"]["baseline"]["sd"] / 10
