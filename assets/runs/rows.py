"""The row of a run, from how its job ended."""

from dataclasses import replace

from assets.attempt.view import AttemptView
from assets.results.compute import TRAINING_START
from assets.runs.plan import PlannedRun
from lake.tables import Blame, Run, RunStatus, now
from launchers import Charge, Evaluation, JobResult
from launchers.result import SCORE, TRAIN

PARAMETERS, CHECKPOINT = "parameters", "checkpoint_bytes"
"""Measures that the supervisor took of what training left: numbers in it, and bytes."""
NO_EVALUATION = Evaluation(metric="")


def taken_over(view: AttemptView, planned: PlannedRun, source: Run) -> Run:
    """The row of a run that an earlier row stands in for."""
    return replace(
        source,
        **view.keys,
        created_at=now(),
        run_id=planned.run_id,
        patch_id=planned.patch.patch_id,
        purpose=planned.purpose,
        reused_from=source.run_id,
    )


def row_of(
    view: AttemptView, planned: PlannedRun, result: JobResult, charge: Charge, *, launcher: str
) -> Run:
    """The row of a run whose job has ended."""
    evaluation = result.evaluation or NO_EVALUATION
    versions = {name: version for name, version in result.versions.items() if version is not None}
    versions |= {"evaluator": view.setup.evaluator}
    if not planned.is_bygone:  # else nobody knows
        versions["torch"] = view.setup.site.torch
    return Run(
        **view.keys,
        run_id=planned.run_id,
        patch_id=planned.patch.patch_id,
        run_key=planned.run_key,
        seed=planned.seed,
        purpose=planned.purpose,
        profile=view.settings.profile,
        launcher=launcher,
        status=RunStatus(result.status),
        blame=Blame(result.blame) if result.blame else None,
        reason=result.reason,
        wall_seconds=result.wall_seconds(TRAIN),
        cpu_seconds=result.cpu_seconds(TRAIN),
        score_cpu_seconds=result.cpu_seconds(SCORE),
        step_wall_seconds={step.name: step.wall_seconds for step in result.steps},
        step_cpu_seconds={step.name: step.cpu_seconds for step in result.steps},
        gpu_hours=charge.gpu_hours,
        cost_usd=charge.usd,
        hardware=result.hardware or None,
        versions=versions,
        sandbox_level=result.sandbox_level,
        sandbox_gaps=result.sandbox_gaps,
        log_tail=result.log_tail or None,
        value=evaluation.value,
        verdicts=dict(evaluation.verdicts),
        measures=measures_of(evaluation, result),
    )


def measures_of(evaluation: Evaluation, result: JobResult) -> dict[str, float]:
    """Those of the evaluator, what the start of training took where that was told apart, sizes."""
    train = result.step(TRAIN)
    start = train.start_cpu_seconds if train else 0.0
    started = {TRAINING_START: start} if start else {}
    return {**evaluation.measures, **started, **_sizes(result)}


def _sizes(result: JobResult) -> dict[str, float]:
    """What the checkpoint holds; nothing where there is none."""
    outputs = result.outputs.values()
    known = [output.numbers for output in outputs if output.numbers is not None]
    sizes = {PARAMETERS: float(sum(known))} if known else {}
    return sizes | ({CHECKPOINT: float(sum(each.bytes for each in outputs))} if outputs else {})
