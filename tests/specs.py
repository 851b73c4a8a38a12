"""The usual jobs of an environment, for tests: trained and scored, or kept outputs scored again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launchers import Grade, Harvest, JobSpec, LocalLauncher, Place, Run, Server, Take
from launchers.steps import Step

WEIGHTS = {"weights.json": {"max": 1, "bytes": 65536}}
"""What the small environment leaves."""


def train(
    *, profile: str = "cpu", seed: int = 0, seconds: float = 15.0, cpu=None, idle=None, starter=None
) -> Run:
    """Starts train.py as every environment takes it."""
    given = ("--profile", profile, "--seed", str(seed), "--data", "{data}", "--out", "{out}")
    return Run(
        name="train",
        command=("train.py", *given, "--budget-seconds", str(seconds)),
        mounts={"data": "data/train"},
        wall_seconds=seconds,
        cpu_seconds=cpu,
        idle_seconds=idle,
        starter=starter,
    )


def score(
    *, profile: str = "cpu", seconds: float = 15.0, idle=None, cuts: int = 0, name="score"
) -> Grade:
    """Starts evaluate.py with a server behind it."""
    shards = {shard: f"data/{shard}" for shard in ("train", "hidden", "second")}
    words = ["evaluate.py", "--profile", profile, "--outputs", "{server.checkpoint}"]
    words += ["--data", "{train}", "--hidden", "{hidden}", "--second", "{second}"]
    words += ["--cuts", str(cuts)] if cuts else []
    return Grade(
        name=name,
        command=(*words, "--result", "{report}", "--serve", "{server}"),
        mounts=shards,
        wall_seconds=seconds,
        idle_seconds=idle,
        server=Server(command=("serve.py",), mounts={"checkpoint": "outputs"}),
    )


def usual_steps(
    *,
    profile: str = "cpu",
    seed: int = 0,
    budget_seconds: float = 15.0,
    score_seconds: float = 15.0,
    cpu_limit_seconds: float | None = None,
    idle_limit_seconds: float | None = None,
    starter: str | None = None,
    cuts: int = 0,
    outputs: Mapping[str, Mapping[str, int]] = WEIGHTS,
    take: str | None = None,
    hashes: Mapping[str, str] | None = None,
) -> tuple[Step, ...]:
    """Train, harvest, score; or take what another job left, and score that."""
    grade = score(profile=profile, seconds=score_seconds, idle=idle_limit_seconds, cuts=cuts)
    if take is not None:
        return Take(run_id=take, outputs=outputs, hashes=hashes or {}), grade
    limits = {"cpu": cpu_limit_seconds, "idle": idle_limit_seconds, "starter": starter}
    run = train(profile=profile, seed=seed, seconds=budget_seconds, **limits)
    return run, Harvest(outputs=outputs), grade


STEPS = set(usual_steps.__kwdefaults__)


def usual_spec(**fields) -> JobSpec:
    """A specification; what `usual_steps` takes may stand among its fields."""
    of_steps = {name: fields.pop(name) for name in STEPS & set(fields)}
    fields.setdefault("steps", usual_steps(**of_steps))
    return JobSpec(**fields)


def lay_data(store: Path, name: str, data: Path | str) -> None:
    """Makes prepared data known under a name, as what prepares them does."""
    (store / "by-hash").mkdir(parents=True, exist_ok=True)
    (store / "by-hash" / name).symlink_to(data)


class AnyPython(LocalLauncher):
    """A local launcher whose jobs run with an interpreter that a test has made."""

    python: str | None = None

    def place(self, spec: JobSpec) -> Place:
        found = super().place(spec)
        return replace(found, python=self.python or found.python)
