"""How far a campaign has come: best against baseline, noise, completion."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.config.environment import Environment
from assets.results.baseline import OwnBaseline
from assets.results.better import Better
from assets.results.noise import Gain, Noise, pooled_noise
from assets.results.scored import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures over the epochs so far."""

    noise: Noise | None
    """None where no baseline was ever measured."""
    ranked: tuple[Scored, ...]
    """Ideas with a value, best first, without the baseline. Where ideas have to be confirmed, the
    confirmed come before the others, whose values were chosen for being good."""
    best_by_epoch: tuple[float | None, ...]
    """Best value of each epoch alone; of confirmed ideas only, where that is asked for."""
    ideas: int
    valid: int
    """Ideas with a valid score."""
    baseline_runs: int
    """Baseline runs with a valid score."""
    better: Better
    """What counts as better."""
    deep: int
    """Cuts of the leak audit that a winner's score must rest on."""
    confirmations: int
    """Valid runs with other seeds that a winner must have."""
    kept_runs: frozenset[str]
    """Runs whose outputs are worth keeping: baselines, the best, the best audited one."""

    @property
    def best(self) -> Scored | None:
        """The best idea so far whose score rests on the deep audit, confirmed where asked."""
        return next((s for s in self.ranked if s.may_win(self.deep, self.confirmations)), None)

    @property
    def completion_rate(self) -> float | None:
        """Share of ideas with a valid score."""
        return self.valid / self.ideas if self.ideas else None

    def gain(self, scored: Scored) -> Gain | None:
        """What an idea is worth against the baseline; None where either has no value."""
        minimize = self.better.minimize
        return self.noise.gain_of(scored, minimize=minimize) if self.noise else None


def summarize(
    history: Sequence[Scored], environment: Environment, profile: str, *, confirmations: int = 0
) -> Summary:
    """Figures over `history`, which holds every current idea of the epochs so far."""
    manifest = environment.manifest
    better = Better.of(manifest)
    baselines = [s for s in history if s.is_baseline]
    ideas = [s for s in history if not s.is_baseline]
    ranked = _ranked(ideas, better, confirmations)
    own = OwnBaseline.of(baselines)
    deep = manifest.audit.deep
    audited = [s for s in ranked if s.may_win(deep, confirmations)]
    kept = (*baselines, *ranked[:1], *audited[:1])
    return Summary(
        noise=pooled_noise(manifest.profiles[profile].baseline, own),
        ranked=ranked,
        best_by_epoch=_best_by_epoch(history, ranked, better, confirmations),
        ideas=len({s.idea.idea_id for s in ideas}),
        valid=len({s.idea.idea_id for s in ranked}),
        baseline_runs=len(own.by_seed),
        better=better,
        deep=deep,
        confirmations=confirmations,
        kept_runs=frozenset(s.run.reused_from or s.run.run_id for s in kept if s.run),
    )


def _ranked(ideas: Sequence[Scored], better: Better, confirmations: int) -> tuple[Scored, ...]:
    """Ideas with a value; those that are confirmed as asked first, then the best first."""
    placed = [
        (len(s.confirmed) < confirmations, better.rank(s.value), s.idea.idea_id, s)
        for s in ideas
        if s.value is not None
    ]
    return tuple(s for *_, s in sorted(placed, key=lambda one: one[:3]))


def _best_by_epoch(
    history: Sequence[Scored], ranked: Sequence[Scored], better: Better, confirmations: int
) -> tuple[float | None, ...]:
    """The best value of each epoch alone, of confirmed ideas where that is asked."""
    epochs = sorted({s.idea.epoch for s in history})
    values: dict[int, list[float]] = {epoch: [] for epoch in epochs}
    for s in ranked:
        if s.value is not None and len(s.confirmed) >= confirmations:
            values[s.idea.epoch].append(s.value)
    return tuple(better.best(each) for each in values.values())
