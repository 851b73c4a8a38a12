"""The programs of an environment as a job starts them: command lines, and what each may see.

train.py     untrusted: sees its tree and the training data, leaves what it makes in `out`
serve.py     untrusted: sees its tree and the harvested outputs, writes nothing
evaluate.py  trusted: in a folder without the files that a patch may change, outside the wall
"""

import os
from collections.abc import Container
from typing import TYPE_CHECKING

from launchers import folder as names
from launchers.sandbox.environment import job_environment
from launchers.sandbox.view import OUT, View
from launchers.sandbox.walls import WALLS, Wall

if TYPE_CHECKING:
    from launchers.job import JobSpec

PROGRAMS = ("train.py", "serve.py", "evaluate.py")
"""What the tree of every environment has."""
SHARDS = ("train", "hidden", "second")
"""What the data folder of every environment has."""
COPIES = 2
"""How often an output may lie in `out` at once, since it is written aside and then renamed."""
SPARE_BYTES = 1 << 20


def missing_parts(spec: "JobSpec", files: Container[str]) -> list[str]:
    """Programs and shards that a job needs and that are not there, the interpreter included."""
    programs = [name for name in PROGRAMS if name not in files]
    if not os.access(spec.python, os.X_OK):
        programs.append(spec.python)
    shards = [f"{name}/" for name in SHARDS if not os.path.isdir(os.path.join(spec.data, name))]
    return programs + shards


def wall_of(spec: "JobSpec") -> Wall:
    """The wall of the job's level."""
    return WALLS[spec.sandbox]


def out_bytes(spec: "JobSpec") -> int:
    """Most that training may hold in its output folder."""
    declared = sum(rule["max"] * rule["bytes"] for rule in spec.outputs.values())
    return COPIES * declared + SPARE_BYTES


def training_view(spec: "JobSpec", run: str) -> View:
    """What train.py may see: of the data the training shard only."""
    return _view(
        spec,
        run,
        readable={"data": os.path.join(spec.data, "train")},
        work=os.path.join(run, names.WORK),
        out=out_bytes(spec),
    )


def serving_view(spec: "JobSpec", run: str) -> View:
    """What serve.py may see: the harvested outputs, and no data at all."""
    return _view(spec, run, readable={"checkpoint": os.path.join(run, names.OUT)}, work=None, out=0)


def _view(
    spec: "JobSpec", run: str, *, readable: dict[str, str], work: str | None, out: int
) -> View:
    return View(
        python=spec.python,
        folder=os.path.join(run, names.ENV),
        readable=readable,
        work=work,
        wall=os.path.join(run, names.WORK, "wall"),
        lock=os.path.join(run, names.LOCK),
        masked=tuple(spec.masked),
        out_bytes=out,
        scratch_bytes=spec.scratch_bytes,
        processes=spec.processes,
        gpus=tuple(spec.gpus),
        environment=environment_of(spec, run),
    )


def environment_of(spec: "JobSpec", run: str) -> dict[str, str]:
    """The process environment of every program of the job, but for HOME and TMPDIR."""
    return job_environment(os.environ, run=run, threads=spec.threads, gpus=spec.gpus)


def train_command(spec: "JobSpec", view: View) -> list[str]:
    """Starts training behind the wall."""
    wall = wall_of(spec)
    command = [spec.python, "train.py", "--profile", spec.profile, "--seed", str(spec.seed)]
    command += ["--data", wall.path(view, "data"), "--out", wall.path(view, OUT)]
    command += ["--budget-seconds", str(spec.budget_seconds)]
    return wall.command(view, command)


def score_command(spec: "JobSpec", run: str, view: View) -> list[str]:
    """Starts the trusted evaluation, which starts the patched model's server behind the wall."""
    wall = wall_of(spec)
    command = [spec.python, "evaluate.py", "--profile", spec.profile]
    command += ["--outputs", wall.path(view, "checkpoint")]
    for flag, shard in zip(("--data", "--hidden", "--second"), SHARDS, strict=True):
        command += [flag, os.path.join(spec.data, shard)]
    if spec.cuts:
        command += ["--cuts", str(spec.cuts)]
    serve = wall.command(view, [spec.python, "serve.py"])
    return [*command, "--result", report_path(run), "--serve", *serve]


def report_path(run: str) -> str:
    """Where evaluate.py leaves its report."""
    return os.path.join(run, names.WORK, "evaluation.json")
