"""What the local launcher says of its machine, of its data, and of what a job costs."""

import dataclasses
import platform
import subprocess
import sys
from importlib import metadata

import pytest
from specs import WEIGHTS, lay_data, score, train, usual_spec
from test_launchers import jobs, ridge_data

from launchers import (
    Charge,
    Harvest,
    JobResult,
    Launcher,
    LauncherError,
    LocalLauncher,
    Needs,
    StepResult,
    Ticket,
)
from launchers.charges import gpu_count
from launchers.sandbox.levels import LEVELS

__all__ = ["jobs"]


def test_the_site_is_this_machine(jobs):
    site = jobs.launcher.site(Needs())
    assert site.python == sys.executable
    assert site.device_class == f"cpu-{platform.machine()}"
    assert site.usd_per_hour is None
    try:
        assert site.torch == metadata.version("torch")
    except metadata.PackageNotFoundError:
        assert site.torch == "none"


def test_levels_are_tried_when_somebody_asks_and_once(jobs):
    script = (
        "import sys; from pathlib import Path; from launchers import LocalLauncher, Needs\n"
        "folder = Path(sys.argv[1]); launcher = LocalLauncher(folder / 'runs', data=folder)\n"
        "site = launcher.site(Needs()); tried = 'launchers.sandbox.preflight'\n"
        "assert tried not in sys.modules\n"
        "assert site.finding('none').works and tried in sys.modules\n"
        "assert launcher.site(Needs()).try_levels() is site.try_levels()\n"
        "print([found.level for found in site.try_levels()])"
    )
    command = [sys.executable, "-c", script, str(jobs.runs.parent)]
    assert subprocess.check_output(command, text=True) == f"{list(LEVELS)}\n"


@pytest.mark.parametrize("needs", [Needs(python="venv"), Needs(accelerators="H100:8")])
def test_what_this_machine_has_not_is_refused(jobs, needs):
    with pytest.raises(LauncherError, match="not available yet"):
        jobs.launcher.site(needs)
    spec, files = jobs.job(python=needs.python, accelerators=needs.accelerators)
    with pytest.raises(LauncherError, match="not available yet"):
        jobs.launcher.submit(spec, files)
    assert not jobs.path("").exists()


def test_data_are_found_by_their_hash_and_named_by_their_real_path(jobs):
    lay_data(jobs.data, "abc", ridge_data())
    assert jobs.launcher.submit(*jobs.job(data="abc")) == Ticket(run_id="job")
    assert jobs.wait().status == "finished"
    place = jobs.launcher.place(jobs.job(data="abc")[0])
    assert (place.data, place.runs, place.gpus) == (ridge_data(), str(jobs.runs), ())
    assert ridge_data() not in jobs.path("spec.json").read_text()
    assert str(jobs.runs) not in jobs.path("spec.json").read_text()


def test_a_job_whose_data_came_late_is_started_again(jobs):
    assert jobs.run(data="late").blame == "setup"
    lay_data(jobs.data, "late", ridge_data())
    assert jobs.run(data="late").status == "finished"


def test_the_launcher_says_how_it_wants_to_be_used(jobs, tmp_path):
    launcher: Launcher = LocalLauncher(tmp_path / "more", data=jobs.data, slots=7)
    assert (launcher.kind, launcher.slots) == ("local", 7)
    assert launcher.poll_seconds == 0.02
    assert launcher.submits_at_once == 1


@pytest.mark.parametrize(
    ("accelerators", "count"), [(None, 0), ("H100:8", 8), ("A100", 1), ("A100-80GB:2", 2)]
)
def test_gpus_are_counted_off_the_words_that_a_cloud_is_asked_with(accelerators, count):
    assert gpu_count(accelerators) == count


def test_a_job_costs_gpus_by_the_clock_and_no_money(jobs):
    steps = (train(seconds=1000.0), Harvest(outputs=WEIGHTS), score(seconds=800.0))
    spec = usual_spec(
        run_id="r",
        run_key="k",
        tree="t",
        data="d",
        frozen=(),
        threads=1,
        steps=steps,
        accelerators="H100:8",
    )
    assert jobs.launcher.reserve(spec) == Charge(usd=None, gpu_hours=4.0)
    assert jobs.launcher.reserve(dataclasses.replace(spec, accelerators=None)).gpu_hours == 0.0
    result = JobResult(run_id="r", run_key="k", status="finished", sandbox_level="none")
    assert jobs.launcher.settle(spec, result) == Charge(usd=None, gpu_hours=None)
    took = [
        StepResult(name=name, ending="exit", wall_seconds=seconds, cpu_seconds=9.0)
        for name, seconds in (("train", 400.0), ("score", 50.0))
    ]
    assert jobs.launcher.settle(spec, dataclasses.replace(result, steps=tuple(took))).gpu_hours == 1
