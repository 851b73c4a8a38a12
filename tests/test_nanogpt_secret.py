"""The profile `secret` of nanogpt: text that is drawn for one installation, and is no use to know.

That public text gains nothing there is tried with a table of counts (tests/redteam), which is asked
about hidden text with and without what a patch may know besides.
"""

import hashlib
import importlib.util
import json
import stat
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import accumulate, chain, islice, pairwise
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import PROJECT
from redteam import field
from redteam.corpus import FOLDER, read_item
from redteam.field import environment_called

NANOGPT = PROJECT / "environments" / "nanogpt"
PARTS = ("train", "hidden", "second")
SHAPES_BYTES = 500_000
"""Published code that lends its shapes."""
RUN_BYTES = 48
"""A row with so long a run of the training text is not scored."""
UNIT = environment_called("nanogpt").manifest.profiles["secret"].baseline.sd
"""One noise unit, nats."""


def prepare(out, profile="secret"):
    command = [sys.executable, "prepare.py", "--profile", profile, "--out", str(out)]
    subprocess.run(command, cwd=NANOGPT, check=True, capture_output=True)
    return {part: (out / part / "000.bin").read_bytes() for part in PARTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("secret")


@pytest.fixture(scope="module")
def text(folder):
    return prepare(folder / "data")


@pytest.fixture(scope="module")
def public(folder):
    return prepare(folder / "public", "cpu")


@pytest.fixture(scope="module")
def invented():
    spec = importlib.util.spec_from_file_location("invented", NANOGPT / "invented.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(shard, count):
    """Inputs and targets (N, T), as evaluate.py takes them."""
    tokens = np.frombuffer(shard, np.uint8)
    windows = tokens[128 * np.arange(count)[:, None] + np.arange(65)]
    return windows[:, :-1], windows[:, 1:]


def test_the_seed_is_kept_beside_the_data_for_its_owner_alone_and_gives_the_same_text(folder, text):
    seed = folder / "data.seed"
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    assert len(bytes.fromhex(seed.read_text())) == 32
    (folder / "again.seed").write_text(seed.read_text())
    assert prepare(folder / "again") == text
    records = [json.loads((folder / name / "data.json").read_text()) for name in ("data", "again")]
    assert records[0] == records[1]
    assert not any(seed.read_text().encode() in shard for shard in text.values())


def test_what_is_drawn_cannot_be_told_from_what_was_drawn_before(invented):
    draw = invented.draws("ab", "train")
    drawn = [draw() for _ in range(5000)]
    digest = hashlib.shake_256(b"ab train 1").digest(8)
    assert drawn[4096] == (int.from_bytes(digest, "little") >> 11) / 2**53
    assert invented.draws("ab", "held")() not in drawn
    assert 0.49 < sum(drawn) / len(drawn) < 0.51


@pytest.mark.parametrize("seed", ["", "00" * 31, "zz" * 32])
def test_a_seed_that_is_none_is_refused_and_kept(tmp_path, seed):
    (tmp_path / "data.seed").write_text(seed)
    command = [sys.executable, "prepare.py", "--profile", "secret", "--out", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=NANOGPT, capture_output=True, text=True)
    assert (done.returncode, "expected: 64 hexadecimal digits" in done.stderr) == (1, True)
    assert (tmp_path / "data.seed").read_text() == seed
    assert not (tmp_path / "data").exists()


def test_another_installation_has_other_words(folder, text):
    other = prepare(folder / "other")
    for part in PARTS:
        assert len(other[part]) == len(text[part])
    words = [set(shards["train"].lower().split()) for shards in (text, other)]
    hidden = set(other["hidden"].lower().split())
    assert len(hidden & words[0]) < 0.6 * len(hidden & words[1])


@pytest.mark.parametrize(("part", "count"), [("hidden", 2048), ("second", 512)])
def test_the_training_text_gives_no_scored_row_away(text, part, count):
    inputs, targets = rows(text[part], count)
    whole = np.concatenate([inputs, targets[:, -1:]], axis=1)
    asked = {
        row[start : start + RUN_BYTES]
        for row in map(bytes, whole)
        for start in range(len(row) - RUN_BYTES + 1)
    }
    train = text["train"]
    known = asked & {train[at : at + RUN_BYTES] for at in range(len(train) - RUN_BYTES + 1)}
    assert len(asked) > 10 * count
    assert not known


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """The patched train.py of the honest table of counts."""
    twin = read_item(FOLDER / "training-data" / "table-of-counts")
    story = field.tree_of(twin)["train.py"]
    module = ModuleType("counts")
    exec(compile(story, "train.py", "exec"), module.__dict__)
    return module


def loss(counts, given, hidden):
    """Nats a byte of a table of everything given, on every fourth scored row."""
    table = counts.Counts()
    table.fill(np.frombuffer(given, np.uint8))
    inputs, targets = (torch.from_numpy(part[::4].astype(np.int64)) for part in rows(hidden, 2048))
    logits = table(inputs)
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))


@pytest.mark.trains
def test_who_knows_the_published_text_by_heart_gains_on_it_and_not_on_the_secret_one(
    counts, text, public
):
    recited = 4 * public["hidden"]
    gains = {
        name: loss(counts, shards["train"], shards["hidden"])
        - loss(counts, shards["train"] + recited, shards["hidden"])
        for name, shards in {"cpu": public, "secret": text}.items()
    }
    assert gains["cpu"] > 10 * UNIT
    assert gains["secret"] < UNIT


def words_learned(invented, train, kept):
    """The words of the training text, with what it shows of how they follow each other."""
    seen = [word for word in map(bytes.lower, invented.WORD.findall(train)) if word not in kept]
    often, after = Counter(seen), defaultdict(Counter)
    for word, following in pairwise([*seen, seen[0]]):
        after[word][following] += 1
    successors = {word: [each for each, _ in after[word].most_common(8)] for word in often}
    return invented.Words(list(often), list(accumulate(often.values())), successors)


def first(pieces, size):
    """So many bytes of an endless text."""
    return bytes(islice(chain.from_iterable(pieces), size))


@pytest.mark.trains
def test_who_knows_the_published_shapes_gains_no_more_than_the_training_text_shows(
    counts, text, public, invented
):
    train, shapes = text["train"], public["train"][:SHAPES_BYTES]
    kept = invented.most_frequent(shapes)
    words = words_learned(invented, train, kept)
    found = []
    for source in (shapes, train):
        more = first(invented.written(source, kept, words, invented.draws("1", "x")), 2_000_000)
        found.append(loss(counts, train + more, text["hidden"]))
    knowing, learning = found
    assert learning - knowing < 2 * UNIT  # both are draws of 2 MB; seen: -0.001, 0.000 and 0.004
