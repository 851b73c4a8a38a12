"""The level `bwrap` through the real launcher. Needs bubblewrap: `.ci/run` installs it.

Attacks on the wall are in tests/redteam; here is that honest work goes through it unchanged, that
its parts do what they say, and that nothing stays behind.
"""

import importlib.util
import json
import os
import shutil
import signal
import sys
import time
import venv
from pathlib import Path

import pytest
from specs import lay_data
from test_launchers import alive, jobs, ridge_data, ridge_tree, wait_until

from launchers.sandbox import bwrap, preflight
from launchers.sandbox.interpreter import find_interpreter
from launchers.sandbox.view import View
from launchers.sandbox.walls import WALLS

__all__ = ["jobs"]


def view(tmp_path: Path, **changes) -> View:
    """A view of empty folders."""
    fields = {
        "python": sys.executable,
        "folder": str(tmp_path / "env"),
        "readable": {"data": str(tmp_path / "data")},
        "work": None,
        "wall": str(tmp_path / "wall"),
        "lock": None,
        "masked": (),
        "out_bytes": 0,
        "scratch_bytes": 1 << 20,
        "processes": 64,
        "gpus": (),
        "environment": {"LANG": "C.UTF-8"},
    }
    return View(**fields | changes)


def test_honest_work_gives_the_same_bits_as_without_a_wall(jobs):
    bare, walled = jobs.run("bare"), jobs.run("walled", sandbox="bwrap")
    assert walled.status == "finished", walled
    assert walled.outputs == bare.outputs
    assert walled.evaluation == bare.evaluation
    assert walled.sandbox_level == "bwrap"
    assert not any("network" in gap or "hidden" in gap for gap in walled.sandbox_gaps)


def test_what_a_program_sees_is_what_it_was_given(jobs):
    train = """
seen = {
    "env": sorted(os.environ),
    "top": sorted(os.listdir("/")),
    "varve": sorted(os.listdir("/varve")),
    "pids": [name for name in os.listdir("/proc") if name.isdigit()],
    "home": os.environ["HOME"],
    "cwd": os.getcwd(),
    "interfaces": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
    "uid": os.getuid(),
}
print("SEEN", json.dumps(seen))
leave()
"""
    os.environ["VARVE_CANARY_KEY"] = "secret"
    try:
        jobs.run(train=train, sandbox="bwrap")
    finally:
        del os.environ["VARVE_CANARY_KEY"]
    log = jobs.path("log.txt").read_text()
    line = next(line for line in log.splitlines() if line.startswith("SEEN"))
    seen = json.loads(line.removeprefix("SEEN "))
    assert seen["varve"] == ["data", "env", "out"]
    assert len(seen["pids"]) == 2
    assert (seen["cwd"], seen["home"]) == ("/varve/env", "/tmp/home")
    assert "VARVE_CANARY_KEY" not in seen["env"]
    assert seen["uid"] != 0
    assert seen["interfaces"] in ([], ["lo"])
    assert not {"work", "home", "var", "run", "srv", "mnt"} & set(seen["top"]) - _python_roots()


def _python_roots() -> set[str]:
    """First parts of the interpreter's own folders, which must be there."""
    return {folder.split("/")[1] for folder in find_interpreter(sys.executable).folders}


def test_outputs_outlive_the_namespace_and_only_plain_files_are_taken(jobs):
    result = jobs.run(train="leave(); os.chmod(ARGS.out, 0o500)", sandbox="bwrap")
    assert set(result.outputs) == {"weights.json"}
    assert not jobs.path("work").exists()
    assert not jobs.path("judge").exists()


def test_a_killed_supervisor_leaves_no_process_behind_the_wall(jobs):
    train = """
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            time.sleep(60)
        time.sleep(60)
time.sleep(60)
"""
    jobs.submit(train=train, sandbox="bwrap")
    supervisor = jobs.supervisor()
    wait_until(lambda: len(jobs.processes()) >= 9)
    members = jobs.processes()
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in members), seconds=5)


def test_a_program_that_is_gone_takes_its_daemons_with_it(jobs):
    train = """
leave()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            if number not in (9, 19, 17):
                signal.signal(number, signal.SIG_IGN)
        time.sleep(60)
    os._exit(0)
time.sleep(0.3)
"""
    result = jobs.run(train=train, sandbox="bwrap")
    assert result.status == "finished"
    assert result.wall_seconds("train") < 10
    assert not any(alive(pid) for pid in jobs.processes())


def test_nothing_outside_can_be_written_and_no_word_is_two_dashes(tmp_path):
    words = WALLS["bwrap"].command(view(tmp_path, out_bytes=1 << 20), ["/bin/true"])
    assert "--bind" not in words
    assert "--" not in words
    assert {"--unshare-net", "--unshare-pid", "--clearenv", "--as-pid-1"} <= set(words)


def test_only_the_gpus_of_the_job_are_shown(tmp_path):
    bare = bwrap.arguments(view(tmp_path))
    assert not any("nvidia" in word for word in bare)
    given = bwrap.arguments(view(tmp_path, gpus=(3, 5)))
    shown = {word for word in given if "nvidia" in word}
    assert {"/dev/nvidia3", "/dev/nvidia5", "/dev/nvidiactl"} <= shown
    assert "/dev/nvidia0" not in shown


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="the masked packages are torch's")
def test_masked_packages_are_empty_and_the_rest_of_them_is_there(jobs):
    train = """
import glob, sysconfig
packages = sysconfig.get_paths()["purelib"]
for name in ("torch/distributed/elastic", "torch/distributed"):
    print("COUNT", name, len(glob.glob(f"{packages}/{name}/*")))
leave()
"""
    jobs.run(train=train, sandbox="bwrap", masked=("torch/distributed/elastic",))
    counts = dict(
        line.split()[1:] for line in jobs.printed("job").splitlines() if line.startswith("COUNT")
    )
    assert counts["torch/distributed/elastic"] == "0"
    assert int(counts["torch/distributed"]) > 10


def test_a_virtual_environment_shows_its_own_packages_and_not_those_beside_it(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    found = find_interpreter(str(tmp_path / "venv/bin/python"))
    assert str(tmp_path / "venv") in found.folders
    assert [str(tmp_path / "venv")] == [one.split("/lib/")[0] for one in found.packages]
    assert not set(found.unused) & set(found.packages)
    assert all(not one.startswith(str(tmp_path)) for one in found.unused)


def test_a_link_to_an_interpreter_does_not_show_the_folder_around_it(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(os.path.realpath(sys.executable))
    assert str(tmp_path) not in find_interpreter(str(tmp_path / "bin/python")).folders


def test_a_virtual_environment_that_shares_packages_masks_those_too(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False, system_site_packages=True)
    found = find_interpreter(str(tmp_path / "venv/bin/python"))
    base = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    assert any(one.startswith(base) for one in found.packages)


def test_the_preflight_runs_the_real_thing():
    found = {one.level: one for one in preflight.examine()}
    assert list(found) == ["none", "landlock", "bwrap"]
    assert found["bwrap"].works, found["bwrap"]
    assert not found["bwrap"].remedy


def test_an_interpreter_that_cannot_run_there_is_found_by_the_preflight(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    found = preflight.examine(str(broken))[-1]
    assert not found.works
    assert found.reason
    assert found.remedy


@pytest.mark.parametrize(
    ("switches", "said", "expected"),
    [
        ({"kernel/unprivileged_userns_clone": "0"}, "x", "unprivileged_userns_clone=1"),
        ({"user/max_user_namespaces": "0"}, "x", "max_user_namespaces"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "x", "AppArmor"),
        ({}, "bwrap: Can't mount proc on /newroot/proc", "systempaths=unconfined"),
        ({}, "setpriv: failed to execute /root/x: Permission denied", "every user may enter"),
        ({}, "bwrap: Creating new namespace failed: Operation not permitted", "SYS_ADMIN"),
    ],
)
def test_the_remedy_names_a_command_that_fits(monkeypatch, switches, said, expected):
    monkeypatch.setattr(preflight, "_switch", switches.get)
    assert expected in preflight.remedy("bwrap", said)


def test_a_machine_without_bubblewrap_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setattr(preflight, "find_program", lambda name: name == "apt-get" or None)
    said = "bwrap: not found on this machine"
    assert preflight.remedy("bwrap", said) == "sudo apt-get install -y bubblewrap"


@pytest.mark.parametrize("level", ["none", "landlock", "bwrap"])
@pytest.mark.parametrize(
    "serving",
    ["import time; time.sleep(600)", "import sys; sys.stdout.buffer.write(b'x' * 64)", "1 / 0"],
)
def test_a_model_that_does_not_answer_is_its_own_fault_at_every_level(jobs, level, serving):
    """`model/features.py` is imported by train.py too, so it misbehaves in the server only."""
    lazy = (
        f"import sys\nif 'serve' in sys.argv[0]:\n    {serving}\n"
        "def features(x): return [1.0, *x]\n"
    )
    patient, impatient = b"ANSWER_SECONDS = 10.0", b"ANSWER_SECONDS = 2.0"
    evaluate = ridge_tree()["evaluate.py"].replace(patient, impatient)
    files = {"model/features.py": lazy.encode(), "evaluate.py": evaluate}
    result = jobs.run(sandbox=level, files=files, score_seconds=60.0)
    assert result.blame == "evaluate", result.reason


@pytest.mark.parametrize(
    ("name", "mode"), [("torch/nn", 0o700), ("torch", 0o750), ("six.py", 0o600)]
)
def test_a_package_that_only_its_owner_may_read_is_found(tmp_path, monkeypatch, name, mode):
    packages = tmp_path / "lib/python3.11/site-packages"
    (packages / "torch/nn").mkdir(parents=True)
    (packages / "six.py").touch()
    (packages / "gone").symlink_to("nowhere")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()
    python = str(tmp_path / "bin/python")
    assert preflight.private_package(python) is None
    (packages / name).chmod(mode)
    assert preflight.private_package(python) == (str(packages), name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = preflight.examine(python)[-1]
    assert (found.level, found.works) == ("bwrap", False)
    assert found.reason.endswith(f" {packages / name}")
    assert found.remedy == f"chmod -R o+rX {packages}"


@pytest.mark.parametrize("level", ["landlock", "bwrap"])
def test_a_wall_that_cannot_be_put_up_is_the_machines_fault(jobs, level, tmp_path, monkeypatch):
    """The interpreter may be entered by its owner alone, as below a home of mode 0700."""
    if level == "bwrap":
        data = tmp_path / "closed"
        shutil.copytree(ridge_data(), data)
        lay_data(jobs.data, "closed", data)
        for path in (data / "train").iterdir():
            path.chmod(0o600)
        if os.getuid() != 0:
            pytest.skip("an ordinary user's job is the same user and may read the file")
        result = jobs.run(sandbox=level, data="closed")
        assert "chmod -R o+rX" in result.reason
    else:
        python = tmp_path / "python"
        python.write_text("not a program")
        python.chmod(0o755)
        jobs.launcher.python = str(python)
        result = jobs.run(sandbox=level)
    assert result.blame == "infrastructure", result.reason


@pytest.mark.parametrize("after", [0.0, 0.02, 0.04, 0.06, 0.08, 0.1])
def test_a_supervisor_killed_while_a_server_starts_leaves_nothing(jobs, after):
    """The server would go on for a minute; its wall may be half up when the supervisor dies."""
    lazy = "import sys, time\nif 'serve' in sys.argv[0]:\n    time.sleep(60)\n"
    lazy += "def features(x): return [1.0, *x]\n"
    jobs.submit(sandbox="bwrap", files={"model/features.py": lazy.encode()})
    supervisor = jobs.supervisor()
    wait_until(lambda: "harvested" in jobs.events())
    time.sleep(after)
    os.kill(supervisor, signal.SIGKILL)
    marker = str(jobs.path(""))
    wait_until(lambda: not _processes_of(marker), seconds=5)


def _processes_of(marker: str) -> list[str]:
    """Command lines that name a run folder, and servers below nobody."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if entry.isdigit() and marker in line and "pytest" not in line:
            found.append(line)
    return found


def test_what_a_server_prints_is_kept_apart(jobs):
    """It is given hidden text, and logs of training are shown to models."""
    loud = (
        "import sys\nif 'serve' in sys.argv[0]:\n    print('SECRET', file=sys.stderr, flush=True)\n"
    )
    loud += "def features(x): return [1.0, *x]\n"
    for level in ("none", "landlock", "bwrap"):
        result = jobs.run(level, sandbox=level, files={"model/features.py": loud.encode()})
        assert result.status == "finished", result.reason
        assert "SECRET" not in jobs.path("log.txt", level).read_text() + str(result)
        assert "SECRET" in jobs.path("score.txt", level).read_text()
