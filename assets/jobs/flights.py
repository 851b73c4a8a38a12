"""The jobs that a launcher has, from submission to end: all are asked for in one call."""

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from assets.jobs.job import Job
from launchers import JobResult, JobSpec, Launcher, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A job on its way."""

    job: Job
    spec: JobSpec
    run_id: str
    """The launcher's name for it: the job's own, or that of the job it was adopted from."""

    @property
    def is_own(self) -> bool:
        """Whether the job is run for this attempt."""
        return self.run_id == self.job.run_id


class Looked(NamedTuple):
    """What happened since the last look."""

    accepted: list[Flight]
    """The launcher has them."""
    ended: list[tuple[Flight, JobResult]]


class Flights:
    """Jobs that were handed to a launcher and have not ended."""

    def __init__(self, launcher: Launcher, *, beside: Collection[str] = ()) -> None:
        """Starts with no job.

        Args:
            launcher: who runs them.
            beside: run ids of jobs of other attempts that may still take slots.
        """
        self._launcher = launcher
        self._beside = set(beside)
        self._submitting: dict[str, tuple[Flight, Future[Ticket]]] = {}
        self._live: dict[str, Flight] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._cancelled = False

    def __len__(self) -> int:
        return len(self._submitting) + len(self._live)

    def __iter__(self) -> Iterator[Flight]:
        yield from (flight for flight, _ in self._submitting.values())
        yield from self._live.values()

    @property
    def is_submitting(self) -> bool:
        """Whether a job has not been accepted yet."""
        return bool(self._submitting)

    @property
    def free_slots(self) -> int:
        """How many more jobs the launcher may be given."""
        return self._launcher.slots - len(self) - len(self._beside - self._live.keys())

    def submit(self, job: Job, spec: JobSpec) -> None:
        """Hands a job over; in a thread, since a machine may have to be found for it first."""
        flight = Flight(job=job, spec=spec, run_id=job.run_id)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._launcher.submits_at_once, "submit")
        ticket = self._threads.submit(lambda: self._launcher.submit(spec, job.files()))
        self._submitting[job.run_id] = (flight, ticket)

    def follow(self, job: Job, spec: JobSpec, run_id: str) -> None:
        """Waits for a job that the launcher already has."""
        self._live[run_id] = Flight(job=job, spec=spec, run_id=run_id)

    def look(self) -> Looked:
        """Asks for all of them in one call.

        Raises:
            Exception: what a submission raised.
        """
        accepted = [flight for flight, ticket in self._submitting.values() if ticket.done()]
        for flight in accepted:
            _, ticket = self._submitting.pop(flight.run_id)
            ticket.result()
            self._live[flight.run_id] = flight
        if self._cancelled and accepted:
            self._launcher.cancel([flight.run_id for flight in accepted])
        asked = self._live.keys() | self._beside
        states = self._launcher.states(asked) if asked else {}
        self._beside -= {each for each in self._beside if states[each].phase.has_ended}
        ended = [
            (flight, states[run_id].outcome(flight.spec))
            for run_id, flight in list(self._live.items())
            if states[run_id].phase.has_ended
        ]
        for flight, _ in ended:
            del self._live[flight.run_id]
        return Looked(accepted, ended)

    def cancel(self) -> None:
        """Has the jobs of this campaign killed; those that were adopted are no longer waited for.

        A submission that has begun is killed as soon as the launcher has accepted it.
        """
        self._cancelled = True
        self._live = {run_id: each for run_id, each in self._live.items() if each.is_own}
        for run_id, (_, ticket) in list(self._submitting.items()):
            if ticket.cancel():
                del self._submitting[run_id]
        self._launcher.cancel([*self._live, *self._beside])

    def close(self) -> None:
        """Ends the threads that submit, and kills what they started after a cancel.

        Another submission starts new ones.
        """
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        if self._cancelled and self._submitting:
            self._launcher.cancel([*self._submitting])
