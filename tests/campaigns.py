"""Drive campaigns in this process, through Dagster, as `varve search` does."""

import json
from collections.abc import Iterable

from assets.attempt.monitor import Hooks, JobsProgress, Stop
from assets.config.home import Home
from assets.graph.search import Search, Work, open_search
from lake import Lake
from lake.tables import Idea, Patch, Row, Run, Score, Stage
from launchers import JobSpec


class PressedAfter:
    """Presses Ctrl-C once so many jobs have ended, or so many calls."""

    def __init__(self, stop: Stop, *, done: int, times: int, what: str = "jobs") -> None:
        self.stop, self.done, self.times, self.what = stop, done, times, what

    def jobs(self, progress: JobsProgress) -> None:
        if progress.what == self.what and progress.done >= self.done:
            while self.stop.level < self.times:
                self.stop.press()


def search_all(home: Home, name: str = "small", *, hooks: Hooks | None = None) -> None:
    """Everything that is missing."""
    with open_search(home, name, hooks or Hooks(), doing="test") as search:
        for work in search.missing():
            search.materialize(work)


def materialize(home: Home, epoch: int, stages: Iterable[Stage], name: str = "small") -> None:
    """These stages of one epoch, again or for the first time."""
    with open_search(home, name, Hooks(sandbox="none"), doing="test") as search:
        search.materialize(Work(epoch=epoch, stages=tuple(stages)))


def opened(home: Home, name: str = "small") -> Search:
    """A search that is not driven: for what it knows."""
    with open_search(home, name, Hooks(), doing="test") as search:
        return search


def rows(home: Home, row_type: type[Row], name: str = "small") -> list[Row]:
    """Everything in a table of one campaign, history included."""
    return Lake.open(home.lake).read(row_type, campaign=name)


def facts(home: Home, name: str = "small") -> dict[str, str]:
    """Every row of the four stages by its id, without clocks and measured times."""
    told = {}
    for row_type in (Idea, Patch, Run, Score):
        for row in rows(home, row_type, name):
            columns = {c: getattr(row, c) for c in FACTS[row_type]}
            told[getattr(row, row_type.key)] = json.dumps(columns, sort_keys=True)
    return told


FACTS = {
    Idea: ("epoch", "n", "ordinal", "kind", "title", "text", "parents", "edits"),
    Patch: ("idea_id", "diff", "tree", "status", "reason"),
    Run: (
        "patch_id",
        "run_key",
        "seed",
        "status",
        "blame",
        "value",
        "verdicts",
        "measures",
        "reused_from",
    ),
    Score: ("run_id", "value", "reward", "blame", "evaluator"),
}


def takes_turns(home: Home) -> set[bool]:
    """Whether the jobs that lie in a home take turns on the machine."""
    specs = (path.read_text() for path in home.jobs.glob("*/spec.json"))
    return {JobSpec.from_json(text).takes_turns for text in specs}
