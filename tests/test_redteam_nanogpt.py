"""The attacks that need a language model: leaks, texts learnt by heart, logits, compute.

Each trains a few steps, so that a job is mostly imports of torch. They run behind bubblewrap, and
without a wall where that is what shows the attack to be real.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from redteam import accounts, field
from redteam.corpus import read_corpus, twin_of
from redteam.search import __file__ as SEARCH
from redteam.world import MYSELF

from launchers.sandbox.view import View
from launchers.sandbox.walls import WALLS

pytestmark = pytest.mark.trains

RUNS = [
    pytest.param(item, level, id=f"{item.id}-{level}")
    for item in read_corpus()
    if item.environment == "nanogpt" and item.answer is not None
    for level in item.levels
]
PIECE_BYTES = 40
TRIES = 3
"""Times that an attack with a least gain is run: some rest on the time that the kernel takes. It is
to be stopped every time, and to have gained once."""
ALIKE = 0.15
"""Part of the pieces that stand in other files of torch too: licences, imports, idioms (0.10)."""


@pytest.mark.parametrize(("item", "level"), RUNS)
def test_what_comes_of_it(item, level):
    works, said = accounts.finding(level, MYSELF)
    assert works, f"level {level} does not work: {said}"
    if item.honest:
        seen = field.observe_twin(item, level, MYSELF)
        assert seen.verdict == "full-score", f"{item.summary}\n{seen}"
        return
    gained = []
    for _ in range(TRIES):
        seen = field.run_item(item, level)
        assert seen.verdict == item.verdict[level], f"{item.summary}\n{seen}"
        if item.gain is None:
            return
        honest = field.observe_twin(twin_of(item), "bwrap", MYSELF)
        gained.append(_second(honest) - _second(seen))
        if gained[-1] >= item.gain:
            return
    raise AssertionError(f"the scored pass gained only {gained} nats\n{seen}")


def _second(seen: field.Observation) -> float:
    """The loss of the scored pass on the second text, which stands there without a value too."""
    return seen.result.evaluation.measures["second"]


@pytest.fixture(scope="module", params=["cpu", "secret"])
def profile(request):
    return request.param


@pytest.fixture(scope="module")
def pieces(tmp_path_factory, profile):
    """A folder with the search and with what it searches for: both hidden texts in pieces."""
    folder = tmp_path_factory.mktemp("pieces")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    shutil.copy(SEARCH, folder / "search.py")
    texts = [
        np.fromfile(field.nanogpt_data(profile) / name / "000.bin", np.uint8)
        for name in ("hidden", "second")
    ]
    rows = [
        text[: len(text) // PIECE_BYTES * PIECE_BYTES].reshape(-1, PIECE_BYTES) for text in texts
    ]
    np.save(folder / "pieces.npy", np.concatenate(rows))
    return folder


def view_of(folder, tmp_path, profile):
    """What a job of a profile sees that has the training text, and a folder of a test."""
    return View(
        python=sys.executable,
        folder=str(folder),
        readable={"data": str(field.nanogpt_data(profile) / "train")},
        work=None,
        wall=str(tmp_path / "wall"),
        lock=None,
        masked=field.environment_called("nanogpt").manifest.profiles[profile].masked,
        out_bytes=0,
        scratch_bytes=1 << 20,
        processes=64,
        gpus=(),
        environment={"PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
def test_the_hidden_text_lies_nowhere_in_sight(level, profile, pieces, tmp_path):
    works, said = accounts.finding(level, MYSELF)
    if not works and level == "landlock":
        pytest.skip(f"level landlock does not work here: {said}")
    assert works, f"level {level} does not work: {said}"
    view = view_of(pieces, tmp_path, profile)
    wall = WALLS[level]
    wall.prepare(view)
    where = {
        "cpu": os.path.dirname(np.__file__) + "/../torch",
        "secret": str(field.nanogpt_data("secret")),
    }
    looked = [where[profile]] if level == "none" else []
    command = wall.command(view, [sys.executable, "search.py", "pieces.npy", *looked])
    done = subprocess.run(
        command, capture_output=True, text=True, env=dict(view.environment), check=False
    )
    assert done.returncode == 0, done.stderr
    found = float(done.stdout.split()[0])
    if level == "none":
        assert found > 0.95, done.stdout
    else:
        assert found < ALIKE, done.stdout


@pytest.mark.parametrize("level", ["landlock", "bwrap"])
def test_the_seed_of_the_secret_text_is_out_of_reach(level, tmp_path):
    works, said = accounts.finding(level, MYSELF)
    if not works and level == "landlock":
        pytest.skip(f"level landlock does not work here: {said}")
    data, folder = field.nanogpt_data("secret"), tmp_path / "folder"
    folder.mkdir()
    view = view_of(folder, tmp_path, "secret")
    wall = WALLS[level]
    wall.prepare(view)
    for path, readable in (
        (wall.path(view, "data") + "/000.bin", True),
        (f"{data}.seed", False),
        (f"{data}/hidden/000.bin", False),
        (f"{data}/data.json", False),
    ):
        look = f"import sys; sys.exit(len(open({path!r}, 'rb').read()) == 0)"
        command = wall.command(view, [sys.executable, "-c", look])
        done = subprocess.run(command, capture_output=True, env=dict(view.environment), check=False)
        assert (done.returncode == 0) == readable, (path, done.stderr)
