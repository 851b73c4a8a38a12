"""The smoke run: a patched tree run for a few seconds before a GPU is asked for.

It goes through the same pool, launcher and sandbox as every job, at the environment's profile
`smoke`. A patch that does not survive it goes back to the model with the end of its log.
Environments without such a profile have no smoke run, nor have campaigns whose compute is CPU time,
whose own runs take no longer.
"""

import asyncio
from dataclasses import dataclass, replace

from assets.attempt.context import Context
from assets.attempt.view import AttemptView
from assets.config.data import prepare_data
from assets.config.setup import Setup
from assets.config.site import site_of
from assets.diffs.git import apply_diff
from assets.errors import MachineError
from assets.jobs.job import Job, Outcome
from assets.jobs.pool import Pool
from assets.jobs.rules import Rules
from assets.jobs.spec import job_spec, scoring, training
from lake.ids import content_hash, content_id
from lake.tables import Blame, Patch
from launchers import JobResult, JobSpec

SMOKE = "smoke"
RULES = Rules(stopped="stopped at your request before every patch had its smoke run", flushes=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeFailure:
    """A smoke run that did not end well."""

    blame: Blame
    reason: str
    log_tail: str | None


def may_smoke(setup: Setup) -> bool:
    """Whether the patches of a campaign are tried before they are run."""
    profiles, own = setup.environment.manifest.profiles, setup.settings.profile
    return SMOKE in profiles and own != SMOKE and setup.profile.compute != "cpu"


class SmokeRun:
    """Smoke runs of one stage attempt, alongside its model calls."""

    def __init__(self, context: Context) -> None:
        """Prepares the data of the profile; belongs to the running event loop."""
        self.context = replace(context, view=_at_smoke(context.view))
        self._pool = Pool(self.context, RULES, on_end=self._ended)
        self._asked: dict[str, list[asyncio.Future[JobResult]]] = {}
        self._driver: asyncio.Task[None] | None = None

    async def failure(self, patch: Patch, *, ordinal: int) -> SmokeFailure | None:
        """Why a patched tree did not survive its smoke run; None where it did.

        Args:
            patch: that applies.
            ordinal: its place among all patches of the attempt.

        Raises:
            Interrupted: the user stopped it.
            MachineError: it failed more than once because of the machine.
        """
        future: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()
        job = self._job(patch, ordinal)
        self._asked.setdefault(job.run_id, []).append(future)
        self._pool.add([job])
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        result = await future
        if result.is_inconclusive:
            raise MachineError.of_job(
                f"the smoke run of patch {patch.patch_id}",
                result.reason,
                expected="a run that tells something about the patch",
                shown=self.context.launcher.fetch(job.run_id),
            )
        return _failure(result)

    async def _drive(self) -> None:
        """Rounds of the pool until every patch that was handed in has its result."""
        try:
            while self._pool.is_busy:
                if not self._pool.tick():
                    await asyncio.sleep(self.context.launcher.poll_seconds)
        except asyncio.CancelledError:
            self._pool.cancel()
            raise
        except Exception as error:  # noqa: BLE001  raised by everybody who waits for a result
            for future in self._open_futures():
                future.set_exception(error)
        finally:
            self._pool.close()

    def _ended(self, job: Job, outcome: Outcome) -> None:
        assert outcome.result is not None
        for future in self._asked.pop(job.run_id, ()):
            if not future.done():
                future.set_result(outcome.result)
        if outcome.reused_from is None and not outcome.is_inconclusive:
            self.context.launcher.release(job.run_id, keep_outputs=False)

    def _open_futures(self) -> list[asyncio.Future[JobResult]]:
        return [one for each in self._asked.values() for one in each if not one.done()]

    def _job(self, patch: Patch, ordinal: int) -> Job:
        view, tree = self.context.view, patch.tree or ""
        run_id = content_id(SMOKE, view.campaign, view.epoch, view.n, tree)
        run_key = content_hash(SMOKE, tree, view.setup.evaluator)

        def spec() -> JobSpec:
            score_seconds = view.profile.score_seconds
            steps = (
                *training(view, seed=0, cpu_seconds=None),
                scoring(view, cuts=0, wall_seconds=score_seconds),
            )
            level = self.context.level
            return job_spec(
                view, level=level, run_id=run_id, run_key=run_key, tree=tree, steps=steps
            )

        return Job(
            ordinal=ordinal,
            run_id=run_id,
            run_key=run_key,
            spec=spec,
            files=lambda: apply_diff(view.environment.files, patch.diff),
        )


def _at_smoke(view: AttemptView) -> AttemptView:
    """The attempt as if its campaign ran at the profile `smoke`."""
    setup = view.setup
    smoke = replace(
        setup,
        settings=setup.settings.model_copy(update={"profile": SMOKE}),
        profile=setup.environment.profile(SMOKE),
        data=prepare_data(setup.environment, SMOKE, folder=setup.data.path.parent),
        site=site_of(setup.launcher, setup.environment, SMOKE),
    )
    return replace(view, setup=smoke)


def _failure(result: JobResult) -> SmokeFailure | None:
    evaluation = result.evaluation
    if result.status == "finished" and evaluation is not None and evaluation.value is not None:
        return None
    reason = result.reason or (evaluation.reason if evaluation else None) or "it gave no value"
    blame = result.blame or (evaluation.blame if evaluation else None) or Blame.EVALUATE
    return SmokeFailure(
        blame=Blame(blame), reason=f"smoke run: {reason}", log_tail=result.log_tail or None
    )
