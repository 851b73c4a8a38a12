"""The catalog of nanogpt: every idea is a patch that trains, every pair combines or says not."""

import ast
import dataclasses
import importlib.util
import itertools
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

ROOT = Path(__file__).parent.parent
CATALOG = tomllib.loads((ROOT / "environments/nanogpt/catalog.toml").read_text())
IDEAS = {idea["name"]: idea for idea in CATALOG["ideas"]}
STORY = (ROOT / "environments/nanogpt/train.py").read_text()

ALTERNATIVES = [
    {"lr-double", "lr-quadruple", "lr-huge", "lr-tiny"},
    {"constant-lr", "cosine-decay", "stable-then-decay"},
    {"rope", "no-positions"},
    {"relu-squared", "swiglu"},
    {"layer-norm", "norm-gain"},
    {"small-embedding-init", "large-embedding-init"},
    {"no-attention-divisor", "depth-divisor"},
    {"parallel-blocks", "post-norm"},
    {"label-smoothing", "z-loss"},
    {"no-weight-decay", "strong-weight-decay"},
    {"no-clip", "tight-clip"},
    {"small-batch", "large-batch"},
]
"""Ideas that touch the same place, so that at most one of each set can stand in a patch."""

TYPICAL = ["lr-double", "rope", "qk-norm", "zero-init", "muon", "token-shift"]


def apply(names):
    """train.py with the edits of these ideas in catalog order, or None where one does not fit."""
    story = STORY
    for edit in (edit for name in IDEAS if name in names for edit in IDEAS[name]["edits"]):
        if story.count(edit["search"]) != 1:
            return None
        story = story.replace(edit["search"], edit["replace"])
    return story


def steps(story):
    """STEPS as the patched file leaves it."""
    lines = [line for line in story.splitlines() if line.startswith("STEPS = ")]
    scope = {}
    exec("\n".join(lines), scope)
    return scope["STEPS"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tofile(folder / "000.bin")
    return folder


def train_two_steps(story, folder, shards):
    """Logits of the model that two steps of the patched file leave, loaded as serve.py loads it."""
    path = folder / "train.py"
    path.write_text(story)
    spec = importlib.util.spec_from_file_location("patched_train", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["patched_train"] = module
    spec.loader.exec_module(module)
    module.PROFILES["cpu"] = dataclasses.replace(module.PROFILES["cpu"], steps=2)
    module.train("cpu", seed=0, data=shards, out=folder / "out", budget_seconds=60)
    model = module.build_model("cpu").eval()
    safetensors_torch.load_model(model, str(folder / "out" / "model.safetensors"))
    with torch.no_grad():
        return model(torch.arange(128).view(2, 64))


def test_ideas_are_many_and_say_what_they_are():
    assert len(IDEAS) == len(CATALOG["ideas"]) >= 20
    for idea in IDEAS.values():
        assert set(idea) == {"name", "title", "text", "edits"}
        assert 2 <= idea["text"].count(". ") + 1 <= 5, idea["name"]
        assert len(idea["title"]) <= 50
        assert {edit["file"] for edit in idea["edits"]} == {"train.py"}


@pytest.mark.parametrize("name", IDEAS)
def test_every_idea_applies_trains_and_stays_causal_in_shape(name, tmp_path, shards):
    story = apply({name})
    assert story is not None
    logits = train_two_steps(story, tmp_path, shards)
    assert logits.shape == (2, 64, 256)
    assert torch.isfinite(logits).all()


def test_every_pair_combines_unless_it_is_declared_an_alternative():
    stories = {frozenset(pair): apply(pair) for pair in itertools.combinations(IDEAS, 2)}
    for story in [story for story in stories.values() if story is not None][::7]:
        ast.parse(story)
    refused = {pair for pair, story in stories.items() if story is None}
    declared = (itertools.combinations(names, 2) for names in ALTERNATIVES)
    assert refused == {frozenset(pair) for pairs in declared for pair in pairs}


@pytest.mark.parametrize("number", range(24))
def test_a_sample_of_pairs_trains(number, tmp_path, shards):
    pairs = [pair for pair in itertools.combinations(IDEAS, 2) if {*pair} not in refused_pairs()]
    story = apply(pairs[(number * 211) % len(pairs)])
    assert torch.isfinite(train_two_steps(story, tmp_path, shards)).all()


def refused_pairs():
    return [{*pair} for names in ALTERNATIVES for pair in itertools.combinations(names, 2)]


def test_ideas_of_all_places_at_once_train(tmp_path, shards):
    every = {name for name in IDEAS if not any(name in names for names in ALTERNATIVES)}
    chosen = every | {min(names) for names in ALTERNATIVES}
    assert torch.isfinite(train_two_steps(apply(chosen), tmp_path, shards)).all()


def test_costs_of_ideas_multiply_into_fewer_steps():
    story = apply(TYPICAL)
    assert story is not None
    alone = [steps(apply([name])) / steps(STORY) for name in TYPICAL]
    assert steps(story) == pytest.approx(steps(STORY) * np.prod(alone), abs=len(TYPICAL))
    assert steps(story) < steps(STORY)


def test_the_readme_has_a_measured_row_for_every_idea():
    table = (ROOT / "environments/nanogpt/README.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    for name, idea in IDEAS.items():
        assert [line for line in rows if line.startswith(f"| {idea['title']} | `{name}` |")], name
