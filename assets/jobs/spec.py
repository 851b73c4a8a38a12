"""What the launcher is told about a job: its steps, and the limits of the profile.

training, scoring        a run: train, harvest, score
Take, scoring            an audit: kept outputs are scored again
"""

import statistics
from collections.abc import Iterable

from assets.attempt.view import AttemptView
from assets.config.authors import writes_own_code
from launchers import Grade, Harvest, JobSpec, Server
from launchers.result import SCORE, TRAIN
from launchers.steps import OUTPUTS, Run, Step

IDLE_LIMIT = 3.0
"""Wall clock in which a step may do nothing, in medians of the wall clock of the baseline's."""
LEAST_IDLE_SECONDS = 10.0
STARTER = "start.py"
"""Frozen file of an environment that starts its training, where there is one."""
SHARDS = {"data": "data/train", "hidden": "data/hidden", "second": "data/second"}
"""What an evaluator is given, by the names of its options."""


def training(
    view: AttemptView, *, seed: int, cpu_seconds: float | None, idle_seconds: float | None = None
) -> tuple[Step, ...]:
    """Runs train.py and takes what it left.

    Args:
        view: whose profile holds.
        seed: of training.
        cpu_seconds: CPU time at which it is killed; None for no limit.
        idle_seconds: time of doing nothing at which it is killed; None for no limit.
    """
    budget = view.profile.budget_seconds
    options = ("--profile", view.settings.profile, "--seed", str(seed))
    places = ("--data", "{data}", "--out", "{out}", "--budget-seconds", str(budget))
    run = Run(
        name=TRAIN,
        command=("train.py", *options, *places),
        mounts={"data": SHARDS["data"]},
        wall_seconds=budget,
        cpu_seconds=cpu_seconds,
        idle_seconds=idle_seconds,
        starter=STARTER if STARTER in view.environment.frozen else None,
    )
    return run, Harvest(outputs=declared_outputs(view))


def scoring(
    view: AttemptView, *, cuts: int, wall_seconds: float, idle_seconds: float | None = None
) -> Grade:
    """Runs evaluate.py, which starts serve.py behind the wall.

    Args:
        view: whose profile holds.
        cuts: of the leak audit; 0 for none.
        wall_seconds: of the evaluation with all that it starts.
        idle_seconds: time of doing nothing at which it is killed; None for no limit.
    """
    shards = [word for name in SHARDS for word in (f"--{name}", f"{{{name}}}")]
    asked = ("--cuts", str(cuts)) if cuts else ()
    outputs = ("--profile", view.settings.profile, "--outputs", "{server.checkpoint}")
    ends = ("--result", "{report}", "--serve", "{server}")
    return Grade(
        name=SCORE,
        command=("evaluate.py", *outputs, *shards, *asked, *ends),
        mounts=SHARDS,
        wall_seconds=wall_seconds,
        idle_seconds=idle_seconds,
        server=Server(command=("serve.py",), mounts={"checkpoint": OUTPUTS}),
    )


def idle_limit(view: AttemptView, walls: Iterable[float | None]) -> float | None:
    """How long a step may do nothing; None where that is not limited.

    On a GPU the processes of the machine wait for it, which looks the same.

    Args:
        view: whose profile holds.
        walls: wall clock of the step in the baseline's runs, as far as it is known.
    """
    known = [wall for wall in walls if wall]
    if view.profile.compute != "cpu" or not known:
        return None
    return max(IDLE_LIMIT * statistics.median(known), LEAST_IDLE_SECONDS)


def declared_outputs(view: AttemptView) -> dict[str, dict[str, int]]:
    """What training may leave."""
    return {name: rule.model_dump() for name, rule in view.profile.outputs.items()}


def job_spec(
    view: AttemptView, *, level: str, run_id: str, run_key: str, tree: str, steps: tuple[Step, ...]
) -> JobSpec:
    """The specification of a job of this attempt.

    Args:
        view: whose profile, data and environment hold.
        level: of the sandbox.
        run_id: names the job.
        run_key: what is computed.
        tree: hash of the patched tree.
        steps: what is done.
    """
    profile = view.profile
    return JobSpec(
        run_id=run_id,
        run_key=run_key,
        tree=tree,
        data=view.setup.data.digest,
        steps=steps,
        frozen=view.environment.frozen,
        threads=profile.threads,
        python=profile.python,
        accelerators=profile.accelerators,
        masked=tuple(profile.masked),
        memory_bytes=profile.memory_bytes,
        processes=profile.processes,
        sandbox=level,
        takes_turns=not writes_own_code(view.settings),
    )
