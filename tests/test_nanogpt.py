"""environments/nanogpt: its data, training, evaluator and the commands that its README names."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ENVIRONMENTS = Path(__file__).parent.parent / "environments"
NANOGPT = ENVIRONMENTS / "nanogpt"
CLEAN = {
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
}


def load(name):
    spec = importlib.util.spec_from_file_location(f"nanogpt_{name}", NANOGPT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


torch.set_num_threads(1)  # two threads that wait for each other cost ten times the CPU time
train = load("train")
with pytest.MonkeyPatch.context() as beside:
    beside.syspath_prepend(NANOGPT)  # they import what lies beside them
    prepare, evaluate, serve = load("prepare"), load("evaluate"), load("serve")
    import array_frames


def run(folder, *command, env=CLEAN):
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=env, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("nanogpt") / "data"
    done = run(NANOGPT, "prepare.py", "--profile", "cpu", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A copy of the environment that trains for twenty steps."""
    folder = tmp_path_factory.mktemp("short") / "nanogpt"
    shutil.copytree(NANOGPT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    story = (folder / "train.py").read_text()
    assert story.count("STEPS = 500") == 1
    (folder / "train.py").write_text(story.replace("STEPS = 500", "STEPS = 20"))
    return folder


# ---------------------------------------------------------------------------- data


def test_the_corpus_of_the_pinned_torch_has_the_committed_hash(data):
    record = json.loads((data / "data.json").read_text())
    assert record["profile"] == "cpu"
    assert record["sha256"] == prepare.CPU_SHA256
    sizes = {name: (data / name).stat().st_size for name in record["files"]}
    assert sizes == {
        "hidden/000.bin": 262_145,
        "second/000.bin": 65_537,
        "train/000.bin": 6_000_000,
    }
    for name, digest in record["files"].items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == digest


def test_hardly_any_hidden_text_but_boilerplate_stands_in_the_training_shard(data):
    shard = (data / "train/000.bin").read_bytes()
    hidden = (data / "hidden/000.bin").read_bytes()
    probes = [hidden[start : start + 200] for start in range(0, len(hidden) - 200, 4096)]
    assert sum(probe in shard for probe in probes) <= len(probes) // 20


def test_preparing_again_does_nothing_and_a_foreign_folder_is_refused(data, tmp_path):
    again = run(NANOGPT, "prepare.py", "--profile", "cpu", "--out", data)
    assert (again.returncode, "already prepared" in again.stdout) == (0, True)
    (tmp_path / "mine").write_text("keep")
    refused = run(NANOGPT, "prepare.py", "--profile", "cpu", "--out", tmp_path)
    assert refused.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("version", ["2.12.1+cpu", "2.13.0"])
def test_another_torch_is_an_error_of_four_parts_that_leaves_nothing(version, tmp_path):
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch" / "__init__.py").write_text("# another build\n" * 100)
    info = site / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    out = tmp_path / "work" / "data"
    env = CLEAN | {"PYTHONPATH": str(site)}
    refused = run(NANOGPT, "prepare.py", "--profile", "cpu", "--out", out, env=env)
    assert refused.returncode == 1
    assert refused.stderr.startswith("prepare.py: ")
    for part in (f"found:    torch {version}", "expected: torch 2.13.0", "do next:  "):
        assert part in refused.stderr
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_fineweb_shards_lose_their_header_and_a_torn_one_is_refused(tmp_path, monkeypatch):
    source, tokens = tmp_path / "source", np.arange(600, dtype="<u2")
    source.mkdir()
    head = np.zeros(256, "<i4")
    head[:3] = 20240520, 1, len(tokens)
    for name in ("fineweb_train_000001.bin", "fineweb_val_000000.bin"):
        (source / name).write_bytes(head.tobytes() + tokens.tobytes())
    monkeypatch.setattr(prepare, "FINEWEB_HIDDEN_TOKENS", 100)
    monkeypatch.setattr(prepare, "FINEWEB_SECOND_TOKENS", 50)
    prepare.prepare(tmp_path / "data", profile="h100x8", source=str(source))
    read = {path.parent.name: np.fromfile(path, "<u2") for path in tmp_path.glob("data/*/*.bin")}
    assert read["train"].tolist() == tokens.tolist()
    assert read["hidden"].tolist() == tokens[:100].tolist()
    assert read["second"].tolist() == tokens[100:150].tolist()
    (source / "fineweb_val_000000.bin").write_bytes(head.tobytes() + tokens.tobytes()[:-10])
    with pytest.raises(SystemExit, match="fetch this shard again"):
        prepare.prepare(tmp_path / "torn", profile="h100x8", source=str(source))
    assert not (tmp_path / "torn").exists()


# ---------------------------------------------------------------------------- training


@pytest.mark.trains
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(short, data, tmp_path):
    digests = []
    for seed, out in ((0, "a"), (0, "b"), (1, "c")):
        options = ["--profile", "cpu", "--seed", seed, "--data", data / "train"]
        done = run(short, "train.py", *options, "--out", tmp_path / out, "--budget-seconds", 60)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (tmp_path / out).iterdir()] == ["model.safetensors"]
        content = (tmp_path / out / "model.safetensors").read_bytes()
        digests.append(hashlib.sha256(content).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.trains
def test_the_loss_starts_at_chance_and_falls(data):
    torch.manual_seed(0)
    profile = train.PROFILES["cpu"]
    model = train.build_model("cpu")
    optimizers = train.build_optimizers(model)
    batches = train.Batches(data / "train", profile, seed=0, rank=0)
    losses = []
    for step in range(80):
        train.set_learning_rates(optimizers, step=step, progress=step / 500, warmup=profile.warmup)
        inputs, targets = batches.draw()
        loss = train.loss_of(model(inputs), targets)
        loss.backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(256), abs=0.2)
    assert np.mean(losses[-10:]) < 3.2


def test_the_learning_rate_warms_up_and_decays_to_nine_percent():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=train.LEARNING_RATE)
    rates = []
    for step, progress in ((0, 0.0), (9, 0.0), (250, 0.5), (500, 1.0)):
        train.set_learning_rates([optimizer], step=step, progress=progress, warmup=10)
        rates.append(optimizer.param_groups[0]["lr"] / train.LEARNING_RATE)
    assert rates == pytest.approx([0.1, 1.0, 0.545, 0.09])


def test_the_baseline_never_looks_ahead():
    torch.manual_seed(0)
    model = train.build_model("cpu").eval()
    tokens = torch.randint(256, (4, 64))
    other = torch.cat([tokens[:, :40], torch.randint(256, (4, 24))], dim=1)
    with torch.no_grad():
        assert torch.equal(model(tokens)[:, :40], model(other)[:, :40])


def test_the_large_profile_is_gpt2_small():
    with torch.device("meta"):
        model = train.build_model("h100x8")
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_354_560
    large = train.PROFILES["h100x8"]
    assert large.batch * large.context == 262_144


# ---------------------------------------------------------------------------- scoring

SERVER = """
import sys, time
sys.path.insert(0, {folder!r})
import numpy as np
from array_frames import GREETING, read_frame, write_frame
write_frame(sys.stdout.buffer, GREETING)
table = np.random.default_rng(0).normal(0, 3, (256, 256)).astype("<f4")
while (tokens := read_frame(sys.stdin.buffer)) is not None:
    {answer}
"""


def server(tmp_path, answer):
    """A server that answers with one line of numpy."""
    path = tmp_path / "server.py"
    path.write_text(SERVER.format(folder=str(NANOGPT), answer=answer))
    return [sys.executable, str(path)]


@pytest.fixture
def few():
    """The cpu profile with a few rows and little patience."""
    return dataclasses.replace(
        evaluate.PROFILES["cpu"], hidden_rows=12, second_rows=4, batch=4, seconds=3
    )


@pytest.fixture
def shards(tmp_path):
    random = np.random.default_rng(1)
    for name in ("hidden", "second"):
        (tmp_path / name).mkdir()
        random.integers(0, 256, 4000, np.uint8).tofile(tmp_path / name / "000.bin")
    return {"hidden": tmp_path / "hidden", "second": tmp_path / "second"}


TOOK = ("starting_cpu_seconds", "answering_cpu_seconds")
HONEST = "write_frame(sys.stdout.buffer, {logits})"
UNIFORM = HONEST.format(logits="np.zeros((*tokens.shape, 256), '<f4')")
TABLE = HONEST.format(logits="table[tokens]")


def test_uniform_logits_score_the_logarithm_of_the_vocabulary(tmp_path, few, shards):
    result = evaluate.score(server(tmp_path, UNIFORM), **shards, profile=few)
    assert result["value"] == pytest.approx(math.log(256), abs=1e-12)
    took = {name: result["measures"].pop(name) for name in TOOK}
    assert 0 < took["starting_cpu_seconds"] < 3
    assert 0 <= took["answering_cpu_seconds"] < 3
    assert result["measures"] == {"second": pytest.approx(math.log(256)), "tokens": 12 * 64}
    assert result["blame"] is None
    said = {name: text.split(":")[0] for name, text in result["verdicts"].items()}
    assert said == {"finite": "passed", "causal": "not audited", "memorised": "passed"}


def test_losses_are_those_of_torch_cross_entropy(tmp_path, few, shards):
    rows = evaluate.read_rows(shards["hidden"], count=12, profile=few)
    order = evaluate.row_order(12, seed=evaluate.secret_seed())
    losses = evaluate.run_pass(
        server(tmp_path, TABLE), rows, order, profile=few, meter=evaluate.Meter()
    )
    table = np.random.default_rng(0).normal(0, 3, (256, 256)).astype("<f4")
    logits = torch.from_numpy(table[rows.inputs_N_T]).double().flatten(0, 1)
    targets = torch.from_numpy(rows.targets_N_T.astype(np.int64)).flatten()
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none").numpy()
    np.testing.assert_allclose(losses.ravel(), expected, atol=2e-6)


def test_no_scored_window_holds_the_target_of_another_one(shards, few):
    rows = evaluate.read_rows(shards["hidden"], count=12, profile=few)
    tokens = np.fromfile(shards["hidden"] / "000.bin", np.uint8)
    for number, (inputs, targets) in enumerate(zip(*rows, strict=True)):
        start = 2 * 64 * number
        assert inputs.tolist() == tokens[start : start + 64].tolist()
        assert targets.tolist() == tokens[start + 1 : start + 65].tolist()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("time.sleep(60)", "did not answer before the scoring deadline"),
        ("print('step 1 loss 0.0' * 99, flush=True)", "bytes, or none"),
        ("sys.stdout.buffer.write((8).to_bytes(8, 'little') + b'nonsense'); sys.exit()", "no .npy"),
        (HONEST.format(logits="table[tokens][:, :-1].copy()"), "expected <f4 (4, 64, 256)"),
        (HONEST.format(logits="np.zeros((4, 64, 255), '<f4')"), "expected <f4 (4, 64, 256)"),
        (HONEST.format(logits="table[tokens].astype('<f8')"), "expected <f4 (4, 64, 256)"),
        (HONEST.format(logits="table[tokens] + np.float32(np.nan)"), "logits are not finite"),
        (HONEST.format(logits="np.where(table[tokens] < 0, -np.inf, 1).astype('<f4')"), "finite"),
        ("sys.stdout.buffer.write(bytes(4)); sys.exit()", "ended with exit code 0"),
    ],
)
def test_a_bad_server_gives_no_value_and_the_blame(answer, reason, tmp_path, few, shards):
    result = evaluate.score(server(tmp_path, answer), **shards, profile=few)
    assert (result["value"], result["blame"]) == (None, "evaluate")
    assert reason in result["reason"]
    assert result["verdicts"] == {"finite": f"violated: {result['reason']}"}


def test_frames_come_back_as_they_went():
    for array in (np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((2, 1, 4), "<f4")):
        stream = io.BytesIO()
        array_frames.write_frame(stream, array)
        assert stream.getvalue() == array_frames.frame(array)
        stream.seek(0)
        back = array_frames.read_frame(stream)
        assert (back.dtype, back.tolist()) == (array.dtype, array.tolist())
        assert array_frames.read_frame(stream) is None


# ---------------------------------------------------------------------------- the whole of it


def by_hand(readme):
    """The copy-paste line of a README."""
    (line,) = re.findall(r"^python prepare\.py --profile cpu .*&&.*$", readme.read_text(), re.M)
    return line


@pytest.mark.trains
def test_the_command_by_hand_works_in_a_copied_folder_and_gives_the_same_score_again(short):
    line = by_hand(NANOGPT / "README.md")
    assert by_hand(ENVIRONMENTS / "README.md") == line
    done = subprocess.run(["sh", "-c", line], cwd=short, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((short / "result.json").read_text())
    assert 2.5 < result["value"] < 6
    assert json.loads(done.stdout[done.stdout.index("{") :]) == result
    os.remove(short / "result.json")
    again = subprocess.run(
        ["sh", "-c", line.split("&&")[2]], cwd=short, env=CLEAN, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    second = json.loads((short / "result.json").read_text())
    for each in (result, second):
        each["measures"] = {k: v for k, v in each["measures"].items() if k not in TOOK}
    assert second == result


@pytest.mark.trains
def test_a_trained_model_passes_the_audit_and_without_its_mask_it_does_not(short, data, tmp_path):
    options = ["--profile", "cpu", "--data", data / "train"]
    trained = ["--seed", 0, "--out", tmp_path / "out", "--budget-seconds", 60]
    assert run(short, "train.py", *options, *trained).returncode == 0
    leaky = tmp_path / "leaky"
    shutil.copytree(short, leaky)
    story = (leaky / "train.py").read_text()
    assert story.count("is_causal=True") == 1
    (leaky / "train.py").write_text(story.replace("is_causal=True", "is_causal=False"))
    options += ["--outputs", tmp_path / "out", "--hidden", data / "hidden", "--cuts", 512]
    options += ["--second", data / "second", "--result", tmp_path / "result.json", "--serve"]
    results = []
    for folder in (short, leaky):
        done = run(folder, "evaluate.py", *options, sys.executable, "serve.py")
        assert done.returncode == 0, done.stderr
        results.append(json.loads((tmp_path / "result.json").read_text()))
    honest, caught = results
    assert 2.5 < honest["value"] < 6
    assert honest["verdicts"]["causal"].startswith("passed: 2240 cuts in 1 pass")
    assert honest["measures"]["largest_deviation"] <= evaluate.PROFILES["cpu"].tolerance
    assert (caught["value"], caught["blame"]) == (None, "guard")
    assert caught["reason"].startswith("answers moved in ")


@pytest.mark.trains
def test_a_smoke_run_goes_all_the_way_in_seconds(tmp_path):
    data, out, result = tmp_path / "data", tmp_path / "out", tmp_path / "result.json"
    out.mkdir()
    smoke = ["--profile", "smoke"]
    train_options = ["--seed", 0, "--data", data / "train", "--out", out, "--budget-seconds", 60]
    score_options = ["--outputs", out, "--hidden", data / "hidden", "--second", data / "second"]
    for command in (
        ["prepare.py", *smoke, "--out", data],
        ["train.py", *smoke, *train_options],
        [
            "evaluate.py",
            *smoke,
            *score_options,
            "--result",
            result,
            "--serve",
            sys.executable,
            "serve.py",
        ],
    ):
        done = run(NANOGPT, *command)
        assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert 0 < found["value"] < math.log(256)
    assert found["measures"]["tokens"] == 64 * 64


def test_an_audit_without_the_training_shards_is_a_wrong_command(data, tmp_path):
    options = ["--profile", "cpu", "--outputs", tmp_path, "--hidden", data / "hidden"]
    options += ["--second", data / "second", "--result", tmp_path / "result.json", "--cuts", 512]
    refused = run(NANOGPT, "evaluate.py", *options, "--serve", sys.executable, "serve.py")
    assert (refused.returncode, "--cuts needs --data" in refused.stderr) == (2, True)


def test_every_key_of_the_manifest_is_documented_and_its_files_exist():
    manifest = tomllib.loads((NANOGPT / "pyproject.toml").read_text())["tool"]["varve"]
    contract = (ENVIRONMENTS / "README.md").read_text()
    profiles = manifest.pop("profiles")
    for key in {*manifest, *(key for profile in profiles.values() for key in profile)}:
        assert f"| `{key}` |" in contract
    for name in manifest["editable"] + manifest["scoring"]:
        assert (NANOGPT / name).is_file()
    assert profiles["smoke"]["masked"] == profiles["cpu"]["masked"]
    assert set(profiles) == set(train.PROFILES) == set(evaluate.PROFILES) == set(serve.DEVICES)


def test_the_readme_names_the_baseline_of_the_manifest():
    manifest = tomllib.loads((NANOGPT / "pyproject.toml").read_text())["tool"]["varve"]
    baseline = manifest["profiles"]["cpu"]["baseline"]
    row = "| {mean} | {sd} | {n} | {cpu_seconds} |".format(**baseline)
    assert row in (NANOGPT / "README.md").read_text()
