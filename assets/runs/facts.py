"""What is recorded of each job while it is in flight, and what an earlier process recorded."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from assets.attempt.context import Context
from assets.runs.plan import Job
from lake.ids import event_id
from lake.tables import RunEvent, RunEventKind
from launchers import is_inconclusive

ENDINGS = (RunEventKind.FINISHED, RunEventKind.FAILED)


class Facts:
    """The run_events of one attempt."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._count: Counter[tuple[str, RunEventKind]] = Counter()
        self._started: set[str] = set()
        self._ends: dict[str, dict[str, Any]] = {}
        for event in context.facts(RunEvent):
            self._count[event.run_id, event.kind] += 1
            if event.kind is RunEventKind.SUBMITTED:
                self._started.add(event.run_id)
            if event.kind in ENDINGS and event.detail:
                self._ends[event.run_id] = json.loads(event.detail)

    def started(self, job: Job) -> bool:
        """Whether this attempt handed the job to the launcher before."""
        return job.run_id in self._started

    def result(self, job: Job) -> Mapping[str, Any] | None:
        """How the job ended for this attempt, unless that says nothing of the idea."""
        end = self._ends.get(job.run_id)
        return None if end is None or is_inconclusive(end["result"]) else end["result"]

    def source(self, job: Job) -> str | None:
        """The run that the recorded result was taken from, where it is not the job's own."""
        source: str | None = self._ends[job.run_id]["source"]
        return source

    def record(
        self,
        job: Job,
        kind: RunEventKind,
        detail: str | None = None,
        *,
        gpu_hours: float | None = None,
    ) -> None:
        """Write down that something happened, durably; GPU-hours where a job of its own ended."""
        context = self._context
        repeat = self._count[job.run_id, kind]
        self._count[job.run_id, kind] += 1
        context.record(
            RunEvent(
                **context.keys,
                event_id=event_id(
                    **context.keys,
                    stage=context.stage,
                    ordinal=job.ordinal,
                    kind=kind,
                    repeat=repeat,
                ),
                run_id=job.run_id,
                run_key=job.run_key,
                ordinal=job.ordinal,
                kind=kind,
                detail=detail,
                gpu_hours=gpu_hours,
            )
        )
