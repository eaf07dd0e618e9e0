"""`Tchebycheff`: the objective that lags furthest behind its ideal decides; reaches fronts that no sum reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import flat_groups, rows_of
from .base import Combiner, Objectives, Signals, State, Weighting, frozen_array
from .selection import where_present

Floats = NDArray[np.float64]


def _gaps(values: Floats, weights: Floats, ideal: Sequence[float]) -> tuple[Floats, Floats]:
    """``w_k (ideal_k - v_k)``, -inf where the weight is 0, and the largest of each row, 0 where there is none."""
    gaps = np.where(weights > 0, weights * (np.asarray(ideal) - values), -np.inf)
    largest = np.max(gaps, axis=1, initial=-np.inf)
    return gaps, np.where(np.isneginf(largest), 0.0, largest)


@dataclass(frozen=True)
class WeightedTchebycheff:
    """Combiner ``-max_k w_k (z_k - v_k) + rho sum_k w_k v_k``, z the ideal point.

    The weighted Tchebycheff scalarisation (Bowman 1976), for ``rho > 0`` augmented (Steuer and Choo 1983). Every Pareto
    optimal point of a concave or ragged front maximises it for some weights, which weighted sums cannot say; ``rho``
    excludes points that are optimal only weakly. Objectives of weight 0 are left out of the maximum.

    Args:
        ideal: K numbers, as a rule at or above every value.
        rho: Share of the weighted sum, at least 0.

    >>> WeightedTchebycheff((1.0, 1.0))(np.array([[0.5, 0.9], [0.7, 0.7]]), np.ones((2, 2))).round(9).tolist()
    [-0.5, -0.3]
    """

    ideal: tuple[float, ...]
    rho: float = 0.0

    def __call__(self, values: Floats, weights: Floats) -> Floats:
        """Scores (N,) of values (N, K) under non-negative weights (N, K)."""
        _, largest = _gaps(values, weights, self.ideal)
        return np.asarray(self.rho * np.sum(weights * values, axis=1) - largest)


@dataclass(frozen=True)
class SmoothTchebycheff:
    """Combiner ``-mu log sum_k exp(w_k (z_k - v_k) / mu)``, z the ideal point (Lin et al., arXiv 2402.19078).

    Smooth where `WeightedTchebycheff` has kinks, and below it by at most ``mu log K``. Objectives of weight 0 are left
    out of the sum, so a response with fewer objectives lies up to that much higher.

    Args:
        ideal: K numbers, as a rule at or above every value.
        mu: Width of the smoothing, positive, in the unit of the weighted gaps.

    >>> SmoothTchebycheff((1.0, 1.0), mu=0.1)(np.array([[0.5, 0.9], [0.7, 0.7]]), np.ones((2, 2))).round(3).tolist()
    [-0.502, -0.369]
    """

    ideal: tuple[float, ...]
    mu: float

    def __call__(self, values: Floats, weights: Floats) -> Floats:
        """Scores (N,) of values (N, K) under non-negative weights (N, K)."""
        gaps, largest = _gaps(values, weights, self.ideal)
        total = np.sum(np.exp((gaps - largest[:, None]) / self.mu), axis=1)
        return np.asarray(-largest - self.mu * np.log(np.where(total > 0, total, 1.0)))


@dataclass(frozen=True)
class Tchebycheff:
    """Combines objectives by the weighted Tchebycheff scalarisation, the preference as weights.

    At reward level (GRPO, RLOO), where it is meant to act: rewards are put on [0, 1] by their declared bounds, through
    weights ``preference / (high - low)``; an objective without both bounds stays in its own unit. The ideal is what
    the user gives, else the declared upper bound, else the largest reward seen so far, which the state holds.

    At advantage level values are z-scores, of which nobody knows an ideal. There it is an achievement function
    (Wierzbicki 1980) with the group's own mean, 0, as reference point: without ``rho`` the score of a response is its
    worst weighted z-score. Objectives that are flat in a group get weight 0 there, since their z-score of 0 would cap
    every score. Scores are not centred, so whiten (GDPO). It loses what the reward level has: how far each objective
    is from its best.

    Missing rewards are left out of the maximum. It misleads where the ideal cannot be reached: an objective with a
    loose upper bound lags for ever and decides alone. A response improves only with its worst objective, so noise in
    one objective hides the others; ``rho`` and ``mu`` soften that.

    Args:
        ideal: K numbers in the units of the rewards, at reward level only; None for bounds and running maxima.
        rho: Share of the weighted sum, at least 0; of the hard form only.
        mu: Width of the smooth form, positive; None for the hard form.

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if the ideal has not K entries; from the
            call, if an ideal is given at advantage level.

    >>> rewards, ones = np.array([[0.5, 0.9], [0.7, 0.7]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> Tchebycheff(rho=0.0)(signals, {})[0].combiner
    WeightedTchebycheff(ideal=(1.0, 1.0), rho=0.0)
    """

    ideal: Sequence[float] | None = None
    rho: float = 0.05
    mu: float | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.ideal is not None:
            ideal = frozen_array("Tchebycheff(ideal=)", self.ideal, (None,))
            object.__setattr__(self, "ideal", tuple(ideal.tolist()))
        if not (np.isfinite(self.rho) and self.rho >= 0):
            raise ValueError(f"Tchebycheff(rho=) must be non-negative and finite, got {self.rho!r}")
        if self.mu is not None and not (np.isfinite(self.mu) and self.mu > 0):
            raise ValueError(f"Tchebycheff(mu=) must be positive and finite, or None, got {self.mu!r}")

    def init(self, objectives: Objectives) -> State:
        """``best`` (K,), -inf, where a running maximum is needed; else empty."""
        self._check(len(objectives))
        needed = self.ideal is None and not np.isfinite(objectives.high).all()
        return {"best": np.full(len(objectives), -np.inf)} if needed else {}

    def _check(self, k: int) -> None:
        if self.ideal is not None and len(self.ideal) != k:
            raise ValueError(f"Tchebycheff(ideal=) must have {k} entries, one for each objective, got {self.ideal}")

    def _combiner(self, ideal: Floats) -> Combiner:
        point = tuple(ideal.tolist())
        return WeightedTchebycheff(point, self.rho) if self.mu is None else SmoothTchebycheff(point, self.mu)

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,) at reward level, (N, K) at advantage level or where rewards are missing, with the combiner."""
        k = len(signals.low)
        self._check(k)
        if signals.level == "advantage":
            if self.ideal is not None:
                raise ValueError(
                    f"Tchebycheff(ideal={self.ideal}) is in the units of the rewards, but this estimator combines "
                    "z-scores; combine rewards instead (grpo, rloo), or leave ideal=None"
                )
            flat = flat_groups(signals.rewards, signals.group)[rows_of(signals.group)]
            weights = where_present(np.where(flat, 0.0, signals.preference), signals)
            return Weighting(weights, combiner=self._combiner(np.zeros(k))), state
        width = signals.high - signals.low
        weights = where_present(signals.preference / np.where(np.isfinite(width), width, 1.0), signals)
        if self.ideal is not None:
            return Weighting(weights, combiner=self._combiner(np.array(self.ideal))), state
        ideal = signals.high
        if not np.isfinite(ideal).all():
            seen = np.max(signals.rewards, axis=0, where=~np.isnan(signals.rewards), initial=-np.inf)
            best = np.maximum(np.asarray(state.get("best", -np.inf), dtype=np.float64), seen)
            state = {"best": best}
            ideal = np.where(np.isfinite(ideal), ideal, np.where(np.isfinite(best), best, 0.0))
        return Weighting(weights, combiner=self._combiner(ideal)), state
