"""Rows for tests of pure code, with only what a test cares about spelled out."""

from assets.results.scored import Scored
from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    Patch,
    PatchStatus,
    Run,
    RunStatus,
    Score,
    ScoreStatus,
)

KEYS = {"campaign": "c", "epoch": 0, "n": 0}


def idea(title: str, *, kind: str = "fresh", **columns) -> Idea:
    return Idea(
        **KEYS,
        **{
            "idea_id": f"i-{title}",
            "ordinal": 0,
            "kind": IdeaKind(kind),
            "title": title,
            "text": title,
        }
        | columns,
    )


def patch(title: str) -> Patch:
    return Patch(
        **KEYS,
        patch_id=f"p-{title}",
        idea_id=f"i-{title}",
        ordinal=0,
        revision=0,
        format="none",
        diff="",
        base_tree="t",
        tree="t",
        status=PatchStatus.APPLIED,
    )


def run(title: str, *, seed: int = 0, **columns) -> Run:
    return Run(
        **KEYS,
        **{
            "run_id": f"r-{title}-{seed}",
            "patch_id": f"p-{title}",
            "run_key": "k",
            "seed": seed,
            "profile": "cpu",
            "launcher": "local",
            "status": RunStatus.FINISHED,
            "cpu_seconds": 1.0,
            "score_cpu_seconds": 1.0,
            "sandbox_level": "none",
            "versions": {"evaluator": "e"},
        }
        | columns,
    )


def scored(
    title: str,
    *,
    value: float | None,
    kind: str = "fresh",
    seed: int = 0,
    reason: str | None = None,
    measures: dict[str, float] | None = None,
    confirmed: tuple[float | None, ...] = (),
) -> Scored:
    def score(seed: int, value: float | None) -> Score:
        return Score(
            **KEYS,
            score_id=f"s-{title}-{seed}",
            run_id=f"r-{title}-{seed}",
            metric="val_loss",
            value=value,
            blame=None if value is not None else Blame.TRAIN,
            reason=reason,
            status=ScoreStatus.VALID if value is not None else ScoreStatus.INVALID,
            evaluator="e",
            measures=measures or {},
        )

    return Scored(
        idea=idea(title, kind=kind),
        patch=patch(title),
        run=run(title, seed=seed),
        score=score(seed, value),
        confirmations=tuple(score(100 + n, each) for n, each in enumerate(confirmed)),
    )
