"""What is known about a job while it runs; at its end this becomes the result."""

from launchers.job import JobSpec
from launchers.result import Evaluation, JobResult, Output, StepResult
from launchers.sandbox.levels import Level
from launchers.supervisor.machine import hardware, python_version
from launchers.supervisor.program import End


class Account:
    """Collects what the steps of a job report."""

    def __init__(self) -> None:
        """Starts with a job that has done nothing and failed nowhere."""
        self.status = "finished"
        self.blame: str | None = None
        self.reason: str | None = None
        self.steps: list[StepResult] = []
        self.evaluations: dict[str, Evaluation] = {}
        self.outputs: dict[str, Output] = {}
        self.refused: dict[str, str] = {}

    def fail(self, blame: str, reason: str) -> None:
        """Notes a failure."""
        self.status, self.blame, self.reason = "failed", blame, reason

    def cancel(self, reason: str) -> None:
        """Notes that the job was told to stop."""
        self.status, self.blame, self.reason = "cancelled", None, reason

    def add_step(self, name: str, end: End, *, waited: float) -> None:
        """Notes what a program took, and the seconds that it waited for its turn before."""
        step = StepResult(
            name=name,
            ending=end.ending.value,
            exit_code=end.exit_code,
            wall_seconds=round(end.wall_seconds, 4),
            cpu_seconds=round(end.cpu_seconds, 4),
            waited_seconds=round(waited, 4),
            idle_seconds=round(end.idle_seconds, 4),
            start_cpu_seconds=round(end.start_cpu_seconds, 4),
        )
        self.steps.append(step)

    def result(
        self, spec: JobSpec, *, level: Level, python: str, log_tail: str, log_bytes: int
    ) -> JobResult:
        """The result of the job."""
        return JobResult(
            run_id=spec.run_id,
            run_key=spec.run_key,
            status=self.status,
            blame=self.blame,
            reason=self.reason,
            steps=tuple(self.steps),
            evaluations=self.evaluations,
            outputs=self.outputs,
            refused_outputs=self.refused,
            sandbox_level=level.name,
            sandbox_gaps=level.gaps,
            hardware=hardware(),
            versions={"python": python_version(python)},
            log_tail=log_tail,
            log_bytes=log_bytes,
        )
