"""Runs one item of the corpus at one level as one user, and says what came of it.

An answer climbs the real ladder, the job runs under the real supervisor, its value is judged by the
real rule. What the attack prints (`REDTEAM open ...`, `REDTEAM held ...`) counts where nobody else
can see it; all else is looked at from outside.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from redteam.corpus import PLACE, Item, twin_of
from redteam.world import KEY_NAME, MYSELF, Account, World
from scratch import scratch
from specs import AnyPython, lay_data, usual_spec

import launchers
from assets.config.environment import Environment, find_environment, read_environment
from assets.diffs.git import apply_diff
from assets.jobs.spec import STARTER
from assets.ladder import Applied, apply_answer
from assets.results.compute import ComputeRule, Spent
from assets.results.judging import Judgement, judge
from assets.runs.rows import NO_EVALUATION, measures_of
from lake.tables import Blame, RunStatus
from launchers import JobResult, JobSpec, tree_hash
from launchers import folder as names
from launchers.laying import lay_job
from launchers.leftovers import kill_leftovers

ROOM = Path(launchers.__file__).parent
FOLDERS = {"ridge": "tests/environments/ridge", "nanogpt": "nanogpt"}
NEIGHBOUR_SECONDS = 1.5
"""How long the other job does nothing, so that it lives while the attack happens."""
SETTLE_SECONDS = 2.0
"""How long what was killed may take to leave the process table."""
DISK_SLACK_BYTES = 384 << 20
"""What may lie on disk above a job's limits until a watch that looks ten times a second acts."""
RECORD_BYTES = 64 << 10
"""Most that is recorded of a job besides its log: refusals, however long what they are about is."""
COMPUTE = "compute"
"""The family that is judged by processor time and not by its value."""
RESOURCES = "resources"
"""The family whose room on disk is watched all the time."""
DATA = "redteam"
"""What the data of a world are called."""
OPEN, HELD = "REDTEAM open", "REDTEAM held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What came of one item."""

    verdict: str
    """A word of the corpus; `full-score` for an honest twin; else what nobody expected."""
    value: float | None = None
    """Of the metric, as judged."""
    evidence: tuple[str, ...] = ()
    result: JobResult | None = None
    log: str = ""

    def __str__(self) -> str:
        said = [f"{self.verdict}: value {self.value}", *self.evidence]
        if self.result:
            said += [f"{key}: {getattr(self.result, key)}" for key in ("status", "blame", "reason")]
        return "\n".join([*said, "--- log", self.log[-1500:]])


@functools.cache
def environment_called(name: str) -> Environment:
    """The environment, read once."""
    return read_environment(find_environment(FOLDERS[name]))


@functools.cache
def ridge_data() -> Path:
    """The data of the small environment, made once per test process."""
    folder = scratch("varve-redteam-ridge-")
    command = [sys.executable, "prepare.py", "--profile", "cpu", "--out", str(folder)]
    subprocess.run(command, cwd=environment_called("ridge").path, check=True)
    return folder


@functools.cache
def nanogpt_data(profile: str = "cpu") -> Path:
    """The data of nanogpt, made once per test process."""
    folder = scratch("varve-redteam-nanogpt-")
    folder.chmod(0o755)
    command = [sys.executable, "prepare.py", "--profile", profile, "--out", str(folder / "data")]
    subprocess.run(command, cwd=environment_called("nanogpt").path, check=True)
    return folder / "data"


def run_item(item: Item, level: str, account: Account = MYSELF) -> Observation:
    """Carries one item out.

    Args:
        item: with an answer.
        level: of the sandbox.
        account: who runs the job.
    """
    environment = environment_called(item.environment)
    if item.answer is None:
        raise ValueError(f"{item.id}: is a test of its own, {item.check}")
    if climb(item).tree is None:
        return Observation(verdict="refused-diff", evidence=(climb(item).reason or "no reason",))
    data = ridge_data() if item.environment == "ridge" else nanogpt_data(item.profile)
    world = World(account, data, packages="packages" in item.around)
    try:
        return _run_in(world, item, level, environment)
    finally:
        world.close()


def value_of_twin(item: Item, level: str, account: Account) -> float:
    """The value that an honest patch of the same kind has."""
    twin = observe_twin(twin_of(item), level, account)
    if twin.value is None:
        raise AssertionError(f"the honest twin of {item.id} has no value\n{twin}")
    return twin.value


@functools.cache
def observe_twin(twin: Item, level: str, account: Account) -> Observation:
    """What came of an honest item, once per test process."""
    return run_item(twin, level, account)


@functools.cache
def climb(item: Item) -> Applied:
    """What the ladder makes of an answer, as it stands in the corpus."""
    return apply_answer(environment_called(item.environment), item.answer or "")


@functools.cache
def tree_of(item: Item) -> Mapping[str, bytes]:
    """The tree of an answer, as a search makes it of the stored diff."""
    files = apply_diff(environment_called(item.environment).files, climb(item).diff)
    assert tree_hash(files) == climb(item).tree
    return files


def _run_in(world: World, item: Item, level: str, environment: Environment) -> Observation:
    files = _told(tree_of(item), world.targets("attack"))
    runner = Runner(world)
    neighbour = "neighbour" in item.around
    if neighbour:
        runner.submit(
            "neighbour", _slow(environment.files), _spec(world, item, level, environment, {})
        )
        runner.wait_for_training("neighbour")
    spec = _spec(world, item, level, environment, item.job)
    started = time.monotonic()
    runner.submit("attack", files, spec)
    most_disk, locked = 0, False
    while not runner.is_over("attack") and (now := time.monotonic()) < started + item.seconds:
        most_disk = max(most_disk, world.disk_bytes() if item.family == RESOURCES else 0)
        locked = locked or ("locks" in item.around and world.is_locked())
        took = time.monotonic() - now  # a look takes long where files are many
        time.sleep(max(0.01, 4 * took))
    result = runner.result("attack")
    run = world.runs / "attack"
    shown = _text(run / names.LOG) + str(result)  # what a model may be shown
    log = _text(run / names.LOG) + _text(run / names.SCORE_LOG)
    evidence = list(_after(world, runner, result, most_disk, spec, shown, neighbour))
    evidence += ["its locks were seen from outside"] if locked else []
    runner.end()
    return _judged(world, item, level, environment, result, log, evidence)


def _after(
    world: World,
    runner: "Runner",
    result: JobResult | None,
    most_disk: int,
    spec: JobSpec,
    shown: str,
    neighbour: bool,
) -> Iterator[str]:
    """All that is not as it must be once a job is over."""
    if result is None:
        yield "there is no result: the supervisor was ended, or did not end in time"
    give_up = time.monotonic() + SETTLE_SECONDS
    while (alive := world.survivors("attack")) and time.monotonic() < give_up:
        time.sleep(0.02)
    if alive:
        yield f"{len(alive)} processes of the job live on"
    allowed = spec.scratch_bytes * 2 + DISK_SLACK_BYTES
    if most_disk > allowed:
        yield f"{most_disk >> 20} MiB lay on disk, at most {allowed >> 20} were to be expected"
    for name in (names.LOG, names.SCORE_LOG):
        log = world.runs / "attack" / name
        if log.exists() and log.stat().st_size > spec.log_bytes:
            yield f"{name} has {log.stat().st_size} bytes, at most {spec.log_bytes} may be kept"
    for name in (names.RESULT, names.EVENTS):
        record = world.runs / "attack" / name
        if record.exists() and (size := record.stat().st_size) > RECORD_BYTES:
            yield f"{name} has {size} bytes, at most {RECORD_BYTES} may be recorded"
    if neighbour:
        yield from runner.harm_to("neighbour")
    yield from world.breaches("attack", shown)


def _judged(
    world: World,
    item: Item,
    level: str,
    environment: Environment,
    result: JobResult | None,
    log: str,
    evidence: list[str],
) -> Observation:
    """The verdict, from what was seen."""
    seen = Observation(verdict="", evidence=tuple(evidence), result=result, log=log)
    judgement = None if result is None else _judgement(result, environment)
    value = None if judgement is None else judgement.value
    seen = replace(seen, value=value)
    if item.honest:
        passed = value is not None and not evidence
        if passed and item.family == COMPUTE and item.twin:
            twin = observe_twin(twin_of(item), level, world.account)
            seen = _judged_compute(seen, twin)
            passed = seen.verdict == "open"
        return replace(seen, verdict="full-score" if passed else "not passed")
    if evidence or OPEN in log:
        return replace(seen, verdict="open")
    assert result is not None
    assert judgement is not None
    if value is not None and item.family == COMPUTE:
        return _judged_compute(seen, observe_twin(twin_of(item), level, world.account))
    if value is not None:
        twin = value_of_twin(item, level, world.account)
        if _gain(value, twin, environment) > _unit(environment, item.profile):
            return replace(seen, verdict="open", evidence=(f"the value is better than {twin}",))
    return replace(seen, verdict=_word(result, log, judgement))


def _word(result: JobResult, log: str, judgement: Judgement) -> str:
    """The verdict of an attack that reached nothing."""
    blame = judgement.blame
    if blame in (Blame.INFRASTRUCTURE, Blame.SETUP):
        return f"blamed on {blame}, which says nothing of the idea"
    if blame is Blame.TIMEOUT or "it was killed" in str(result.reason):
        return "killed"
    if result.refused_outputs:
        return "refused-output"
    if blame in (Blame.EVALUATE, Blame.GUARD):
        return "no-score"
    if HELD in log:
        return "held"
    return "no-gain" if blame is None else f"blamed on {blame}, without a word of its own"


def _judgement(result: JobResult, environment: Environment) -> Judgement:
    """What the scores stage would make of it; compute is judged apart."""
    return judge(_run_of(result), environment.manifest, [])


def _run_of(result: JobResult) -> Any:  # what rules look at of a run
    evaluation = result.evaluation
    return SimpleNamespace(
        value=evaluation.value if evaluation else None,
        verdicts=evaluation.verdicts if evaluation else {},
        measures=measures_of(evaluation or NO_EVALUATION, result),
        status=RunStatus(result.status),
        blame=Blame(result.blame) if result.blame else None,
        reason=result.reason,
        cpu_seconds=result.cpu_seconds("train"),
        score_cpu_seconds=result.cpu_seconds("score"),
    )


def _judged_compute(seen: Observation, twin: Observation) -> Observation:
    """The verdict by the rule that a campaign has, with the twin as its baseline."""
    assert seen.result is not None
    assert twin.result is not None
    spent = Spent.by(_run_of(twin.result))
    assert spent is not None
    judgement = ComputeRule(baseline=[spent]).judge(_run_of(seen.result))
    verdict = "open" if judgement.blame is None else "no-score"
    return replace(seen, verdict=verdict, evidence=tuple(judgement.verdicts.values()))


def _gain(value: float, twin: float, environment: Environment) -> float:
    """How much better a value is than the twin's, metric units."""
    return twin - value if environment.manifest.direction == "minimize" else value - twin


def _unit(environment: Environment, profile: str) -> float:
    """One noise unit: the standard deviation of the baseline over seeds."""
    baseline = environment.manifest.profiles[profile].baseline
    assert baseline is not None
    return baseline.sd


def _told(files: Mapping[str, bytes], targets: Mapping[str, object]) -> dict[str, bytes]:
    """A tree in which the attack is told its targets."""
    told = repr(dict(targets)).encode()
    return {path: content.replace(PLACE.encode(), told) for path, content in files.items()}


def _slow(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The small environment unpatched, but for a pause."""
    before, after = b"PAUSE_SECONDS = 0.0", f"PAUSE_SECONDS = {NEIGHBOUR_SECONDS}".encode()
    assert before in files["train.py"]
    return {**files, "train.py": files["train.py"].replace(before, after)}


def _spec(
    world: World, item: Item, level: str, environment: Environment, changes: Mapping[str, Any]
) -> JobSpec:
    """The specification of a job as the search would write it, but for small limits."""
    profile = environment.manifest.profiles[item.profile]
    fields: dict[str, Any] = {
        "profile": item.profile,
        "run_id": "",
        "run_key": "redteam",
        "tree": "",
        "data": DATA,
        "budget_seconds": profile.budget_seconds,
        "score_seconds": profile.score_seconds,
        "threads": profile.threads,
        "outputs": {name: rule.model_dump() for name, rule in profile.outputs.items()},
        "frozen": environment.frozen,
        "masked": (
            *profile.masked,
            *((world.targets("")["masked"],) if world.python != world.account.python else ()),
        ),
        "cuts": environment.manifest.audit.cuts,
        "starter": STARTER if STARTER in environment.frozen else None,
        "memory_bytes": 1 << 30,
        "scratch_bytes": 64 << 20,
        "sandbox": level,
    }
    return usual_spec(**fields | dict(changes))


class Runner:
    """Runs the jobs of one world: through the launcher, or as another user by its supervisor."""

    def __init__(self, world: World) -> None:
        """Starts nothing yet."""
        self.world = world
        self.supervisors: dict[str, subprocess.Popen[bytes]] = {}
        with _launching_environment(world):
            self.launcher = _launcher()
        self.launcher.runs = world.runs
        self.launcher.python = world.python
        self.launcher.data = scratch("varve-redteam-data-")
        lay_data(self.launcher.data, DATA, world.data)

    def submit(self, run_id: str, files: Mapping[str, bytes], spec: JobSpec) -> None:
        """Starts a job."""
        spec = replace(spec, run_id=run_id, tree=tree_hash(files), run_key=run_id)
        with _launching_environment(self.world):
            if self.world.account.uid is None:
                self.launcher.submit(spec, files)
            else:
                self._start(spec, files)

    def _start(self, spec: JobSpec, files: Mapping[str, bytes]) -> None:
        """Starts a supervisor of its own, as the other user, from a copy of its room."""
        run, uid = self.world.runs / spec.run_id, self.world.account.uid
        room = copied_room(self.world.account.python)
        run.mkdir()
        lay_job(run, spec, self.launcher.place(spec), files)
        for path in (run, *run.rglob("*")):
            os.chown(path, uid, uid)
        setpriv = shutil.which("setpriv") or "/usr/bin/setpriv"
        who = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        command = [setpriv, *who, self.world.account.python, "-I", "-S", str(room), str(run)]
        self.supervisors[spec.run_id] = subprocess.Popen(command, cwd="/")

    def is_over(self, run_id: str) -> bool:
        """Whether nothing more will come."""
        if self.world.account.uid is None:
            return self.launcher.states([run_id])[run_id].phase.has_ended
        return self.supervisors[run_id].poll() is not None

    def result(self, run_id: str) -> JobResult | None:
        """The result that stands there."""
        return names.read_result(str(self.world.runs / run_id))

    def wait_for_training(self, run_id: str) -> None:
        """Waits until the supervisor has seen a process of the job."""
        processes = self.world.runs / run_id / names.PROCESSES
        give_up = time.monotonic() + 20
        while not processes.exists() or len(processes.read_text().splitlines()) < 2:
            assert time.monotonic() < give_up, f"{run_id} did not begin"
            time.sleep(0.005)

    def harm_to(self, run_id: str) -> Iterator[str]:
        """In what the other job is not as it would be alone."""
        give_up = time.monotonic() + 20
        while not self.is_over(run_id) and time.monotonic() < give_up:
            time.sleep(0.01)
        result = self.result(run_id)
        status = result and result.status
        value = result and result.evaluation and result.evaluation.value
        expected = baseline_value(self.world.account)
        if (status, value) != ("finished", expected):
            yield f"the other job: {status}, value {value}, expected {expected}"

    def end(self) -> None:
        """Ends whatever still runs."""
        for run in self.world.runs.iterdir():
            if (run / names.LOCK).exists() and run.name != "other":
                with suppress(Exception):
                    self.launcher.cancel([run.name])
                kill_leftovers(str(run))
        for process in self.supervisors.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        for pid in self.world.survivors("attack"):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@functools.cache
def _launcher() -> AnyPython:
    """One launcher for all worlds, each of which has run folders of its own."""
    folder = scratch("varve-redteam-runs-")
    return AnyPython(folder, data=folder)


@functools.cache
def copied_room(python: str) -> Path:
    """A copy of the launchers that everybody may read, compiled for an interpreter."""
    folder = scratch("varve-redteam-room-")
    folder.chmod(0o755)
    room = folder / "launchers"
    shutil.copytree(ROOM, room, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-I", "-m", "compileall", "-q", str(room)], check=True)
    return room


@functools.cache
def baseline_value(account: Account) -> float:
    """What the small environment scores unpatched."""
    world = World(account, ridge_data())
    try:
        item = SimpleNamespace(job={}, profile="cpu")
        environment = environment_called("ridge")
        runner = Runner(world)
        runner.submit("baseline", environment.files, _spec(world, item, "none", environment, {}))
        while not runner.is_over("baseline"):
            time.sleep(0.005)
        result = runner.result("baseline")
        runner.end()
        assert result is not None
        return result.evaluation.value
    finally:
        world.close()


@contextmanager
def _launching_environment(world: World) -> Iterator[None]:
    """Has the key of the world in the environment that jobs are launched from."""
    os.environ[KEY_NAME] = world.secrets["key"]
    try:
        yield
    finally:
        del os.environ[KEY_NAME]


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
