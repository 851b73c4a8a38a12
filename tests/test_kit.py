"""environments/kit: its copies are equal, decide the score, and cannot be hidden by a patch."""

import shutil
import subprocess
import sys

import pytest
from conftest import PROJECT
from test_rooms import ENVIRONMENTS, imported_roots

from assets.config.environment import read_environment
from assets.diffs.paths import check_path
from assets.errors import PatchError

KIT = PROJECT / "environments" / "kit"
NANOGPT = PROJECT / "environments" / "nanogpt"
NAMES = sorted(path.name for path in KIT.glob("*.py"))
COPIES = [
    pytest.param(folder, name, id=f"{folder.name}-{name}")
    for folder in ENVIRONMENTS
    for name in NAMES
    if (folder / name).exists()
]


@pytest.mark.parametrize(("folder", "name"), COPIES)
def test_a_copy_of_a_kit_file_is_equal_to_it(folder, name):
    copy = (folder / name).relative_to(PROJECT)
    assert (folder / name).read_bytes() == (KIT / name).read_bytes(), (
        f"{copy} differs from the kit's file; expected the same bytes. Make the change in the kit, "
        f"then: cp environments/kit/{name} {copy}"
    )


@pytest.mark.parametrize(("folder", "name"), COPIES)
def test_a_copy_decides_the_score_and_has_with_it_what_it_imports(folder, name):
    environment = read_environment(folder)
    assert name in environment.manifest.scoring
    kin = {f"{root}.py" for root in imported_roots((folder / name).read_text())} & set(NAMES)
    assert kin <= set(environment.files)


def test_one_environment_takes_everything_and_one_does_without():
    taken = {
        folder.name: sum((folder / name).exists() for name in NAMES) for folder in ENVIRONMENTS
    }
    assert taken["nanogpt"] == len(NAMES) > 0
    assert taken["ridge"] == 0


def test_the_kit_describes_each_of_its_files():
    described = (KIT / "README.md").read_text()
    for name in NAMES:
        assert f"| `{name}` |" in described


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """An environment with the kit in which a patch may make new files in any folder."""
    folder = shutil.copytree(NANOGPT, tmp_path_factory.mktemp("wide") / "nanogpt")
    (folder / "model").mkdir()
    (folder / "model" / "net.py").write_text("")
    manifest = folder / "pyproject.toml"
    before = 'editable = ["train.py"]'
    text = manifest.read_text()
    assert text.count(before) == 1
    manifest.write_text(text.replace(before, 'editable = ["train.py", "*/*.py"]'))
    return read_environment(folder)


@pytest.mark.parametrize("name", NAMES)
def test_no_patch_hides_a_kit_file_from_import(name, wide):
    stem = name.removesuffix(".py")
    check_path("model/other.py", wide)  # the control: new files are allowed here
    for path, said in (
        (name, "decides the score"),
        (name.upper(), "upper and lower case"),
        (f"{stem}/__init__.py", f"would hide {name}"),
        (f"{stem}/deep.py", f"would hide {name}"),
        (f"{stem.upper()}/__init__.py", f"would hide {name}"),
    ):
        with pytest.raises(PatchError, match=said):
            check_path(path, wide)


def test_the_evaluator_starts_beside_the_frozen_files_alone(tmp_path):
    environment = read_environment(NANOGPT)
    for path in environment.frozen:
        (tmp_path / path).write_bytes(environment.files[path])
    assert not (tmp_path / "train.py").exists()
    command = [sys.executable, "evaluate.py", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
