"""What is recorded of each job while it is in flight, and what an earlier process recorded."""

import json
from collections import Counter

from assets.attempt.context import Context
from assets.jobs.job import Job, Outcome
from lake.ids import event_id
from lake.tables import RunEvent, RunEventKind
from launchers import Charge, JobResult
from launchers.plain import to_plain

ENDINGS = (RunEventKind.FINISHED, RunEventKind.FAILED)
ENDS = (*ENDINGS, RunEventKind.LOST, RunEventKind.CANCELLED)
NO_CHARGE = Charge()


class JobEvents:
    """The run_events of one attempt."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._count: Counter[tuple[str, RunEventKind]] = Counter()
        self._at_place: Counter[tuple[int, RunEventKind]] = Counter()
        """As the ids of events count: after an upgrade another job may have the place of one."""
        self._ends: dict[str, str] = {}
        for event in context.facts(RunEvent):
            self._count[event.run_id, event.kind] += 1
            self._at_place[event.ordinal, event.kind] += 1
            if event.kind in ENDINGS and event.detail:
                self._ends[event.run_id] = event.detail

    def is_in_flight(self, job: Job) -> bool:
        """Whether this attempt submitted the job and has recorded no end since."""
        ends = sum(self._count[job.run_id, kind] for kind in ENDS)
        return self._count[job.run_id, RunEventKind.SUBMITTED] > ends

    def outcome(self, job: Job) -> Outcome | None:
        """How the job ended for this attempt, unless that says nothing about the work."""
        detail = self._ends.get(job.run_id)
        outcome = _read_end(detail) if detail is not None else None
        return None if outcome is None or outcome.is_inconclusive else outcome

    def record_end(
        self, job: Job, result: JobResult, source: str | None, *, charge: Charge
    ) -> None:
        """Write down how a job ended, with its whole result, or that of its source."""
        detail = json.dumps({"source": source, "result": to_plain(result)})
        self.record(job, RunEventKind(result.status), detail, charge=charge)

    def record(
        self,
        job: Job,
        kind: RunEventKind,
        detail: str | None = None,
        *,
        charge: Charge = NO_CHARGE,
    ) -> None:
        """Record durably that something happened; with the charge where the attempt's job ended."""
        view = self._context.view
        repeat = self._at_place[job.ordinal, kind]
        self._at_place[job.ordinal, kind] += 1
        self._count[job.run_id, kind] += 1
        identity = event_id(
            **view.keys, stage=view.stage, ordinal=job.ordinal, kind=kind, repeat=repeat
        )
        self._context.record(
            RunEvent(
                **view.keys,
                event_id=identity,
                stage=view.stage,
                run_id=job.run_id,
                run_key=job.run_key,
                ordinal=job.ordinal,
                kind=kind,
                detail=detail,
                gpu_hours=charge.gpu_hours,
                cost_usd=charge.usd,
            )
        )


def _read_end(detail: str) -> Outcome | None:
    """The outcome that `record_end` wrote; None for one that is no whole result."""
    try:
        told = json.loads(detail)
        result = JobResult.from_json(json.dumps(told["result"]))
        return Outcome(result=result, reused_from=told["source"])
    except (ValueError, KeyError, TypeError):  # older versions wrote a sentence for some jobs
        return None
