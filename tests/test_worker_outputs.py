"""What a supervisor makes of what a job leaves: blame, harvest, and the report of evaluate.py."""

import io
import json
import struct

import pytest
from test_launchers import jobs, ridge_tree

from launchers.supervisor.formats import FormatError, check_format

__all__ = ["jobs"]

ANYTHING = {"*": {"max": 8, "bytes": 1000}}


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


GOOD = {
    "a.safetensors": safetensors({"w": tensor(), "__metadata__": {"step": "1"}}, bytes(8)),
    "b.safetensors": safetensors(
        {"v": tensor("BF16", (2, 2), (4, 12)), "w": tensor("U8", (4,), (0, 4))}, bytes(12)
    ),
    "c.npy": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }     \n", bytes(12)),
    "d.npy": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", bytes(8)),
    "e.json": b'{"a": [1, 2.5, null, "NaN"]}',
}
BAD = {
    "pickle.safetensors": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c",
    "short.safetensors": b"\x01",
    "huge-header.safetensors": struct.pack("<Q", 1 << 63) + b"{}",
    "cut.safetensors": safetensors({"w": tensor()}, bytes(7)),
    "trailing.safetensors": safetensors({"w": tensor()}, bytes(9)),
    "gap.safetensors": safetensors({"w": tensor(offsets=(4, 12))}, bytes(12)),
    "overlap.safetensors": safetensors({"v": tensor(), "w": tensor()}, bytes(8)),
    "type.safetensors": safetensors({"w": tensor("OBJECT")}, bytes(8)),
    "shape.safetensors": safetensors({"w": tensor(shape=(3,))}, bytes(8)),
    "negative.safetensors": safetensors({"w": tensor(shape=(-2,), offsets=(0, -8))}),
    "bool.safetensors": safetensors({"w": tensor("U8", (True,), (0, 1))}, bytes(1)),
    "extra.safetensors": safetensors({"w": tensor() | {"code": "x"}}, bytes(8)),
    "twice.safetensors": safetensors(b'{"w": 1, "w": 2}'),
    "list.safetensors": safetensors([1]),
    "metadata.safetensors": safetensors({"__metadata__": {"a": 1}}),
    "deep.safetensors": safetensors(b"[" * 100_000),
    "object.npy": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x04."),
    "code.npy": npy(b"{'descr': '<f4', 'fortran_order': f(), 'shape': (1,), }\n", bytes(4)),
    "length.npy": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }\n", bytes(4)),
    "magic.npy": b"PK\x03\x04" + bytes(40),
    "nan.json": b'{"a": NaN}',
    "infinity.json": b"[1e999]",
    "no.json": b"{",
    "bytes.json": b"\xff\xfe",
    "script.py": b"print()",
    "nosuffix": b"1",
    "weights.pt": b"\x80\x04.",
}


@pytest.mark.parametrize("name", GOOD)
def test_an_honest_file_passes(name):
    check_format(name, io.BytesIO(GOOD[name]), len(GOOD[name]))


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_what_its_suffix_says_is_refused(name):
    with pytest.raises(FormatError):
        check_format(name, io.BytesIO(BAD[name]), len(BAD[name]))


def test_numpy_and_safetensors_files_pass(tmp_path):
    numpy = pytest.importorskip("numpy")
    for array in (numpy.arange(6.0).reshape(2, 3), numpy.array(1), numpy.zeros((0, 4), "int8")):
        numpy.save(tmp_path / "x.npy", array)
        content = (tmp_path / "x.npy").read_bytes()
        assert check_format("x.npy", io.BytesIO(content), len(content)) == array.size
    library = pytest.importorskip("safetensors.numpy")
    content = library.save({"a": numpy.zeros((2, 3)), "b": numpy.ones(4, "float16")}, {"k": "v"})
    assert check_format("x.safetensors", io.BytesIO(content), len(content)) == 10
    assert check_format("x.json", io.BytesIO(b"[1, 2]"), 6) is None


def refused(jobs, train: str, outputs=None) -> dict:
    """The refusals of a job that leaves something odd, which is blamed on training."""
    result = jobs.run(train=train, outputs=outputs or ANYTHING)
    assert (result.status, result.blame) == ("failed", "train")
    return result.refused_outputs


def test_links_pipes_folders_and_large_files_are_refused_without_waiting(jobs):
    train = """
path = lambda name: os.path.join(OUT, name)
os.symlink("/etc/passwd", path("link.json"))
os.mkfifo(path("pipe.json"))
os.mkdir(path("folder.json"))
open(path("one.json"), "w").write("1")
os.link(path("one.json"), path("two.json"))
open(path("sparse.json"), "w").truncate(1 << 40)
open(path("pickle.safetensors"), "wb").write(b"\\x80\\x04." + bytes(20))
"""
    found = refused(jobs, train)
    assert set(found) == {
        *("link.json", "pipe.json", "folder.json", "one.json", "two.json", "sparse.json"),
        "pickle.safetensors",
    }
    assert "at most 1000" in found["sparse.json"]
    assert "2 names" in found["two.json"]
    assert list(jobs.path("out").iterdir()) == []


def test_what_was_not_declared_stays_behind(jobs):
    train = "leave(); leave('score.json'); leave('metrics.json')"
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert set(result.outputs) == {"weights.json"}
    assert result.refused_outputs == {
        "metrics.json": "not declared",
        "score.json": "not declared",
    }
    assert [path.name for path in jobs.path("out").iterdir()] == ["weights.json"]


def test_more_files_than_declared_are_refused(jobs):
    found = refused(jobs, "leave('a.json'); leave('b.json')", {"*.json": {"max": 1, "bytes": 99}})
    assert set(found) == {"a.json", "b.json"}


def test_a_million_names_are_not_looked_at(jobs):
    train = "for n in range(5000): open(os.path.join(OUT, str(n)), 'w')\nleave()"
    assert set(refused(jobs, train)) == {"*"}


def test_an_output_folder_that_is_swapped_for_a_link_gives_nothing(jobs):
    train = "leave(); os.rename(OUT, OUT + '2'); os.symlink('/etc', OUT)"
    result = jobs.run(train=train)
    assert set(result.outputs) == {"weights.json"}
    assert result.status == "finished"


def test_a_crash_of_training_is_blamed_on_it(jobs):
    result = jobs.run(train="print('so far'); raise ValueError('no such thing')")
    assert (result.status, result.blame, result.step("train").exit_code) == ("failed", "train", 1)
    assert "exited with code 1" in result.reason
    assert "no such thing" in result.log_tail
    assert result.evaluation is None


def test_a_training_that_ends_itself_by_a_signal_is_blamed_on_it(jobs):
    result = jobs.run(train="os.kill(os.getpid(), signal.SIGSEGV)")
    assert (result.blame, result.step("train").exit_code) == ("train", -11)
    assert "signal 11" in result.reason


def test_a_training_that_leaves_nothing_is_blamed_on_it(jobs):
    result = jobs.run(train="pass")
    assert (result.blame, result.step("train").exit_code) == ("train", 0)
    assert "no such output was left" in result.reason


def test_a_model_that_cannot_be_served_has_no_value(jobs):
    result = jobs.run(train="leave(weights=[1, 2])")
    assert result.status == "finished"
    files = {"model/features.py": b"def features(x):\n    raise RuntimeError('broken model')\n"}
    result = jobs.run("broken", train="leave()", files=files)
    assert (result.status, result.blame) == ("failed", "evaluate")
    assert result.reason == result.evaluation.reason
    assert result.evaluation.value is None
    assert "broken model" in jobs.path("score.txt", "broken").read_text()
    assert "broken model" not in result.log_tail


def test_answers_that_are_not_finite_have_no_value(jobs):
    files = {"model/features.py": b"def features(x):\n    return [float('nan')]\n"}
    result = jobs.run(train="leave()", files=files)
    assert (result.status, result.blame) == ("failed", "evaluate")
    assert "not finite" in result.reason


def test_a_report_too_good_to_be_true_is_carried_for_the_floor_to_judge(jobs):
    serve = ridge_tree()["serve.py"].replace(
        b"main() -> None:\n", b"main() -> None:\n    cheat()\n"
    )
    serve += b""
    cheat = b'''
def cheat():
    """Finds the hidden points, which level none does not hide."""
    import glob, json, os, sys
    from frames import read_frame, write_frame
    parent = open("/proc/%d/cmdline" % os.getppid()).read().split("\\0")
    known = {}
    for flag in ("--hidden", "--second"):
        folder = parent[parent.index(flag) + 1]
        known |= {tuple(x): y for x, y in json.load(open(folder + "/points.json"))}
    while (rows := read_frame(sys.stdin.buffer)) is not None:
        write_frame(sys.stdout.buffer, [[known[tuple(x)]] for x in rows])
    sys.exit(0)
'''
    serve = serve.replace(b"def main()", cheat + b"\n\ndef main()", 1)
    result = jobs.run(train="leave()", files={"serve.py": serve})
    assert (result.status, result.blame) == ("finished", None)
    assert result.evaluation.value == 1.0


@pytest.mark.parametrize(
    ("evaluate", "words"),
    [
        ("raise SystemExit(4)", "exited with code 4"),
        ("pass", "cannot read its result file"),
        ("report('{')", "cannot read its result file"),
        ("report('{\"value\": 1}')", "expected an object with"),
        ("report(GOOD.replace('1.5', 'NaN'))", "finite"),
        ("report(GOOD.replace('1.5', '\"1.5\"'))", "expected a number or null"),
        ("report(GOOD.replace('1.5', 'null'))", "expected a reason and blame"),
        ("report(GOOD.replace('{}', '{\"steps\": null}'))", "expected a"),
    ],
)
def test_a_broken_evaluator_is_our_own_fault(jobs, evaluate, words):
    start = """
import sys
GOOD = '{"metric": "m", "value": 1.5, "reason": null, "blame": null, '
GOOD += '"verdicts": {}, "measures": {}}'
def report(text):
    open(sys.argv[sys.argv.index("--result") + 1], "w").write(text)
"""
    result = jobs.run(train="leave()", files={"evaluate.py": (start + evaluate).encode()})
    assert (result.status, result.blame) == ("failed", "infrastructure")
    assert words in result.reason


def test_scoring_has_a_deadline_of_its_own(jobs):
    files = {"model/features.py": b"import time\ndef features(x):\n    time.sleep(60)\n"}
    result = jobs.run(train="leave()", files=files, score_seconds=0.4)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert result.wall_seconds("score") < 1.4


def test_what_training_does_to_its_own_code_does_not_reach_scoring(jobs):
    train = """
here = os.path.dirname(os.path.abspath(__file__))
open(os.path.join(here, "evaluate.py"), "w").write("raise SystemExit(9)")
open(os.path.join(here, "json.py"), "w").write("raise SystemExit(9)")
os.chmod(here, 0o500)
leave()
"""
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert not jobs.path("env/json.py").exists()
    assert jobs.path("env/evaluate.py").read_bytes() == ridge_tree()["evaluate.py"]


def test_what_training_lays_into_the_harvest_folder_is_gone(jobs):
    train = """
harvest = os.path.join(OUT, "..", "..", "out")
open(os.path.join(harvest, "weights.json"), "w").write("{}")
open(os.path.join(harvest, "more.json"), "w").write("{}")
leave()
"""
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert [path.name for path in jobs.path("out").iterdir()] == ["weights.json"]


def test_folders_too_deep_for_a_path_are_cleaned_up(jobs):
    train = """
os.chdir(OUT)
for _ in range(1200):
    os.mkdir("deep")
    os.chdir("deep")
"""
    assert jobs.run(train=train).blame == "train"
    assert not jobs.path("work").exists()


def test_another_tree_than_asked_for_is_not_trained(jobs):
    result = jobs.run(train="leave()", tree="0" * 64)
    assert (result.status, result.blame) == ("failed", "setup")
    assert "expected " + "0" * 64 in result.reason
    assert result.wall_seconds("train") is None
    assert result.steps == ()


@pytest.mark.parametrize(
    ("change", "python", "words"),
    [
        ({"data": "nowhere"}, None, "hidden/"),
        ({"data": "nowhere"}, None, "by-hash/nowhere; prepare the environment's data again"),
        ({}, "/nowhere/python", "/nowhere/python not found"),
        ({"sandbox": "moat"}, None, "level 'moat'"),
        ({"files": {"serve.py": b""}, "frozen": ("evaluate.py", "gone.py")}, None, "gone.py"),
        ({"frozen": ("serve.py",)}, None, "evaluate.py not found"),
    ],
)
def test_what_is_missing_before_training_is_blamed_on_setup(jobs, change, python, words):
    jobs.launcher.python = python
    result = jobs.run(**change)
    assert (result.status, result.blame) == ("failed", "setup")
    assert words in result.reason
    assert result.sandbox_level == "none"
