"""What travels as text: specifications, places and results survive it, broken ones are refused."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specs import usual_spec

from launchers import (
    Evaluation,
    Grade,
    Harvest,
    JobResult,
    JobSpec,
    JobState,
    Output,
    Place,
    ResultError,
    Run,
    Server,
    StepResult,
    Take,
)
from launchers.folder import read_result
from launchers.job import JobPhase
from launchers.plain import read, to_plain
from launchers.steps import Step

TEXTS = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
COUNTS = st.integers(0, 2**40)


def built(cls: type, **fields: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries(fields).map(lambda values: cls(**values))


def tuples(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(inner, max_size=3).map(tuple)


def mappings(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.dictionaries(TEXTS, inner, max_size=3)


MOUNTS = mappings(TEXTS)
OUTPUTS = mappings(st.fixed_dictionaries({"max": COUNTS, "bytes": COUNTS}))
SERVERS = built(Server, command=tuples(TEXTS), mounts=MOUNTS)
PROGRAM = {"name": TEXTS, "command": tuples(TEXTS), "mounts": MOUNTS, "wall_seconds": NUMBERS}
STEPS = st.one_of(
    built(Run, **PROGRAM, cpu_seconds=st.none() | NUMBERS),
    built(Harvest, outputs=OUTPUTS),
    built(Take, run_id=TEXTS, outputs=OUTPUTS, hashes=mappings(TEXTS)),
    built(Grade, **PROGRAM, server=st.none() | SERVERS),
)
SPECS = built(
    JobSpec,
    **dict.fromkeys(("run_id", "run_key", "tree", "data", "python", "sandbox"), TEXTS),
    **dict.fromkeys(("threads", "memory_bytes", "scratch_bytes", "processes", "log_bytes"), COUNTS),
    steps=tuples(STEPS),
    frozen=tuples(TEXTS),
    masked=tuples(TEXTS),
    accelerators=st.none() | TEXTS,
)
EVALUATIONS = built(
    Evaluation,
    metric=TEXTS,
    value=st.none() | NUMBERS,
    blame=st.none() | TEXTS,
    reason=st.none() | TEXTS,
    verdicts=mappings(TEXTS),
    measures=mappings(NUMBERS),
)
RESULTS = built(
    JobResult,
    **dict.fromkeys(("run_id", "run_key", "sandbox_level", "hardware", "log_tail"), TEXTS),
    status=st.sampled_from(["finished", "failed", "cancelled"]),
    blame=st.none() | TEXTS,
    reason=st.none() | TEXTS,
    steps=tuples(
        built(
            StepResult,
            name=TEXTS,
            ending=TEXTS,
            exit_code=st.none() | st.integers(-64, 255),
            wall_seconds=NUMBERS,
            cpu_seconds=NUMBERS,
            waited_seconds=NUMBERS,
        )
    ),
    evaluations=mappings(EVALUATIONS),
    outputs=mappings(built(Output, bytes=COUNTS, sha256=TEXTS)),
    refused_outputs=mappings(TEXTS),
    sandbox_gaps=tuples(TEXTS),
    versions=mappings(st.none() | TEXTS),
    log_bytes=COUNTS,
)
PLACES = built(Place, python=TEXTS, data=TEXTS, runs=TEXTS, turns=TEXTS, gpus=tuples(COUNTS))


@given(STEPS)
def test_a_step_survives_being_plain(step):
    plain = json.loads(json.dumps(to_plain(step)))
    assert plain["kind"] == step.kind
    again = read(Step, plain, "step")
    assert again == step
    assert type(again) is type(step)


@given(SPECS)
def test_a_specification_survives_json(spec):
    assert JobSpec.from_json(spec.to_json()) == spec


@given(PLACES)
def test_a_place_survives_json(place):
    assert Place.from_json(place.to_json()) == place


@given(RESULTS)
def test_a_result_survives_json_in_its_order(result):
    again = JobResult.from_json(result.to_json())
    assert again == result
    assert list(again.evaluations) == list(result.evaluations)
    assert again.evaluation == result.evaluation


SPEC = usual_spec(run_id="r", run_key="k", tree="t", data="d", frozen=("evaluate.py",), threads=1)


def changed(path: str, value: object) -> str:
    """The text of SPEC with one field at a dotted path replaced; None removes it."""
    plain = json.loads(SPEC.to_json())
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = plain
    for part in above:
        inner = inner[part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("run_id", None, r"spec\.json: .*missing fields \['run_id'\]"),
        ("surprise", 1, r"spec\.json: .*unknown fields \['surprise'\]"),
        ("threads", "1", r"spec\.json: threads: found '1', expected a whole number"),
        ("threads", True, r"threads: found True, expected a whole number"),
        ("threads", 1.5, r"threads: found 1\.5, expected a whole number"),
        ("tree", 3, r"tree: found 3, expected a text"),
        ("masked", "torch", r"masked: found 'torch', expected a list"),
        ("steps", {}, r"steps: found \{\}, expected a list"),
        ("steps.0", "run", r"steps\[0\]: found 'run', expected an object whose kind"),
        ("steps.0.kind", None, r"steps\[0\]: .* kind is one of \['grade', 'harvest', 'run', 't"),
        ("steps.0.kind", "dance", r"steps\[0\]: .* kind is one of"),
        ("steps.0.kind", ["run"], r"steps\[0\]: .* kind is one of"),
        ("steps.0.wall_seconds", "9", r"steps\[0\]: wall_seconds: found '9', expected a finite"),
        ("steps.0.server", {}, r"steps\[0\]: .*unknown fields \['server'\]"),
        ("steps.0.mounts", ["data"], r"steps\[0\]: mounts: found \['data'\], expected an object"),
        ("steps.1.outputs.weights.json", 3, r"outputs"),
        ("steps.2.server.command.0", 7, r"steps\[2\]: server: command\[0\]: found 7"),
    ],
)
def test_a_broken_specification_says_what_is_wrong_where(path, value, words):
    text = changed(path, value) if "weights" not in path else _with_odd_output()
    with pytest.raises(ValueError, match=words):
        JobSpec.from_json(text)


def _with_odd_output() -> str:
    plain = json.loads(SPEC.to_json())
    plain["steps"][1]["outputs"] = {"weights.json": {"max": "1"}}
    return json.dumps(plain)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"a": NaN}', '{"run_id": "a", "run_id": "b"}', "[" * 100_000]
)
def test_what_is_no_object_at_all_is_refused(text):
    with pytest.raises(ValueError, match=r"spec\.json"):
        JobSpec.from_json(text)
    with pytest.raises(ResultError):
        JobResult.from_json(text)


RESULT = JobResult(run_id="r", run_key="k", status="finished", sandbox_level="none")


def test_a_number_that_is_not_finite_is_written_nowhere():
    endless = Evaluation(metric="m", value=float("inf"))
    with pytest.raises(ValueError, match="Out of range"):
        dataclasses.replace(RESULT, evaluations={"score": endless}).to_json()


@pytest.mark.parametrize(
    "change", [{"status": "odd"}, {"status": None}, {"outputs": []}, {"log_bytes": "1"}]
)
def test_a_result_that_no_supervisor_wrote_is_refused(change):
    text = json.dumps(json.loads(RESULT.to_json()) | change)
    with pytest.raises(ResultError, match=r"result\.json"):
        JobResult.from_json(text)


def test_what_says_nothing_of_the_work_is_told_apart():
    says = dataclasses.replace
    assert not RESULT.is_inconclusive
    assert not says(RESULT, status="failed", blame="train").is_inconclusive
    assert says(RESULT, status="failed", blame="infrastructure").is_inconclusive
    assert says(RESULT, status="failed", blame="setup").is_inconclusive
    assert says(RESULT, status="cancelled").is_inconclusive
    lost = JobState(phase=JobPhase.LOST).outcome(SPEC)
    assert (lost.is_inconclusive, lost.run_id, lost.run_key) == (True, "r", "k")
    assert RESULT.wall_seconds("train") is RESULT.cpu_seconds("train") is RESULT.evaluation is None


def test_ended_is_what_nothing_more_comes_of():
    assert [str(phase) for phase in JobPhase if phase.has_ended] == ["absent", "done", "lost"]


REPORT = {
    "metric": "r2",
    "value": 0.4,
    "reason": None,
    "blame": None,
    "verdicts": {"finite": "passed"},
    "measures": {"points": 3},
}
OLD = {
    "run_id": "r",
    "run_key": "k",
    "status": "finished",
    "blame": None,
    "reason": None,
    "wall_seconds": 1.5,
    "cpu_seconds": 1.25,
    "score_wall_seconds": 0.5,
    "score_cpu_seconds": 0.25,
    "exit_code": 0,
    "evaluation": REPORT,
    "outputs": {"weights.json": {"bytes": 3, "sha256": "ab"}},
    "refused_outputs": {},
    "sandbox_level": "none",
    "sandbox_gaps": ["network: not cut"],
    "hardware": "one",
    "versions": {"python": "3.11.7"},
    "log_tail": "",
    "log_bytes": 0,
}
"""A result that was written before jobs had steps."""
KILLED = {"exit_code": None, "evaluation": None, "status": "failed"}
UNSCORED = {"score_wall_seconds": None, "score_cpu_seconds": None}
SETUP = {"wall_seconds": None, "cpu_seconds": None, "blame": "setup"}


def test_a_result_from_before_steps_is_read():
    result = JobResult.from_json(json.dumps(OLD))
    train, score = result.steps
    assert (train.name, train.ending, train.exit_code) == ("train", "exit", 0)
    assert (result.wall_seconds("train"), result.cpu_seconds("train")) == (1.5, 1.25)
    assert (score.name, score.ending, score.exit_code) == ("score", "exit", 0)
    assert (result.wall_seconds("score"), result.cpu_seconds("score")) == (0.5, 0.25)
    assert dataclasses.asdict(result.evaluations["score"]) == REPORT
    assert result.outputs == {"weights.json": Output(bytes=3, sha256="ab")}
    assert JobResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("change", "endings"),
    [
        ({"exit_code": None}, ["deadline", "exit"]),
        (KILLED | UNSCORED | SETUP, []),
        (KILLED | UNSCORED | {"blame": "timeout", "reason": "nothing complete"}, ["deadline"]),
        (KILLED | UNSCORED | {"blame": "timeout", "reason": "1 s of CPU time in"}, ["cpu_limit"]),
        (KILLED | UNSCORED | {"blame": "train", "reason": "it was killed"}, ["limit"]),
        (KILLED | UNSCORED | {"status": "cancelled"}, ["cancelled"]),
        (KILLED | {"exit_code": 0, "blame": "timeout"}, ["exit", "deadline"]),
        (KILLED | {"exit_code": 0, "blame": "evaluate"}, ["exit", "limit"]),
        (KILLED | {"exit_code": 0, "blame": "infrastructure"}, ["exit", "exit"]),
        (KILLED | {"exit_code": 0, "status": "cancelled"}, ["exit", "cancelled"]),
    ],
)
def test_the_endings_of_an_old_result_are_read_off_its_blame(change, endings):
    result = JobResult.from_json(json.dumps(OLD | change))
    assert [step.ending for step in result.steps] == endings


def test_an_old_result_that_lacks_a_part_is_refused():
    for name in set(OLD) - {"score_wall_seconds", "evaluation", "exit_code", "wall_seconds"}:
        text = json.dumps({key: value for key, value in OLD.items() if key != name})
        if name in ("run_id", "run_key", "status", "sandbox_level", "cpu_seconds"):
            with pytest.raises(ResultError):
                JobResult.from_json(text)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.parent / "gone")])
def test_what_is_no_result_file_is_no_result(tmp_path, make):
    make(tmp_path / "result.json")
    assert read_result(str(tmp_path)) is None


def test_a_job_folder_that_is_a_file_has_no_result(tmp_path):
    (tmp_path / "job").write_text("")
    assert read_result(str(tmp_path / "job")) is None
