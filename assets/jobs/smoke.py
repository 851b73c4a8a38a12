"""The smoke run: a patched tree run for a few seconds before a GPU is asked for.

It goes through the same launcher and sandbox as every job, at the environment's profile `smoke`. What
falls over in it goes back to the model with the end of its log. Environments without such a profile
have no smoke run, nor have campaigns at `cpu`, whose own runs take no longer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assets.attempt.context import Context
from assets.attempt.monitor import StopLevel
from assets.config.data import prepare_data
from assets.config.environment import Environment
from assets.config.settings import CampaignSettings
from assets.diffs.git import apply_diff
from assets.errors import Interrupted, MachineError
from assets.jobs.ends import record_end
from assets.jobs.spec import job_spec
from lake.ids import content_hash, content_id
from lake.tables import Blame, Patch
from launchers import JobPhase, is_inconclusive

SMOKE = "smoke"
WITHOUT = ("cpu", SMOKE)
"""Profiles whose campaigns have no smoke run."""
POLL_SECONDS = 0.05
TRIES = 2
"""Of a run that fails for reasons of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeFailure:
    """A smoke run that did not end well."""

    blame: Blame
    reason: str
    log_tail: str | None


def may_smoke(environment: Environment, settings: CampaignSettings) -> bool:
    """Whether the patches of a campaign are tried before they are run."""
    return SMOKE in environment.manifest.profiles and settings.profile not in WITHOUT


class SmokeRun:
    """Smoke runs of one stage attempt, as many at once as the launcher has slots."""

    def __init__(self, context: Context) -> None:
        environment, folder = context.environment, context.data.path.parent
        self.context = replace(
            context,
            settings=context.settings.model_copy(update={"profile": SMOKE}),
            profile=environment.profile(SMOKE),
            data=prepare_data(environment, SMOKE, folder=folder),
        )
        self._slots = asyncio.Semaphore(context.settings.launcher.slots)

    async def failure(self, patch: Patch) -> SmokeFailure | None:
        """Why a patched tree did not survive its smoke run; None where it did.

        Raises:
            Interrupted: the user stopped it.
            MachineError: it failed for reasons of the machine, more than once.
        """
        async with self._slots:
            for _ in range(TRIES):
                result = await self._run(patch)
                if not is_inconclusive(result):
                    return _failure(result)
        raise MachineError(
            f"the smoke run of patch {patch.patch_id} failed {TRIES} times for reasons of the "
            f"machine: {result.get('reason')}. Mend it and run the same command again"
        )

    async def _run(self, patch: Patch) -> Mapping[str, Any]:
        """What `result.json` says of one run; a run of an earlier process is gone on with."""
        context, launcher = self.context, self.context.launcher
        if context.stop.level is not StopLevel.GO:
            raise Interrupted("stopped on your word before every patch had its smoke run")
        job = content_id(SMOKE, context.campaign, context.epoch, context.n, patch.tree or "")
        spec = job_spec(
            context,
            run_id=job,
            run_key=content_hash(SMOKE, patch.tree, context.evaluator),
            tree=patch.tree or "",
            seed=0,
            cuts=0,
        )
        context.spending.check()
        launcher.submit(spec, apply_diff(context.environment.files, patch.diff))
        try:
            while (state := launcher.poll(job)).phase is JobPhase.RUNNING:
                await asyncio.sleep(POLL_SECONDS)
        except asyncio.CancelledError:
            launcher.cancel(job)
            raise
        if state.result is not None:
            record_end(context, spec, state.result)
        if state.result is not None and not is_inconclusive(state.result):
            launcher.release(job, keep_outputs=False)
        return state.outcome


def _failure(result: Mapping[str, Any]) -> SmokeFailure | None:
    evaluation = result.get("evaluation") or {}
    if result["status"] == "finished" and evaluation.get("value") is not None:
        return None
    reason = result.get("reason") or evaluation.get("reason") or "it gave no value"
    return SmokeFailure(
        blame=Blame(result.get("blame") or evaluation.get("blame") or Blame.EVALUATE),
        reason=f"smoke run: {reason}",
        log_tail=result.get("log_tail"),
    )
