"""The programs of an environment, as a job starts them: what must be there, and the command lines."""

import os
from collections.abc import Container
from typing import TYPE_CHECKING

from launchers import folder as names
from launchers.sandbox import Level, wrap

if TYPE_CHECKING:
    from launchers.job import JobSpec

PROGRAMS = ("train.py", "serve.py", "evaluate.py")
"""What the tree of every environment has."""
SHARDS = ("train", "hidden", "second")
"""What the data folder of every environment has."""


def missing_parts(spec: "JobSpec", files: Container[str]) -> list[str]:
    """Programs and shards that a job needs and that are not there."""
    programs = [name for name in PROGRAMS if name not in files]
    shards = [f"{name}/" for name in SHARDS if not os.path.isdir(os.path.join(spec.data, name))]
    return programs + shards


def train_command(spec: "JobSpec", run: str, level: Level) -> list[str]:
    """Starts training; of the data it is told the training shard only."""
    data = os.path.join(spec.data, "train")
    work = os.path.join(run, names.WORK)
    command = [spec.python, "train.py", "--profile", spec.profile, "--seed", str(spec.seed)]
    command += ["--data", data, "--out", os.path.join(work, names.OUT)]
    command += ["--budget-seconds", str(spec.budget_seconds)]
    return wrap(command, level, readable=[os.path.join(run, names.ENV), data], writable=[work])


def score_command(spec: "JobSpec", run: str, level: Level) -> list[str]:
    """Starts the trusted evaluation, which starts the patched model's server inside the wall."""
    outputs = os.path.join(run, names.OUT)
    serve = wrap(
        [spec.python, "serve.py"],
        level,
        readable=[os.path.join(run, names.ENV), outputs],
        writable=[],
    )
    command = [spec.python, "evaluate.py", "--profile", spec.profile, "--outputs", outputs]
    for flag, shard in zip(("--data", "--hidden", "--second"), SHARDS, strict=True):
        command += [flag, os.path.join(spec.data, shard)]
    return [*command, "--result", report_path(run), "--serve", *serve]


def report_path(run: str) -> str:
    """Where evaluate.py leaves its report."""
    return os.path.join(run, names.WORK, "evaluation.json")
