"""What a supervisor does not let a job do: run on, use up, print without end, see secrets."""

import json
import sys
import time

import pytest
from test_launchers import alive, jobs

from launchers.steps import READY

__all__ = ["jobs"]

STUBBORN = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(0.01)
        os._exit(0)
while True:
    time.sleep(0.01)
"""
FORKS_ON = """
while True:  # a new process every moment, its parent gone, each in a session of its own
    if os.fork() != 0:
        if os.getpid() == FIRST:
            time.sleep(60)
        os._exit(0)
    if SESSIONS:
        os.setsid()
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a subreaper")


@linux
def test_a_job_that_ignores_sigterm_and_double_forks_is_dead_within_a_second(jobs):
    result = jobs.run(train=STUBBORN, budget_seconds=0.5)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert 0.5 <= result.wall_seconds("train") < 1.5
    assert len(jobs.processes()) >= 4
    assert not any(alive(pid) for pid in jobs.processes())


@linux
@pytest.mark.parametrize("sessions", [False, True], ids=["one session", "sessions"])
def test_a_chain_of_forks_is_dead_within_a_second(jobs, sessions):
    start = f"FIRST, SESSIONS = os.getpid(), {sessions}\n"
    result = jobs.run(train=start + FORKS_ON, budget_seconds=0.5)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert result.wall_seconds("train") < 1.5
    time.sleep(0.05)
    assert not any(alive(pid) for pid in jobs.processes())


@linux
def test_what_a_finished_training_left_running_is_killed_before_scoring(jobs):
    train = "leave()\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\n"
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert result.wall_seconds("train") < 5
    assert not any(alive(pid) for pid in jobs.processes())


def test_a_job_over_its_budget_with_complete_outputs_is_scored(jobs):
    result = jobs.run(train="leave(); time.sleep(60)", budget_seconds=0.4)
    assert result.status == "finished"
    assert result.step("train").exit_code is None
    assert result.evaluation.value < 0
    assert "deadline" in jobs.events()


def test_a_half_written_output_at_the_deadline_is_a_timeout(jobs):
    train = "open(os.path.join(OUT, 'weights.json'), 'w').write('{\"weights\": [1'); time.sleep(60)"
    result = jobs.run(train=train, budget_seconds=0.4)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert "weights.json" in result.refused_outputs


BURN = "x = 0\nwhile True:\n    x += 1\n"


def test_a_job_over_its_cpu_time_is_killed_even_with_complete_outputs(jobs):
    result = jobs.run(train="leave()\n" + BURN, cpu_limit_seconds=0.4)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert 0.4 <= result.cpu_seconds("train") < 0.8
    assert result.evaluation is None
    assert "CPU time" in result.reason


def test_a_job_that_was_over_its_cpu_time_between_two_looks_has_not_got_away(jobs):
    result = jobs.run(train="leave()", cpu_limit_seconds=0.001)
    assert (result.status, result.blame) == ("failed", "timeout")


@linux
def test_cpu_time_counts_the_children_too(jobs):
    train = "os.fork(); os.fork()\n" + BURN
    result = jobs.run(train=train, cpu_limit_seconds=0.6)
    assert result.blame == "timeout"
    assert 0.6 <= result.cpu_seconds("train") < 1.2


@linux
def test_cpu_time_of_children_that_nobody_waited_for_is_counted(jobs):
    train = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    while time.process_time() < 0.5:
        pass
    os._exit(0)
time.sleep(1.2)
leave()
"""
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert 0.4 <= result.cpu_seconds("train") < 0.9


def test_a_short_job_is_charged_what_it_used(jobs):
    train = "while time.process_time() < 0.3:\n    pass\nleave()"
    assert 0.3 <= jobs.run(train=train).cpu_seconds("train") < 0.5


WORKING = {
    "by itself": "while time.process_time() < 1.2:\n    pass\nleave()",
    "in a child": """
if os.fork() == 0:
    while time.process_time() < 1.2:
        pass
    os._exit(0)
os.wait()
leave()
""",
    "in a thread": """
import hashlib, threading
def work():
    while time.process_time() < 1.2:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20000)
thread = threading.Thread(target=work)
thread.start()
thread.join()
leave()
""",
    "with pauses": """
for part in range(25):
    while time.process_time() < 0.03 * part:
        pass
    time.sleep(0.004)
leave()
""",
}


@linux
def test_a_job_that_sleeps_with_everything_done_is_killed_and_has_no_score(jobs):
    result = jobs.run(train="leave(); time.sleep(60)", idle_limit_seconds=0.6)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert result.step("train").ending == "idle"
    assert "did nothing for 0." in result.reason
    assert 0.6 <= result.step("train").idle_seconds <= result.wall_seconds("train") < 10
    assert not result.evaluations


@linux
@pytest.mark.parametrize(
    "sleep",
    ["time.sleep(60)", "import select; select.select([], [], [], 60)"],
    ids=["sleep", "poll"],
)
def test_a_job_that_has_somebody_else_sleep_for_it_is_killed_too(jobs, sleep):
    train = f"leave()\nif os.fork() == 0:\n    {sleep}\n    os._exit(0)\nos.wait()"
    result = jobs.run(train=train, idle_limit_seconds=0.6)
    assert (result.status, result.blame) == ("failed", "timeout")
    assert result.step("train").ending == "idle"


@linux
def test_a_server_that_sleeps_is_killed_while_it_is_scored(jobs):
    result = jobs.run(
        train="leave()", files={"serve.py": b"import time; time.sleep(60)"}, idle_limit_seconds=0.6
    )
    assert (result.status, result.blame) == ("failed", "timeout")
    assert result.step("score").ending == "idle"


@linux
@pytest.mark.parametrize("train", WORKING.values(), ids=WORKING.keys())
def test_a_job_that_works_or_waits_for_a_processor_is_not_idle(jobs, train):
    result = jobs.run(train=train, idle_limit_seconds=0.6)
    assert result.status == "finished", result.reason


def test_a_flood_of_output_is_cut_to_the_cap_and_keeps_both_ends(jobs):
    train = """
print("the beginning", flush=True)
block = b"x" * (1 << 20)
for _ in range(256):
    os.write(1, block)
print("the end", flush=True)
leave()
"""
    result = jobs.run(train=train, log_bytes=100_000)
    log = jobs.path("log.txt").read_bytes()
    assert len(log) <= 100_000
    assert log.startswith(b"the beginning")
    assert b"bytes dropped here" in log
    assert b"the end\n" in log
    assert result.log_bytes > 256 << 20
    assert len(result.log_tail.encode()) <= 4096
    assert result.status == "finished"
    assert result.wall_seconds("train") < 5


def test_output_that_is_no_text_is_kept_as_data(jobs):
    train = "os.write(1, bytes(range(256)) * 40); leave()"
    result = jobs.run(train=train)
    assert len(result.log_tail.encode()) <= 4096


def test_a_secret_of_the_launcher_reaches_no_process_of_the_job(jobs, monkeypatch):
    secrets = ("ANTHROPIC_API_KEY", "HF_TOKEN", "HTTPS_PROXY", "LD_LIBRARY_PATH", "PYTHONPATH")
    for name in secrets:
        monkeypatch.setenv(name, "hunter2-hunter2")
    show = """
import os
lines = [open("/proc/%d/environ" % pid).read() for pid in (os.getpid(), os.getppid())]
print("SECRET" if "hunter2" in "".join(lines) + str(dict(os.environ)) else "clean")
print(sorted(os.environ))
"""
    serve = show.encode() + b"\nimport sys; sys.exit(3)\n"
    evaluate = show.encode() + b"\nimport sys; sys.exit(1)\n"
    result = jobs.run(train=show + "\nleave()", files={"serve.py": serve, "evaluate.py": evaluate})
    text = jobs.path("log.txt").read_text()
    text += jobs.path("score.txt").read_text()
    assert text.count("clean") == 2
    assert "SECRET" not in text
    assert result.blame == "infrastructure"


def test_the_process_environment_is_the_allow_list(jobs):
    train = "print(json.dumps(dict(os.environ))); leave()"
    jobs.run(train=train, threads=3)
    found = json.loads(jobs.path("log.txt").read_text().splitlines()[0])
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "3"
    assert found["PYTHONHASHSEED"] == "0"
    assert found["HOME"] == str(jobs.path("work/home"))
    assert found["TMPDIR"] == str(jobs.path("work/tmp"))
    assert found["VARVE_RUN"] == str(jobs.path(""))
    assert set(found) - {"CUDA_VISIBLE_DEVICES", "LC_CTYPE"} == {
        *("PATH", "LANG", "HOME", "TMPDIR", "USER", "LOGNAME", "VARVE_RUN"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        *("VECLIB_MAXIMUM_THREADS", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"),
        *("PYTHONNOUSERSITE", "PYTHONUNBUFFERED", "HF_HUB_OFFLINE", "WANDB_MODE"),
    }


@linux
def test_a_job_inherits_no_file_but_its_log(jobs):
    train = "print(sorted(os.listdir('/proc/self/fd')), os.isatty(0)); leave()"
    jobs.run(train=train)
    # 3 is the folder that is being listed
    assert jobs.path("log.txt").read_text() == "['0', '1', '2', '3'] False\n"


def test_training_is_given_the_training_data_only(jobs):
    jobs.run(train="print(sys.argv); leave()")
    text = jobs.path("log.txt").read_text()
    assert "/train" in text
    assert "hidden" not in text
    assert "second" not in text.replace("--budget-seconds", "")


STARTER = b"""
import os, runpy, sys, time
while time.process_time() < 0.5:
    pass
os.write(2, b"a library warns\\n")
os.write(1, READY)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_what_a_starter_takes_is_told_apart_and_patched_code_cannot_move_the_mark(jobs):
    train = f"os.write(1, {READY!r})\nwhile time.process_time() < 1.1:\n    pass\n"
    train += f"os.write(1, {READY!r})\nprint('trained')\nleave()"
    files = {"start.py": STARTER.replace(b"READY", repr(READY).encode())}
    result = jobs.run(train=train, files=files, starter="start.py")
    assert result.status == "finished", result.reason
    step = result.step("train")
    assert 0.48 <= step.start_cpu_seconds < 0.8  # told in hundredths, user and system apart
    assert 1.1 <= step.cpu_seconds < 1.5
    log = jobs.path("log.txt").read_bytes()
    assert log == b"a library warns\n" + 2 * READY + b"trained\n"


def test_without_a_starter_all_is_the_programs_own(jobs):
    train = f"os.write(1, {READY!r}); leave()"
    assert jobs.run(train=train).step("train").start_cpu_seconds == 0.0


def test_a_starter_that_a_patch_may_change_is_refused(jobs):
    result = jobs.run(files={"start.py": STARTER}, starter="model/features.py")
    assert (result.blame, "expected a frozen file" in result.reason) == ("setup", True)
