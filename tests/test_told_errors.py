"""What a user can act on is told in words: no traceback, neither in the terminal nor in the UI."""

import subprocess

import dagster as dg
import pytest
from conftest import PROJECT, write_campaign
from redteam.accounts import accounts, lacks
from redteam.field import copied_room
from scratch import scratch
from test_cli import varve

from assets.cli import spoken_errors
from assets.errors import VarveError
from assets.graph.campaign import _told_failures
from assets.graph.search import _reason
from lake import QueryError
from launchers import JobRunningError, LauncherError, NoProcessError, TreeError

NO_PROCESS = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from launchers.launcher import NoProcessError
from launchers.nursery import Nursery
run = sys.argv[2]
lock = os.open(os.path.join(run, "lock"), os.O_RDWR | os.O_CREAT)
nursery = Nursery({})
if sys.argv[3] == "a supervisor":
    nursery._connection(run)
    pid = nursery._ending.peek()[2][1].pid
    resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
else:
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    nursery.start(run, lock)
except NoProcessError as error:
    print(error)
"""
"""As an ordinary user, whom the limit on processes binds."""


@pytest.mark.parametrize("what", ["a supervisor", "the nursery"])
def test_a_machine_that_starts_no_more_processes_is_told_so(what):
    account = accounts()[-1]
    if said := lacks(account):
        pytest.skip(said)
    run = scratch("varve-no-process-")
    run.chmod(0o777)
    room = copied_room(account.python).parent
    command = [account.python, "-I", "-S", "-c", NO_PROCESS, str(room), str(run), what]
    ids = {} if account.uid is None else {"user": account.uid, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **ids)
    assert done.stdout.startswith(f"{run}: found that no process can be started"), done.stderr
    assert "ulimit -u" in done.stdout
    assert done.stderr == ""


ACTED_ON = [
    LauncherError("a lock: found no live process"),
    NoProcessError("no process"),
    JobRunningError("not done"),
    TreeError("tree: found the path"),
    QueryError(where="w", found="f", expected="e", todo="t"),
    VarveError("v"),
]


@pytest.mark.parametrize("error", ACTED_ON, ids=lambda error: type(error).__name__)
def test_errors_of_every_room_are_told_in_terminal_and_ui(home, capsys, error):
    with pytest.raises(SystemExit) as ended, spoken_errors():
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"varve: {error}\n"
    with pytest.raises(dg.Failure) as failed, _told_failures(home):
        raise error
    assert failed.value.description == str(error)
    assert not failed.value.allow_retries


def test_a_bug_is_no_words():
    with pytest.raises(KeyError), spoken_errors():
        raise KeyError("a bug")


def test_a_file_name_that_no_tree_may_hold_is_told(home, tmp_path):
    folder = tmp_path / "odd"
    subprocess.run(["cp", "-r", str(PROJECT / "tests/environments/ridge"), folder], check=True)
    (folder / "model" / "two\nlines.py").write_text("")
    write_campaign(home.campaigns, environment=str(folder))
    done = varve(home, "search", "small")
    assert done.returncode == 1
    assert "found the path 'model/two\\nlines.py', expected a relative one" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dagster_run_that_fails_before_its_first_step_says_why():
    @dg.resource
    def history(context):
        raise RuntimeError("the disk of the history is gone")

    @dg.asset(required_resource_keys={"history"})
    def stage(context): ...

    definitions = dg.Definitions(
        assets=[stage], resources={"history": history}, executor=dg.in_process_executor
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=dg.DagsterInstance.ephemeral(), raise_on_error=False
    )
    said = str(_reason(result))
    assert said.startswith(f"Dagster run {result.run_id} failed before its first step: ")
    assert "RuntimeError: the disk of the history is gone. Expected a stage" in said
    assert "run the same command again" in said
    assert "\n" not in said
