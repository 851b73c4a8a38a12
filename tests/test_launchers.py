"""Jobs of the small environment through the real local launcher: submit, adopt, cancel, release.

`Jobs` is what the other launcher and worker tests make their jobs with.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scratch import scratch
from specs import AnyPython, lay_data, usual_spec

import launchers
from launchers import (
    JobPhase,
    JobResult,
    JobRunningError,
    JobSpec,
    JobState,
    LauncherError,
    LocalLauncher,
    UnknownJobError,
    tree_hash,
)
from launchers.laying import lay_job
from launchers.process_table import read_process
from launchers.tree import pack_tree

ROOT = Path(launchers.__file__).parent.parent
RIDGE = Path(__file__).parent / "environments" / "ridge"
PATIENCE_SECONDS = 20.0

IMPORTS = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
for name in ("profile", "seed", "data", "out", "budget-seconds"):
    parser.add_argument("--" + name)
OUT = parser.parse_args().out
def leave(name="weights.json", weights=(0.5, 0, 0, 0, 0)):
    with open(os.path.join(OUT, "half"), "w") as file:
        json.dump({"weights": list(weights)}, file)
    os.replace(os.path.join(OUT, "half"), os.path.join(OUT, name))
"""
"""Starts a train.py that a test writes; `leave()` leaves a complete output."""


@functools.cache
def ridge_data() -> str:
    """The data of the small environment, made once per test process."""
    folder = str(scratch("ridge-data-"))
    command = [sys.executable, "prepare.py", "--profile", "cpu", "--out", folder]
    subprocess.run(command, cwd=RIDGE, check=True)
    return folder


@functools.cache
def ridge_tree() -> dict[str, bytes]:
    """The files of the small environment."""
    paths = [path for path in RIDGE.rglob("*") if path.is_file() and "__pycache__" not in str(path)]
    return {str(path.relative_to(RIDGE)): path.read_bytes() for path in paths}


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not waited for does not."""
    found = read_process(pid)
    return found is not None and not found.zombie


def wait_until(true, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until a condition holds, and fails if it does not within the time."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.005)


EDITABLE = re.compile(r"train\.py$|model/.*\.py$")
"""The files of the small environment that a patch may change."""


class Jobs:
    """Makes and runs jobs of the small environment under one folder."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.data = runs.parent / "data"
        if not self.data.exists():
            lay_data(self.data, "ridge", ridge_data())
        self.launcher = AnyPython(runs, data=self.data)

    def job(self, run_id: str = "job", *, train: str | None = None, **changes):
        """A specification and its tree; `train` is the body of another train.py."""
        files = dict(ridge_tree())
        if train is not None:
            files["train.py"] = (IMPORTS + train).encode()
        files |= changes.pop("files", {})
        spec = {
            "run_id": run_id,
            "run_key": "key",
            "tree": tree_hash(files),
            "data": "ridge",
            "threads": 1,
            "frozen": tuple(path for path in files if not EDITABLE.match(path)),
        }
        return usual_spec(**(spec | changes)), files

    def submit(self, run_id: str = "job", **changes) -> None:
        self.launcher.submit(*self.job(run_id, **changes))

    def state(self, run_id: str = "job") -> JobState:
        """Where a job stands."""
        return self.launcher.states([run_id])[run_id]

    def wait(self, run_id: str = "job") -> JobResult:
        """The result of a job."""
        wait_until(lambda: self.state(run_id).phase.has_ended)
        state = self.state(run_id)
        assert state.phase is JobPhase.DONE, self.printed(run_id)
        return state.result

    def run(self, run_id: str = "job", **changes) -> JobResult:
        """Submits and waits."""
        self.submit(run_id, **changes)
        return self.wait(run_id)

    def path(self, name: str, run_id: str = "job") -> Path:
        return self.runs / run_id / name

    def events(self, run_id: str = "job") -> list[str]:
        path = self.path("events.jsonl", run_id)
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["kind"] for line in lines]

    def supervisor(self, run_id: str = "job") -> int:
        """Process id of the live supervisor."""
        wait_until(lambda: self.path("lock", run_id).read_text().endswith("\n"))
        return int(self.path("lock", run_id).read_text().split()[0])

    def processes(self, run_id: str = "job") -> list[int]:
        """Process ids that the supervisor has noted."""
        try:
            lines = self.path("processes", run_id).read_text().splitlines()[1:]
        except FileNotFoundError:
            return []
        return [int(line.split()[0]) for line in lines]

    def printed(self, run_id: str) -> str:
        """What the supervisor and the job printed."""
        names = ("supervisor.txt", "log.txt", "events.jsonl")
        return "\n".join(
            self.path(name, run_id).read_text(errors="replace")
            for name in names
            if self.path(name, run_id).exists()
        )


def lay_job_by_hand(jobs: Jobs, spec: JobSpec, files: dict[str, bytes]) -> None:
    """Lays a job down and starts nothing."""
    jobs.path("", spec.run_id).mkdir(parents=True)
    lay_job(jobs.path("", spec.run_id), spec, jobs.launcher.place(spec), files)


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path / "runs")
    yield made
    wait_until(lambda: _is_over(made.launcher))


def _is_over(launcher: LocalLauncher) -> bool:
    """Whether nothing is left to cancel; a killed supervisor is known as lost a bit later."""
    open_ = [run for run, state in launcher.reconcile().items() if state.phase is not JobPhase.DONE]
    launcher.cancel(open_)
    return not open_


def test_a_job_trains_harvests_and_scores(jobs):
    assert jobs.state() == JobState(phase=JobPhase.ABSENT)
    result = jobs.run()
    assert (result.status, result.blame, result.reason) == ("finished", None, None)
    assert result.evaluation.value == pytest.approx(0.428, abs=0.001)
    assert result.evaluation.measures["second"] == pytest.approx(0.397, abs=0.001)
    assert set(result.outputs) == {"weights.json"}
    assert 0 < result.cpu_seconds("train") < 1
    assert result.step("train").exit_code == 0
    assert result.log_tail == "129 points, 5 features\n"
    assert jobs.events() == ["started", "trained", "harvested", "scored", "finished"]
    left = {path.name for path in jobs.launcher.fetch("job").iterdir()}
    kept = {
        "env",
        "tree",
        "out",
        "lock",
        "log.txt",
        "score.txt",
        "spec.json",
        "place.json",
        "events.jsonl",
        "result.json",
    }
    assert left == kept | {"processes"}


def test_result_holds_exactly_the_keys_of_the_contract(jobs):
    result = jobs.run()
    written = json.loads(jobs.path("result.json").read_text())
    assert set(written) == {
        *("run_id", "run_key", "status", "blame", "reason", "steps", "evaluations", "outputs"),
        *("refused_outputs", "sandbox_level", "sandbox_gaps", "hardware", "versions"),
        *("log_tail", "log_bytes"),
    }
    assert JobResult.from_json(result.to_json()) == result
    assert [step.name for step in result.steps] == ["train", "score"]
    assert {step.ending for step in result.steps} == {"exit"}
    assert list(result.evaluations) == ["score"]


def test_the_same_job_gives_the_same_bits_twice(jobs):
    first, second = jobs.run("one"), jobs.run("two")
    assert first.outputs == second.outputs
    assert first.evaluation.value == second.evaluation.value


def test_submitting_twice_starts_once(jobs):
    for _ in range(3):
        jobs.submit(train="time.sleep(0.2); leave()")
    assert jobs.wait().status == "finished"
    jobs.submit()
    assert jobs.events().count("started") == 1
    assert not list(jobs.path("").glob("events.lost*"))


def test_two_processes_that_submit_at_once_start_one_job(jobs):
    spec, files = jobs.job(train="time.sleep(0.3); leave()")
    jobs.path("").parent.mkdir(exist_ok=True)
    (jobs.runs.parent / "tree").write_bytes(pack_tree(files))
    (jobs.runs.parent / "spec.json").write_text(spec.to_json())
    script = (
        "import sys, time; from pathlib import Path; from launchers import *\n"
        "from launchers.tree import unpack_tree\n"
        "base = Path(sys.argv[1]); tree = unpack_tree((base / 'tree').read_bytes())\n"
        "spec = JobSpec.from_json((base / 'spec.json').read_text())\n"
        "launcher = LocalLauncher(base / 'runs', data=base / 'data')\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "launcher.submit(spec, tree)\n"
    )
    command = [sys.executable, "-c", script, str(jobs.runs.parent), str(time.time() + 0.5)]
    submitters = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [one.wait() for one in submitters] == [0, 0, 0, 0]
    assert jobs.wait().status == "finished"
    assert jobs.events().count("started") == 1
    assert [path.name for path in jobs.runs.glob("[!.]*")] == ["job"]


def test_a_supervisor_outlives_its_launcher_and_is_adopted(jobs):
    spec, files = jobs.job(train="time.sleep(0.5); leave()")
    jobs.runs.mkdir(exist_ok=True)
    (jobs.runs.parent / "tree").write_bytes(pack_tree(files))
    script = (
        "import os, signal, sys; from pathlib import Path; from launchers import *\n"
        "from launchers.tree import unpack_tree\n"
        "base = Path(sys.argv[1])\n"
        "spec = JobSpec.from_json(sys.argv[2])\n"
        "launcher = LocalLauncher(base / 'runs', data=base / 'data')\n"
        "launcher.submit(spec, unpack_tree((base / 'tree').read_bytes()))\n"
        "os.killpg(0, signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(jobs.runs.parent), spec.to_json()]
    done = subprocess.run(command, cwd=ROOT, start_new_session=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert jobs.state().phase is JobPhase.RUNNING
    assert list(LocalLauncher(jobs.runs, data=jobs.data).reconcile()) == ["job"]
    jobs.submit(train="time.sleep(0.5); leave()")
    assert jobs.wait().status == "finished"
    assert jobs.events().count("started") == 1


def test_reconcile_gives_live_jobs_first_and_removes_unfinished_folders(jobs):
    jobs.run("a-done")
    jobs.submit("b-live", train="time.sleep(30)")
    old = jobs.runs / ".new-1-2-x"
    old.mkdir()
    os.utime(old, (0, 0))
    (jobs.runs / ".new-3-4-y").mkdir()
    assert list(jobs.launcher.reconcile()) == ["b-live", "a-done"]
    assert not old.exists()
    assert (jobs.runs / ".new-3-4-y").exists()


def test_a_cancelled_job_is_dead_and_says_so(jobs):
    train = "open(os.path.join(OUT, 'pid'), 'w').write(str(os.getpid())); time.sleep(30)"
    jobs.submit(train=train)
    wait_until(lambda: jobs.path("work/out/pid").exists() and jobs.processes())
    child = jobs.processes()[0]
    jobs.launcher.cancel(["job"])
    result = jobs.wait()
    assert (result.status, result.blame) == ("cancelled", None)
    assert not alive(child)
    jobs.launcher.cancel(["job"])
    jobs.launcher.cancel(["never-submitted"])
    assert jobs.wait() == result


def test_a_job_whose_result_says_nothing_of_the_work_may_be_submitted_again(jobs):
    jobs.submit(train="time.sleep(30)")
    jobs.launcher.cancel(["job"])
    assert jobs.wait().status == "cancelled"
    jobs.submit(train="leave()")
    assert jobs.wait().status == "finished"
    assert jobs.path("events.lost-1.jsonl").exists()
    before = jobs.wait()
    jobs.submit(train="leave()")
    assert jobs.wait() == before
    assert not jobs.path("events.lost-2.jsonl").exists()


def test_a_job_can_be_cancelled_at_once_after_its_start(jobs):
    for number in range(3):
        jobs.submit(f"job-{number}", train="time.sleep(30)")
        jobs.launcher.cancel([f"job-{number}"])
        assert jobs.wait(f"job-{number}").status == "cancelled"


def test_release_keeps_what_says_what_happened(jobs):
    jobs.run("kept")
    jobs.run("dropped")
    jobs.launcher.release("kept", keep_outputs=True)
    jobs.launcher.release("dropped", keep_outputs=False)
    jobs.launcher.release("dropped", keep_outputs=False)
    jobs.launcher.release("never-submitted", keep_outputs=False)
    assert jobs.path("out/weights.json", "kept").exists()
    assert not jobs.path("env", "kept").exists()
    assert not jobs.path("out", "dropped").exists()
    assert jobs.wait("dropped").status == "finished"


def test_release_of_a_live_job_is_refused(jobs):
    jobs.submit(train="time.sleep(30)")
    with pytest.raises(JobRunningError, match="not done"):
        jobs.launcher.release("job", keep_outputs=True)


def test_bad_ids_and_unknown_jobs_have_clear_errors(jobs):
    for run_id in ("", "../x", ".hidden", "a/b", "x" * 200):
        with pytest.raises(LauncherError, match="run_id"):
            jobs.launcher.states([run_id])
    with pytest.raises(UnknownJobError, match="submit it first"):
        jobs.launcher.fetch("nothing")


def test_a_worker_starts_from_a_copied_folder(jobs, tmp_path):
    copy = tmp_path / "elsewhere" / "launchers"
    shutil.copytree(ROOT / "launchers", copy, ignore=shutil.ignore_patterns("__pycache__"))
    lay_job_by_hand(jobs, *jobs.job())
    command = [sys.executable, "-I", "-S", str(copy), str(jobs.path(""))]
    subprocess.run(command, cwd="/", env={}, check=True, timeout=30)
    assert jobs.wait().evaluation.value == pytest.approx(0.428, abs=0.001)


def test_a_second_supervisor_of_a_live_job_does_nothing(jobs):
    jobs.submit(train="time.sleep(0.5); leave()")
    command = [sys.executable, "-I", "-S", str(ROOT / "launchers"), str(jobs.path(""))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another supervisor" in done.stderr
    assert jobs.wait().status == "finished"
