"""Prepared data: made once, whole, or it is said what `prepare.py` did instead."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import PROJECT

from assets.config.data import PreparedData, prepare_data
from assets.config.environment import read_environment
from assets.errors import ManifestError

RIDGE = PROJECT / "tests/environments/ridge"


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(RIDGE, tmp_path / "ridge")


def prepared(folder: Path) -> PreparedData:
    return prepare_data(read_environment(folder), "cpu", folder=folder.parent / "data")


def add(folder: Path, lines: str) -> None:
    """Lines that prepare.py runs when it has laid down its data in `out`."""
    path = folder / "prepare.py"
    end = f"out = Path(sys.argv[-1])\n{lines}\n"
    path.write_text(f"import sys, time, shutil\n{path.read_text()}{end}")


def test_data_are_made_once_and_again_where_a_file_is_gone(folder):
    count = folder.parent / "count"
    add(folder, f"open({str(count)!r}, 'a').write('x')")
    first, second = prepared(folder), prepared(folder)
    assert (first, count.read_text()) == (second, "x")
    (first.path / "hidden/points.json").unlink()
    assert (prepared(folder), count.read_text()) == (first, "xx")
    assert (first.path / "hidden/points.json").is_file()


@pytest.mark.parametrize("wreck", ["[]", "{}", '{"files": 3}', '{"files": {}}', "{oops", "\xff"])
def test_damaged_data_are_made_again(folder, wreck):
    first = prepared(folder)
    (first.path / "data.json").write_bytes(wreck.encode("latin-1"))
    assert prepared(folder) == first
    assert json.loads((first.path / "data.json").read_text())["files"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("sys.exit('no network')", r"found exit code 1\. It said:\nno network"),
        ("sys.exit(3)", r"found exit code 3\. It said:\nnothing"),
        ("(out / 'data.json').unlink()", "found no data.json"),
        ("(out / 'data.json').write_text('{oops')", r"found a data\.json that is no JSON"),
        ("(out / 'data.json').write_text('{}')", "found a data.json without `files`"),
        ("(out / 'data.json').write_text('[]')", "found a data.json without `files`"),
        ("shutil.rmtree(out / 'second')", r"found no second/points\.json, which data\.json names"),
    ],
)
def test_a_prepare_that_leaves_no_whole_data_is_named_with_what_it_left(folder, lines, said):
    add(folder, lines)
    with pytest.raises(ManifestError, match=said) as caught:
        prepared(folder)
    assert f"{folder / 'prepare.py'}: expected data in " in str(caught.value)


def test_a_prepare_that_does_not_end_is_ended(folder, monkeypatch):
    monkeypatch.setattr("assets.config.preparing.PREPARE_SECONDS", 0.5)
    add(folder, "time.sleep(60)")
    with pytest.raises(ManifestError, match=r"expected data in .*still at work after 0\.5 s"):
        prepared(folder)
