"""Turns on a machine: untrusted programs train beside each other, and a server is scored alone."""

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from redteam import accounts
from redteam.world import MYSELF
from test_launchers import alive, jobs, wait_until

from launchers import here
from launchers.supervisor.turns import FLOOR, QUEUE, TurnError, turn

__all__ = ["jobs"]

UNTIL_TOLD = """
import pathlib
leave()
print("TRAINING", flush=True)
while not pathlib.Path({flag!r}).exists():
    time.sleep(0.01)
"""
"""A training that goes on until a file is there."""
LEVELS = ("none", "landlock", "bwrap")


@pytest.fixture
def folder(turns):
    """The locks' folder; nobody holds one at the end."""
    yield turns
    for name in (FLOOR, QUEUE):
        with open(turns / name, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Stop(Exception):
    """Ends the waiting."""


def never(seconds: float) -> None:
    raise Stop


def can_begin(folder: Path, *, alone: bool) -> bool:
    """Whether somebody else would get a turn at this moment."""
    with contextlib.suppress(Stop), turn(str(folder), alone=alone, pause=never):
        return True
    return False


def lines(jobs, run_id: str) -> list[dict]:
    return [json.loads(line) for line in jobs.path("events.jsonl", run_id).read_text().splitlines()]


def waits(jobs, run_id: str) -> bool:
    return "waiting" in jobs.events(run_id)


# ------------------------------------------------------------------------------- the locks alone


def test_many_train_beside_each_other_and_who_is_scored_is_alone(folder):
    path = str(folder)
    with turn(path, alone=False, pause=never), turn(path, alone=False, pause=never):
        assert can_begin(folder, alone=False)
        assert not can_begin(folder, alone=True)
    with turn(path, alone=True, pause=never) as waited:
        assert waited < 1
        assert not can_begin(folder, alone=False)
        assert not can_begin(folder, alone=True)
    assert can_begin(folder, alone=True)


def test_nobody_begins_to_train_while_one_waits_to_be_scored(folder):
    path, steps = str(folder), []
    with turn(path, alone=False, pause=never):  # a training that is under way

        def look(seconds: float) -> None:
            steps.append((can_begin(folder, alone=False), can_begin(folder, alone=True)))
            raise Stop

        with pytest.raises(Stop), turn(path, alone=True, pause=look):
            pass
        assert steps == [(False, False)]
        assert can_begin(folder, alone=False)  # nobody waits any more


def test_all_that_wait_are_scored_in_a_row_before_training_goes_on(folder):
    """Whoever asks first: trainings that ask all the time come after the last of them."""
    path, order, ready = str(folder), [], threading.Semaphore(0)

    def score(number: int) -> None:
        with turn(path, alone=True, pause=lambda _: (ready.release(), nap())):
            order.append(f"score {number}")

    def train() -> None:
        with turn(path, alone=False, pause=nap):
            order.append("train")

    def nap(_: float = 0.0) -> None:
        threading.Event().wait(0.001)

    with turn(path, alone=False, pause=never):
        scorers = [threading.Thread(target=score, args=(number,)) for number in range(4)]
        for one in scorers:
            one.start()
        while ready._value < 1:
            nap()
        wait_until(lambda: all(not can_begin(folder, alone=False) for _ in range(3)))
        for _ in scorers:
            ready.acquire()
        trainer = threading.Thread(target=train)
        trainer.start()
    for one in (*scorers, trainer):
        one.join()
    assert order[-1] == "train"
    assert len(order) == 5


def test_a_holder_that_is_killed_holds_nothing(folder):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from launchers.supervisor.turns import turn\n"
        "with turn(sys.argv[2], alone=True, pause=time.sleep): print(flush=True); time.sleep(600)"
    )
    root = str(Path(here.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", code, root, str(folder)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"\n"
        assert not can_begin(folder, alone=False)
        holder.kill()
        holder.wait()
        assert can_begin(folder, alone=True)


def test_a_lock_is_for_every_user_and_no_link_is_followed(folder, tmp_path):
    assert can_begin(folder, alone=True)
    assert stat.S_IMODE((folder / FLOOR).stat().st_mode) == 0o444
    (tmp_path / FLOOR).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TurnError, match=f"{tmp_path / FLOOR}.*expected a file.*remove"):
        can_begin(tmp_path, alone=False)
    assert not (tmp_path / "elsewhere").exists()


def test_the_folder_is_the_first_that_every_user_may_write_to(tmp_path, monkeypatch):
    monkeypatch.setattr(
        here, "TURNS", (f"{tmp_path}/absent", f"{tmp_path}/mine", f"{tmp_path}/all")
    )
    for name, mode in (("mine", 0o755), ("all", 0o1777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    assert here.folder_of_turns() == f"{tmp_path}/all"


# ------------------------------------------------------------------------------------ jobs


@pytest.fixture(params=LEVELS)
def level(request) -> str:
    works, said = accounts.finding(request.param, MYSELF)
    if not works:
        pytest.skip(f"level {request.param} does not work here: {said}")
    return request.param


def test_a_server_is_scored_when_what_trains_has_ended(jobs, level, tmp_path):
    """At every level: the one that trains could hear, whatever wall it is behind."""
    flag = tmp_path / "flag"
    jobs.submit("long", train=UNTIL_TOLD.format(flag=str(flag)), budget_seconds=60.0)
    wait_until(lambda: "TRAINING" in jobs.printed("long"))
    jobs.submit("other", sandbox=level)
    wait_until(lambda: waits(jobs, "other"))
    assert jobs.events("other") == ["started", "trained", "harvested", "waiting"]
    flag.touch()
    other, long = jobs.wait("other"), jobs.wait("long")
    assert (other.status, long.status) == ("finished", "finished")
    assert other.step("score").waited_seconds > 0
    assert other.step("train").waited_seconds < 1
    assert other.wall_seconds("score") < 15  # its clock began with its turn
    trained = next(line for line in lines(jobs, "long") if line["kind"] == "trained")
    scored = next(line for line in lines(jobs, "other") if line["kind"] == "scored")
    assert trained["at"] < scored["at"]


def test_waiting_takes_nothing_of_the_time_that_a_step_has(jobs, folder):
    with turn(str(folder), alone=False, pause=never):
        jobs.submit(score_seconds=3.0)
        wait_until(lambda: waits(jobs, "job"))
        threading.Event().wait(3.5)
        assert jobs.events()[-1] == "waiting"
    result = jobs.wait()
    assert result.status == "finished", result
    assert result.step("score").waited_seconds > 3


@pytest.mark.parametrize("alone", [True, False], ids=["beside-a-server", "beside-training"])
def test_a_job_of_our_own_code_waits_for_nobody(jobs, folder, alone):
    with turn(str(folder), alone=alone, pause=never):
        assert jobs.run(takes_turns=False).status == "finished"
    assert "waiting" not in jobs.events()


@pytest.mark.parametrize("alone", [True, False], ids=["to-train", "to-be-scored"])
def test_a_job_that_waits_can_be_cancelled_and_then_nobody_waits_for_it(jobs, folder, alone):
    with turn(str(folder), alone=alone, pause=never):
        jobs.submit()
        wait_until(lambda: waits(jobs, "job"))
        jobs.launcher.cancel(["job"])
        result = jobs.wait()
        assert result.status == "cancelled"
        assert [step.name for step in result.steps] == ([] if alone else ["train"])
        assert can_begin(folder, alone=False) is not alone


def test_a_supervisor_that_is_killed_while_it_waits_keeps_nobody_waiting(jobs, folder):
    with turn(str(folder), alone=False, pause=never):
        jobs.submit()
        wait_until(lambda: waits(jobs, "job"))
        assert not can_begin(folder, alone=False)
        supervisor = jobs.supervisor()
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: not alive(supervisor))
        assert can_begin(folder, alone=False)


def test_without_the_machines_locks_a_job_says_so_and_blames_nobody(jobs, tmp_path, monkeypatch):
    (tmp_path / FLOOR).symlink_to("/nowhere")
    monkeypatch.setattr(here, "TURNS", (str(tmp_path),))
    result = jobs.run()
    assert (result.status, result.blame) == ("failed", "infrastructure")
    assert str(tmp_path / FLOOR) in result.reason


def test_no_walled_program_can_hold_a_lock_of_the_machine(jobs, level, folder):
    train = f"""
import fcntl
leave()
try:
    with open({str(folder / FLOOR)!r}) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    print("LOCKED")
except OSError as error:
    print("REFUSED", error)
"""
    assert can_begin(folder, alone=True)  # the file is there
    jobs.run(train=train, sandbox=level)
    assert ("LOCKED" if level == "none" else "REFUSED") in jobs.path("log.txt").read_text()
