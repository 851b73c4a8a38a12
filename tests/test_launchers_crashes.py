"""What is left when a supervisor is killed with -9 or the disk fills up, and how it goes on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_launchers import Jobs, alive, jobs, wait_until

from launchers import JobPhase, LocalLauncher
from launchers.laying import create_run
from launchers.process_table import boot_id, read_process

__all__ = ["jobs"]

DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        {clear}
        time.sleep(60)
    os._exit(0)
time.sleep(60)
"""
CLEARED = "os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)'], {})"

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def lose(jobs: Jobs, *, processes: int) -> list[int]:
    """Kills the supervisor of a job once the job has so many processes; gives their pids."""
    wait_until(lambda: len(jobs.processes()) >= processes)
    os.kill(jobs.supervisor(), signal.SIGKILL)
    wait_until(lambda: jobs.state().phase is JobPhase.LOST)
    return jobs.processes()


@linux
@pytest.mark.parametrize("clear", ["pass", CLEARED], ids=["marked", "cleared environment"])
def test_a_lost_job_leaves_no_process_and_starts_again(jobs, clear):
    jobs.submit(train=DAEMON.format(clear=clear))
    pids = lose(jobs, processes=3)
    assert any(alive(pid) for pid in pids), "the daemon is what the kernel does not kill"
    states = jobs.launcher.reconcile()
    assert states["job"].phase is JobPhase.LOST
    assert not any(alive(pid) for pid in pids)
    jobs.submit()
    assert jobs.wait().status == "finished"
    assert jobs.path("events.lost-1.jsonl").exists()
    assert jobs.events().count("started") == 1


@linux
def test_the_training_process_dies_with_its_supervisor(jobs):
    jobs.submit(train="time.sleep(60)")
    (child,) = lose(jobs, processes=1)
    wait_until(lambda: not alive(child), seconds=1)


@linux
def test_the_same_job_of_another_project_is_left_alone(jobs, tmp_path):
    other = Jobs(tmp_path / "other")
    other.submit(train=DAEMON.format(clear="pass"), budget_seconds=3)
    wait_until(lambda: len(other.processes()) >= 3)
    jobs.submit(train=DAEMON.format(clear="pass"))
    lose(jobs, processes=3)
    jobs.launcher.reconcile()
    assert other.state().phase is JobPhase.RUNNING
    assert sum(alive(pid) for pid in other.processes()) == 2
    other.launcher.cancel(["job"])
    assert other.wait().status == "cancelled"


@linux
def test_submitting_a_lost_job_kills_its_leftovers_first(jobs):
    jobs.submit(train=DAEMON.format(clear="pass"))
    pids = lose(jobs, processes=3)
    jobs.submit()
    assert not any(alive(pid) for pid in pids)
    assert jobs.wait().status == "finished"


def test_a_lost_job_can_be_cancelled(jobs):
    jobs.submit(train="time.sleep(60)")
    lose(jobs, processes=1)
    jobs.launcher.cancel(["job"])
    assert jobs.wait().status == "cancelled"
    assert not jobs.path("work").exists()


def test_a_lost_job_of_an_older_version_can_be_cancelled_and_listed(jobs):
    """Its specification had other fields, and nobody will submit it again."""
    folder = jobs.path("", "old")
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "spec.json").write_text(
        '{"run_id": "old", "run_key": "k", "seed": 0, "python": "/x"}'
    )
    assert jobs.launcher.reconcile()["old"].phase is JobPhase.LOST
    jobs.launcher.cancel(["old"])
    result = jobs.wait("old")
    assert (result.run_id, result.run_key, result.status) == ("old", "k", "cancelled")


def test_a_job_killed_at_any_moment_ends_with_one_result(jobs):
    for number in range(8):
        run_id = f"job-{number}"
        jobs.submit(run_id)
        supervisor = jobs.supervisor(run_id)
        time.sleep(0.03 * number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda pid=supervisor: not alive(pid))
        jobs.submit(run_id)
        result = jobs.wait(run_id)
        assert (result.status, result.evaluation.value > 0.4) == ("finished", True)


def test_a_launcher_killed_before_its_supervisor_ran_leaves_a_lost_job(jobs):
    spec, files = jobs.job()
    lock = create_run(jobs.path(""), spec, jobs.launcher.place(spec), files)
    assert jobs.state().phase is JobPhase.RUNNING
    os.close(lock)
    assert jobs.state().phase is JobPhase.LOST
    jobs.submit()
    assert jobs.wait().status == "finished"


@linux
def test_a_job_whose_folder_is_deleted_under_it_is_killed(jobs):
    jobs.submit(train=DAEMON.format(clear="pass"))
    wait_until(lambda: len(jobs.processes()) >= 3)
    pids = [*jobs.processes(), jobs.supervisor()]
    shutil.rmtree(jobs.path(""))
    wait_until(lambda: not any(alive(pid) for pid in pids))
    assert jobs.state().phase is JobPhase.ABSENT


def test_the_pids_of_an_earlier_start_of_the_machine_are_not_killed(jobs):
    jobs.submit(train="time.sleep(60)")
    lose(jobs, processes=1)
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    row = f"{innocent.pid} {read_process(innocent.pid).born}\n"
    jobs.path("processes").write_text(f"another boot\n{row}")
    jobs.launcher.reconcile()
    assert innocent.poll() is None
    jobs.path("processes").write_text(f"{boot_id()}\n{row}")
    jobs.launcher.reconcile()
    assert innocent.wait(5) == -signal.SIGKILL


def nursery(launcher) -> int:
    """Process id of the process that forks supervisors."""
    return launcher._nursery._ending.peek()[2][1].pid


def test_a_launcher_goes_on_when_its_nursery_was_killed(jobs):
    jobs.submit("before", train="time.sleep(0.3); leave()")
    os.kill(nursery(jobs.launcher), signal.SIGKILL)
    wait_until(lambda: not alive(nursery(jobs.launcher)))
    jobs.submit("after")
    assert jobs.wait("before").status == jobs.wait("after").status == "finished"


def test_a_nursery_ends_with_its_launcher_and_leaves_the_jobs_alone(jobs):
    other = LocalLauncher(jobs.runs, data=jobs.data)
    other.submit(*jobs.job(train="time.sleep(0.3); leave()"))
    pid = nursery(other)
    del other
    wait_until(lambda: not alive(pid))
    assert jobs.state().phase is JobPhase.RUNNING
    assert jobs.wait().status == "finished"


def test_threads_and_forks_of_the_caller_may_share_a_launcher(jobs):
    jobs.submit("first")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: jobs.submit(f"thread-{n}"), range(4)))
    child = os.fork()
    if child == 0:
        jobs.submit("fork")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for run_id in ("first", "fork", *(f"thread-{n}" for n in range(4))):
        assert jobs.wait(run_id).status == "finished"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MiB, and its unmounting."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"only root may mount a small disk: {done.stderr.strip()}")
    yield folder
    unmount = ["umount", str(folder)]
    wait_until(lambda: subprocess.run(unmount, capture_output=True, check=False).returncode == 0)


FILLS_THE_DISK = """
print("training", flush=True)
with open(os.path.join(OUT, "weights.json"), "wb") as file:
    while True:
        file.write(bytes(1 << 20))
        file.flush()
"""


def test_a_full_disk_is_blamed_on_infrastructure_and_its_result_is_kept(small_disk):
    jobs = Jobs(small_disk / "runs")
    result = jobs.run(train=FILLS_THE_DISK)
    assert (result.status, result.blame) == ("failed", "infrastructure")
    assert "disk" in result.reason
    assert result.step("train").exit_code == 1
    assert "No space left" in result.log_tail
    assert jobs.run("next").status == "finished"


def test_a_job_that_only_claims_a_full_disk_is_blamed_itself(jobs):
    result = jobs.run(train="raise OSError(28, 'No space left on device')")
    assert (result.status, result.blame) == ("failed", "train")
