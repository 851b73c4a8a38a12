"""Other lists of steps than train, harvest, score; and lists that make no sense."""

import json
from dataclasses import replace

import pytest
from specs import WEIGHTS, score, train, usual_steps
from test_launchers import Jobs, jobs

from launchers import Grade, Harvest, Run, Take

__all__ = ["jobs"]

WEIGH = """
import json, os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(os.path.join(given["--outputs"], "weights.json")) as file:
    weights = json.load(file)["weights"]
print("weighed in", sorted(os.listdir()), "train.py" in os.listdir("."))
report = {"metric": "sum", "value": sum(weights), "reason": None, "blame": None}
report |= {"verdicts": {}, "measures": {"count": len(weights)}}
with open(given["--result"], "w") as file:
    json.dump(report, file)
"""
"""A grader of weights whose architecture is fixed: it reads them itself."""
MORE = """
import argparse, json, os
parser = argparse.ArgumentParser()
for name in ("before", "out"):
    parser.add_argument("--" + name)
args = parser.parse_args()
with open(os.path.join(args.before, "weights.json")) as file:
    weights = json.load(file)["weights"]
with open(os.path.join(args.out, "weights.json"), "w") as file:
    json.dump({"weights": [2 * one for one in weights]}, file)
"""
"""Goes on from what was harvested before."""


def weigh(name: str = "weigh", **changes) -> Grade:
    command = ("weigh.py", "--outputs", "{outputs}", "--result", "{report}")
    grade = Grade(name=name, command=command, mounts={"outputs": "outputs"}, wall_seconds=15.0)
    return replace(grade, **changes)


def more(name: str = "more") -> Run:
    command = ("model/more.py", "--before", "{weights}", "--out", "{out}")
    return Run(name=name, command=command, mounts={"weights": "outputs"}, wall_seconds=15.0)


FILES = {"weigh.py": WEIGH.encode(), "model/more.py": MORE.encode()}
HARVEST = Harvest(outputs=WEIGHTS)
LEAVE = "leave(weights=(1, 2, 3))"


def run(jobs, *steps, run_id="job", files=None, body=LEAVE, **changes):
    return jobs.run(run_id, train=body, files=FILES | (files or {}), steps=steps, **changes)


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
def test_weights_are_graded_without_a_server(jobs, level):
    result = run(jobs, train(), HARVEST, weigh(), sandbox=level)
    assert (result.status, result.reason) == ("finished", None)
    assert result.evaluation.value == 6
    assert result.evaluation.measures == {"count": 3}
    assert [step.name for step in result.steps] == ["train", "weigh"]
    printed = jobs.path("score.txt").read_text()
    assert "'weigh.py'" in printed
    assert printed.endswith("False\n"), "a file that a patch may change lies beside the grader"


def test_a_grade_without_a_server_starts_no_untrusted_code(jobs, tmp_path):
    """Whatever the tree would do if it were imported or served, nobody does."""
    touched = tmp_path / "touched"
    trap = f"open({str(touched)!r}, 'w'); raise SystemExit(9)".encode()
    files = {"serve.py": trap, "model/features.py": trap, "model/json.py": trap}
    result = run(jobs, train(), HARVEST, weigh(), files=files, frozen=("weigh.py",))
    assert (result.status, result.evaluation.value) == ("finished", 6)
    assert jobs.events() == ["started", "trained", "harvested", "scored", "finished"]
    assert not touched.exists()


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
def test_no_path_of_the_worker_is_taken_for_a_name(tmp_path, level):
    odd = Jobs(tmp_path / "a {data} 'b' {x}" / "runs")
    result = odd.run(sandbox=level)
    assert (result.status, result.reason) == ("finished", None)


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
def test_training_goes_on_from_what_was_measured_between(jobs, level):
    steps = (train(), HARVEST, weigh("first"), more(), HARVEST, weigh("second"))
    result = run(jobs, *steps, sandbox=level)
    assert (result.status, result.reason) == ("finished", None)
    assert {name: one.value for name, one in result.evaluations.items()} == {
        "first": 6,
        "second": 12,
    }
    assert result.evaluation.value == 12
    assert [step.name for step in result.steps] == ["train", "first", "more", "second"]
    assert json.loads(jobs.path("out/weights.json").read_text())["weights"] == [2, 4, 6]
    assert set(result.outputs) == {"weights.json"}
    twice = ["trained", "harvested", "scored"] * 2
    assert jobs.events() == ["started", *twice, "finished"]


def test_outputs_of_several_harvests_add_up(jobs):
    notes = Run(
        name="notes",
        command=("model/notes.py", "{out}"),
        mounts={},
        wall_seconds=15.0,
    )
    files = {
        "model/notes.py": b"import sys\n"
        b"for name in ('notes', 'weights'): open(sys.argv[1] + f'/{name}.json', 'w').write('1')\n"
    }
    take = Harvest(outputs={"notes.json": {"max": 1, "bytes": 10}})
    result = run(jobs, train(), HARVEST, notes, take, weigh(), files=files)
    assert (result.status, result.evaluation.value) == ("finished", 6)
    assert set(result.outputs) == {"weights.json", "notes.json"}
    assert result.refused_outputs == {"weights.json": "not declared"}


def test_a_job_may_learn_without_a_score(jobs):
    result = run(jobs, train(), HARVEST)
    assert (result.status, result.evaluation) == ("finished", None)
    assert set(result.outputs) == {"weights.json"}
    assert jobs.events() == ["started", "trained", "harvested", "finished"]
    assert jobs.launcher.keeps_outputs("job")


def test_the_job_fails_at_the_first_step_that_fails(jobs):
    broken = {"weigh.py": b"raise SystemExit(4)"}
    result = run(jobs, train(), HARVEST, weigh(), more(), HARVEST, weigh("second"), files=broken)
    assert (result.status, result.blame) == ("failed", "infrastructure")
    assert result.reason == "weigh.py: exited with code 4"
    assert [step.name for step in result.steps] == ["train", "weigh"]
    assert result.evaluations == {}


def test_a_refused_value_between_ends_the_job_and_stays_in_its_result(jobs):
    report = (
        b'import sys; open(sys.argv[4], "w").write(\'{"metric": "m", "value": null, '
        b'"reason": "too good", "blame": "guard", "verdicts": {}, "measures": {"n": 1}}\')'
    )
    result = run(jobs, train(), HARVEST, weigh(), more(), HARVEST, files={"weigh.py": report})
    assert (result.status, result.blame, result.reason) == ("failed", "guard", "too good")
    assert result.evaluation.measures == {"n": 1}
    assert result.step("more") is None


@pytest.mark.parametrize(
    ("body", "seconds", "blame", "words"),
    [
        ("pass", 15.0, None, None),
        ("raise SystemExit(3)", 15.0, "train", "train.py: exited with code 3"),
        ("time.sleep(60)", 0.4, "timeout", "killed at its budget of 0.4 s"),
    ],
)
def test_a_run_that_nobody_harvests_is_judged_by_its_end(jobs, body, seconds, blame, words):
    result = run(jobs, train(seconds=seconds), body=body)
    assert result.blame == blame, result.reason
    assert words is None or words in result.reason


def test_a_grader_that_hangs_alone_is_no_fault_of_the_idea(jobs):
    hangs = {"weigh.py": b"import time; time.sleep(60)"}
    result = run(jobs, train(), HARVEST, weigh(wall_seconds=0.4), files=hangs)
    assert (result.blame, result.step("weigh").ending) == ("infrastructure", "deadline")


def test_kept_outputs_are_graded_again_without_training(jobs):
    first = run(jobs, train(), HARVEST, run_id="first")
    hashes = {name: one.sha256 for name, one in first.outputs.items()}
    take = Take(run_id="first", outputs=WEIGHTS, hashes=hashes)
    result = run(jobs, take, weigh(), run_id="again")
    assert (result.status, result.evaluation.value) == ("finished", 6)
    assert [step.name for step in result.steps] == ["weigh"]
    jobs.launcher.release("first", keep_outputs=False)
    assert not jobs.launcher.keeps_outputs("first")
    gone = run(jobs, take, weigh(), run_id="gone")
    assert (gone.blame, gone.steps) == ("infrastructure", ())
    assert "the outputs are gone" in gone.reason


def test_the_same_run_may_be_told_of_no_data_at_all(jobs):
    words = ("train.py", "--out", "{out}")
    bare = Run(name="bare", command=words, mounts={}, wall_seconds=15.0)
    assert run(jobs, bare, HARVEST, weigh(), data="nowhere").status == "finished"


GRADE = score()
NONSENSE = [
    ((train(), train(), HARVEST), "two steps called 'train'"),
    ((HARVEST, weigh()), "a harvest that follows no run"),
    ((train(), HARVEST, HARVEST), "a harvest that follows no run"),
    ((replace(train(), command=("train.py", "{nowhere}")), HARVEST), "{nowhere}"),
    ((replace(train(), command=("train.py", "{report}")), HARVEST), "{report}"),
    ((replace(train(), command=()), HARVEST), "no command"),
    ((replace(train(), command=("missing.py",)), HARVEST), "missing.py not found"),
    ((replace(train(), mounts={"data": "data/../hidden"}), HARVEST), "'data/../hidden'"),
    ((replace(train(), mounts={"data": "/etc"}), HARVEST), "'/etc'"),
    ((replace(train(), mounts={"data": "data/none"}), HARVEST), "data/none/ not found"),
    ((replace(train(), mounts={"data": "data", "out": "data"}), HARVEST), "called 'out'"),
    ((train(), HARVEST, replace(GRADE, server=None)), "{server.checkpoint}"),
    ((train(), HARVEST, replace(GRADE, command=GRADE.command[:-1])), "expected {server} once"),
    ((train(), HARVEST, weigh(command=("weigh.py", "x{server}"))), "found {server} in"),
    (
        (
            train(),
            HARVEST,
            replace(GRADE, server=replace(GRADE.server, command=("serve.py", "{x}"))),
        ),
        "server of score: found {x}",
    ),
    ((train(), HARVEST, weigh(command=("train.py", "{report}"))), "train.py not found"),
    ((Take(run_id="../x", outputs=WEIGHTS, hashes={}), weigh()), "'../x'"),
]


@pytest.mark.parametrize(("steps", "words"), NONSENSE, ids=[words for _, words in NONSENSE])
def test_a_list_that_makes_no_sense_is_blamed_on_setup(jobs, steps, words):
    result = run(jobs, *steps)
    assert (result.status, result.blame, result.steps) == ("failed", "setup", ())
    assert words in result.reason


def test_a_job_is_found_by_its_work_and_not_by_its_limits(jobs):
    steps = usual_steps()
    spec, files = jobs.job("first", steps=steps)
    jobs.launcher.submit(spec, files)
    assert jobs.wait("first").status == "finished"
    longer = (replace(steps[0], wall_seconds=99.0, cpu_seconds=9.0), steps[1])
    same = jobs.job("other", steps=(*longer, replace(steps[2], wall_seconds=99.0)))[0]
    assert jobs.launcher.find(same) == "first"
    for other in (
        replace(same, steps=longer),
        replace(same, steps=usual_steps(cuts=3)),
        replace(same, steps=usual_steps(outputs={"*.json": {"max": 1, "bytes": 9}})),
        replace(same, data="other"),
        replace(same, tree="0" * 64),
        replace(same, run_key="other"),
        replace(same, sandbox="landlock"),
    ):
        assert jobs.launcher.find(other) is None
