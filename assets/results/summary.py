"""How far a campaign has come: best against baseline, noise, completion."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assets.config.environment import Environment
from assets.results.history import Scored
from assets.results.noise import Noise, pooled_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures over the epochs so far."""

    noise: Noise | None
    """None where no baseline was ever measured."""
    ranked: tuple[Scored, ...]
    """Ideas with a value, best first, without the baseline. Where ideas have to be confirmed, those
    that are stand before the others, whose values were chosen for being good."""
    best_by_epoch: tuple[float | None, ...]
    """Best value of each epoch alone, of confirmed ideas where that is asked."""
    ideas: int
    valid: int
    """Ideas with a valid score."""
    baseline_runs: int
    """Baseline runs with a valid score."""
    minimize: bool
    deep: int
    """Cuts of the leak audit that a winner's score must rest on."""
    confirmations: int
    """Valid runs with other seeds that a winner must have."""
    kept_runs: frozenset[str]
    """Runs whose outputs are worth their disk: baselines, the best, and the best that is audited."""

    @property
    def best(self) -> Scored | None:
        """The best idea so far whose score rests on the deep audit, and is confirmed if that is asked."""
        return next((s for s in self.ranked if s.may_win(self.deep, self.confirmations)), None)

    @property
    def completion_rate(self) -> float | None:
        """Share of ideas with a valid score."""
        return self.valid / self.ideas if self.ideas else None

    def units(self, value: float) -> float | None:
        """Improvement over the baseline in noise units."""
        return self.noise.units(value, minimize=self.minimize) if self.noise else None


def summarize(
    history: Sequence[Scored], environment: Environment, profile: str, *, confirmations: int = 0
) -> Summary:
    """Figures over `history`, which holds every current idea of the epochs so far."""
    minimize = environment.manifest.direction == "minimize"
    baselines = [s for s in history if s.is_baseline]
    ideas = [s for s in history if not s.is_baseline]
    valued = [(value, s) for s in ideas if (value := s.value) is not None]
    valued.sort(
        key=lambda pair: (
            len(pair[1].confirmed) < confirmations,
            pair[0] if minimize else -pair[0],
            pair[1].idea.idea_id,
        )
    )
    ranked = tuple(s for _, s in valued)
    own = [value for s in baselines if (value := s.value) is not None]
    best = _best_by_epoch(valued, confirmations, minimize=minimize)
    best_by_epoch = tuple(best.get(epoch) for epoch in sorted({s.idea.epoch for s in history}))
    deep = environment.manifest.audit.deep
    audited = next((s for s in ranked if s.may_win(deep, confirmations)), None)
    winners = (*ranked[:1], *((audited,) if audited else ()))
    kept = [s.run.reused_from or s.run.run_id for s in (*baselines, *winners) if s.run]
    return Summary(
        noise=pooled_noise(environment.manifest.profiles[profile].baseline, own),
        ranked=ranked,
        best_by_epoch=best_by_epoch,
        ideas=len({s.idea.idea_id for s in ideas}),
        valid=len({s.idea.idea_id for s in ranked}),
        baseline_runs=len(own),
        minimize=minimize,
        deep=deep,
        confirmations=confirmations,
        kept_runs=frozenset(kept),
    )


def _best_by_epoch(
    valued: Iterable[tuple[float, Scored]], confirmations: int, *, minimize: bool
) -> dict[int, float]:
    """The best value of each epoch that has one of an idea confirmed as often as is asked."""
    pick, best = (min if minimize else max), dict[int, float]()
    for value, scored in valued:
        if len(scored.confirmed) >= confirmations:
            epoch = scored.idea.epoch
            best[epoch] = pick(value, best.get(epoch, value))
    return best
