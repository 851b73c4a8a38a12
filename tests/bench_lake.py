"""Measures the lake against the figures of the design; prints a table with n and spread.

    python tests/bench_lake.py [--ideas 200000] [--epochs 100] [--keep FOLDER]

The big lake has 10 campaigns, one file per table and epoch, ideas of 2 KB with one patch, run and
score each, and lineages about 1,000 deep. Not a test: nothing here fails.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from lake import App, Journal, Lake, Stage, connect, query
from lake.columns import frame_schema
from lake.ids import attempt_id
from lake.lineage import ancestors
from lake.schema import to_record
from lake.stages import STAGE_TABLE
from lake.tables import (
    TABLES,
    AttemptEvent,
    AttemptKind,
    Idea,
    IdeaKind,
    Patch,
    PatchStatus,
    Run,
    RunEvent,
    RunEventKind,
    RunStatus,
    Score,
    ScoreStatus,
)

CAMPAIGNS, DEPTH = 10, 1_000


def measured(action: Callable[[], object], n: int, *, cpu: bool = False) -> list[float]:
    """Milliseconds of each of n runs, after one that does not count."""
    action()
    clock = time.process_time if cpu else time.perf_counter
    spans = []
    for _ in range(n):
        start = clock()
        action()
        spans.append((clock() - start) * 1e3)
    return spans


def template(row: object, count: int) -> pl.DataFrame:
    """A frame of `count` lines like this row."""
    line = pl.DataFrame([to_record(row)], schema=frame_schema(type(row)))
    return line.select(pl.all().repeat_by(count).explode()).with_columns(seq=pl.lit(1))


def hexed(name: pl.Expr) -> pl.Expr:
    return name.hash().cast(pl.String).str.zfill(20).str.slice(4, 16)


def big_frames(campaign: str, ideas: int, epochs: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """One campaign's rows of every stage table but `selections`."""
    place = {"campaign": campaign, "epoch": 0, "n": 0}
    each = ideas // epochs
    index = pl.DataFrame({"i": range(each * epochs)})
    key = pl.format("{}/{}/{}", pl.lit(campaign), pl.col("i"), pl.lit("idea"))
    ids = index.select(
        epoch=pl.col("i") // each,
        ordinal=pl.col("i") % each,
        idea_id=hexed(key),
        patch_id=hexed(key + "p"),
        run_id=hexed(key + "r"),
        score_id=hexed(key + "s"),
        value=2 + (pl.col("i").hash() % 100_000) / 100_000,
        text=pl.concat_str([(key + str(k)).hash().cast(pl.String) for k in range(105)]),
    )
    step = max(1, each * epochs // DEPTH)
    parents = pl.concat_list(pl.col("idea_id").shift(step)).list.drop_nulls()
    rows = {
        "ideas": Idea(
            **place, idea_id="", ordinal=0, kind=IdeaKind.EXPLOIT, title="an idea", text=""
        ),
        "patches": Patch(
            **place,
            patch_id="",
            idea_id="",
            ordinal=0,
            revision=0,
            format="unified",
            diff="--- a/train.py\n+++ b/train.py\n" * 10,
            base_tree="t",
            status=PatchStatus.APPLIED,
        ),
        "runs": Run(
            **place,
            run_id="",
            patch_id="",
            run_key="k",
            seed=0,
            profile="cpu",
            launcher="local",
            status=RunStatus.FINISHED,
            cpu_seconds=6.0,
            versions={"torch": "2.13.0", "python": "3.11.7"},
        ),
        "scores": Score(
            **place,
            score_id="",
            run_id="",
            metric="val_loss",
            status=ScoreStatus.VALID,
            evaluator="e",
            measures={"last": 2.5, "second": 2.6},
        ),
    }
    for table, row in rows.items():
        own = [name for name in ids.columns if name in frame_schema(TABLES[table])]
        frame = template(row, each * epochs).with_columns(ids.select(own))
        if table == "ideas":
            frame = frame.with_columns(parents=ids.select(parents).to_series())
        if table == "scores":
            frame = frame.with_columns(reward=1 / pl.col("value"))
        yield table, frame.select(list(frame_schema(TABLES[table])))


def events(campaign: str, epochs: int) -> list[AttemptEvent]:
    made = []
    for epoch in range(epochs):
        for stage in Stage:
            before = list(Stage)[: list(Stage).index(stage)][-1:]
            for seq, kind in enumerate((AttemptKind.OPENED, AttemptKind.COMPLETED)):
                place = {"campaign": campaign, "epoch": epoch, "n": 0, "stage": stage, "seq": seq}
                reads = tuple(f"{each}/{epoch:04d}/0/1" for each in before)
                made.append(
                    AttemptEvent(**place, attempt_id=attempt_id(**place), kind=kind, reads=reads)
                )
    return made


def build(lake: Lake, ideas: int, epochs: int) -> None:
    """The big lake; stage tables go through deltalake, whose frames are quicker to make."""
    for c in range(CAMPAIGNS):
        campaign = f"c{c}"
        lake.append(events(campaign, epochs))
        for table, frame in big_frames(campaign, ideas // CAMPAIGNS, epochs):
            lake.append_frame(TABLES[table], frame)


def journal_figures(folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    journal = Journal.open(folder / "journal.db")
    detail = '{"status": "finished"}' * 5
    made = iter(range(10**9))

    def event() -> RunEvent:
        return RunEvent(
            campaign="demo",
            epoch=0,
            n=0,
            event_id=f"{next(made):016x}",
            run_id="r" * 16,
            run_key="k" * 64,
            ordinal=0,
            kind=RunEventKind.STARTED,
            detail=detail,
        )

    rows = iter([event() for _ in range(4_100)])
    yield (
        "journal append, CPU ms",
        "0.2",
        measured(lambda: journal.append(next(rows)), 2_000, cpu=True),
    )
    rows = iter([event() for _ in range(2_100)])
    yield "journal append, ms", "", measured(lambda: journal.append(next(rows)), 2_000)
    lake = Lake.open(folder / "drained")
    start = time.process_time()
    moved = journal.drain(lake)
    yield f"drain of {moved:,} rows, CPU ms", "", [(time.process_time() - start) * 1e3]
    journal.close()


def commit_figures(folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    lake = Lake.open(folder / "commits")
    made = iter(range(10**9))

    def commit() -> None:
        i = next(made)
        place = {"campaign": "demo", "epoch": i // 10, "n": 0}
        score = {"run_id": "r", "metric": "m", "status": ScoreStatus.VALID, "evaluator": "e"}
        rows = [Score(**place, score_id=f"{i}-{k}", value=1.0, **score) for k in range(80)]
        lake.append(rows, app=App(f"rows/{i}", 1), seq=1)

    def look() -> list[Score]:
        return Lake.open(lake.uri).read(Score, campaign="demo", epoch=0)

    yield "commit 1-100 of 80 rows, CPU ms", "15-40", measured(commit, 99, cpu=True)
    yield "read an epoch after 100 commits, ms", "", measured(look, 10)
    yield "commit 101-500, CPU ms", "15-40", measured(commit, 399, cpu=True)
    yield "read an epoch after 500 commits, ms", "as above", measured(look, 10)
    start = time.perf_counter()
    lake.maintain(small_files=2)
    yield "maintain after 500 commits, ms", "", [(time.perf_counter() - start) * 1e3]
    yield "read an epoch after maintain, ms", "as above", measured(look, 10)
    yield "commit after maintain, CPU ms", "15-40", measured(commit, 50, cpu=True)


BEST = "select campaign, epoch, max(reward) as best from scores group by all"
TOP = (
    "select title, value from leaderboard where campaign = 'c3' and kind = 'exploit' "
    "order by reward desc limit 10"
)
TOP_SCORES = (
    "select run_id, value from scores where campaign = 'c3' and status = 'valid' "
    "order by value limit 10"
)


def query_figures(lake: Lake) -> Iterator[tuple[str, str, list[float]]]:
    connection = connect(lake)
    for what, figure, sql in (
        ("best per epoch, all campaigns, ms", "100", BEST),
        ("best per epoch, one campaign, ms", "100", f"{BEST} having campaign = 'c3'"),
        ("top-10 scores of a campaign, ms", "50", TOP_SCORES),
        ("top-10 of the leaderboard, one campaign, ms", "50", TOP),
        ("top-10 of the leaderboard, all, ms", "", TOP.replace("campaign = 'c3' and", "")),
    ):
        yield what, figure, measured(lambda sql=sql: connection.execute(sql).fetchall(), 9)
    connection.close()
    yield "query() whole, best per epoch, ms", "", measured(lambda: query(lake, BEST), 5)
    yield "open all views, ms", "", measured(lambda: connect(lake).close(), 5)
    tip = query(
        lake,
        "select idea_id from ideas_history where campaign = 'c0' "
        "and epoch = (select max(epoch) from ideas_history) order by ordinal desc limit 1",
    ).rows[0][0]
    found = len(ancestors(lake, tip, campaign="c0"))
    for name, campaign in (("its campaign", "c0"), ("all campaigns", None)):
        yield (
            f"lineage {found} deep over {name}, ms",
            "200",
            measured(lambda campaign=campaign: ancestors(lake, tip, campaign=campaign), 5),
        )


def import_figure() -> Iterator[tuple[str, str, list[float]]]:
    code = "import time; t = time.perf_counter(); import lake; print(time.perf_counter() - t)"
    spans = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(6)]
    yield "import lake, ms", "300", [span * 1e3 for span in spans[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ideas", type=int, default=200_000, help="size of the big lake, in ideas")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of each of 10 campaigns")
    parser.add_argument("--keep", type=Path, help="folder that keeps the big lake for another run")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-lake-"))
    table = Table(
        title=f"lake of {options.ideas:,} ideas in {CAMPAIGNS * options.epochs:,} partitions",
        title_justify="left",
    )
    for column in ("what", "figure to hold", "median [min..max]", "n"):
        table.add_column(column, justify="left" if column == "what" else "right")
    try:
        big = Lake.open((options.keep or folder) / f"big-{options.ideas}-{options.epochs}")
        if not big.files(Score):
            build(big, options.ideas, options.epochs)
        for figures in (
            import_figure(),
            journal_figures(folder),
            commit_figures(folder),
            query_figures(big),
        ):
            for what, figure, spans in figures:
                spread = f"[{min(spans):.2f}..{max(spans):.2f}]"
                shown = f"{statistics.median(spans):.2f} {spread if len(spans) > 1 else ''}"
                table.add_row(what, figure, shown, str(len(spans)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Console(width=max(100, Console().width), markup=False).print(table)


if __name__ == "__main__":
    assert set(STAGE_TABLE.values()) <= set(TABLES)
    main()
