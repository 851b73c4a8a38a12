"""The live display of a search: epochs, jobs in flight, best so far against the baseline."""

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from assets.attempt.monitor import JobsProgress, Stop, StopLevel
from assets.quoting import one_line, title_cell
from assets.results.noise import Noise
from assets.results.scored import Scored
from assets.results.summary import Summary

BEST_ROWS = 8
STOPPING = {
    StopLevel.GO: "",
    StopLevel.FINISH: "stopping: no new job, waiting for running jobs (Ctrl-C again cancels) · ",
    StopLevel.CANCEL: "cancelling · ",
}


class Display:
    """Draws progress in a terminal; without one, prints some lines per epoch."""

    def __init__(self, console: Console, *, campaign: str, epochs: int, stop: Stop) -> None:
        self._console = console
        self._stop = stop
        self._metric = ""
        self._summary: Summary | None = None
        self._now: JobsProgress | None = None
        self._said: tuple[int, str, int] | None = None
        """Epoch, kind of jobs and quarter of the last line printed without a terminal."""
        self._bars = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._epochs = self._bars.add_task(f"{campaign}: epochs", total=epochs)
        self._jobs = self._bars.add_task("jobs of the epoch", total=None)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "Display":
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def begin(self, *, metric: str, done: int, total: int, summary: Summary) -> None:
        """Take in how many epochs are done, how many there will be, and what is known."""
        self._metric = metric
        self._bars.update(self._epochs, completed=done, total=total)
        self._summary = summary

    def jobs(self, progress: JobsProgress) -> None:
        """Called by the running stage."""
        self._now = progress
        self._bars.update(
            self._jobs,
            description=f"{progress.what} of epoch {progress.epoch:04d}",
            total=progress.total,
            completed=progress.done,
        )
        if not self._console.is_terminal:
            self._say_quarters(progress)

    def _say_quarters(self, now: JobsProgress) -> None:
        """One line for each quarter of the jobs that is done, so that a log shows progress."""
        reached = (now.epoch, now.what, 4 * now.done // max(1, now.total))
        if reached != self._said:
            self._said = reached
            counted = f"{now.done} of {now.total} {now.what} done"
            self._console.print(Text(f"epoch {now.epoch:04d} · {counted} · {self._jobs_line()}"))

    def epoch_done(self, epoch: int, summary: Summary) -> None:
        """Called after each epoch."""
        self._summary, self._now = summary, None
        self._bars.advance(self._epochs)
        best = best_line(summary, self._metric)
        self._console.print(Text(f"epoch {epoch:04d} done · {best}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        lines: list[RenderableType] = [self._bars, Text(self._running_line())]
        if self._summary and self._summary.noise:
            lines.append(Text(best_line(self._summary, self._metric)))
        return Group(*lines)

    def _running_line(self) -> str:
        return STOPPING[self._stop.level] + self._jobs_line()

    def _jobs_line(self) -> str:
        if self._now is None:
            return "between epochs: choosing, proposing, patching"
        now = self._now
        said = f"{now.running} in flight, {now.failed} failed, {now.adopted} taken over"
        if not now.values or self._summary is None:
            return said
        rank = self._summary.better.rank
        title, value = min(now.values, key=lambda pair: rank(pair[1]))
        return f"{said} · best of the epoch, not judged yet: {value:.4f} ({one_line(title)})"


def best_line(summary: Summary, metric: str) -> str:
    """One line: the best idea so far against the baseline and its noise."""
    best = summary.best
    if best is None or best.value is None:
        return f"no idea has a score yet · baseline {noise_text(summary.noise)}"
    gain, baseline = gain_text(summary, best), noise_text(summary.noise, best.seed)
    return f"best so far: {metric} {best.value:.4f} ({gain}) · baseline {baseline}"


def noise_text(noise: Noise | None, seed: int | None = None) -> str:
    """Mean and spread of the baseline, each with its number of runs, and its run of a seed."""
    if noise is None:
        return "not measured"
    own = noise.own.by_seed.get(-1 if seed is None else seed)
    at = "" if own is None else f", {own:.4f} at seed {seed}"
    return f"{noise.mean:.4f} (mean of {noise.mean_n}) ± {noise.sd:.4f} (sd of {noise.n}){at}"


def gain_text(summary: Summary, scored: Scored) -> str:
    """The difference from the baseline, and what it is in noise units."""
    gain = summary.gain(scored)
    if gain is None:
        return "no baseline"
    return f"{gain.difference:+.4f}, {gain.units:+.1f} noise units"


def spread_text(scored: Scored) -> str:
    """The standard error of a confirmed value and its number of runs; empty for a single run."""
    if scored.error is None:
        return ""
    return f" ± {scored.error:.4f} ({len(scored.confirmed)})"


def error_text(summary: Summary, scored: Scored) -> str:
    """The standard error of a difference between two means; empty for one between two runs."""
    error = summary.noise.error_of(scored) if summary.noise else None
    return "" if error is None else f" ± {error:.4f}"


def best_table(summary: Summary, metric: str) -> Table:
    """The best ideas with the figures that a reader needs to trust them."""
    shown = summary.ranked[:BEST_ROWS]
    seed = next((scored.seed for scored in shown if scored.seed is not None), None)
    title = f"Best ideas · baseline {noise_text(summary.noise, seed)}"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    confirmed = any(scored.error is not None for scored in shown)
    value_heading = f"{metric} ± s.e. (runs)" if confirmed else metric
    for heading in (
        "#",
        value_heading,
        "to baseline",
        "noise units",
        "CPU s",
        "compute",
        "cuts",
        "epoch",
        "title",
    ):
        table.add_column(Text(heading), justify="left" if heading == "title" else "right")
    for rank, scored in enumerate(shown, start=1):
        gain = summary.gain(scored)
        cpu = scored.run.cpu_seconds if scored.run else None
        table.add_row(
            str(rank),
            f"{scored.value or 0.0:.4f}{spread_text(scored)}",
            f"{gain.difference:+.4f}{error_text(summary, scored)}" if gain else "",
            f"{gain.units:+.1f}" if gain else "",
            f"{cpu:.3g}" if cpu is not None else "",
            f"{scored.compute:.2f}x" if scored.compute is not None else "",
            f"{scored.cuts:.0f}",
            f"{scored.idea.epoch:04d}",
            title_cell(scored.idea.title),
        )
    return table
