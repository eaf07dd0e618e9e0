"""`ProportionalFair`: weights that climb the log-hypervolume of the policy's mean reward vector. Our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import flat_groups, moments, rows_of
from .base import Objectives, Signals, State, Weighting
from .selection import present_objectives

Floats = NDArray[np.float64]


def marginal_utility(
    mean: Floats, low: Floats, high: Floats, preference: Floats, *, alpha: float = 1.0, floor: float = 0.02
) -> Floats:
    """Gradient of alpha-fair utility with respect to the mean reward vector, (K,).

    With the mean scaled to ``m = (mean - low) / (high - low)``, utility is ``sum_k p_k m_k^(1 - alpha) / (1 - alpha)``,
    or ``sum_k p_k log m_k`` at ``alpha = 1`` (Mo and Walrand, 2000); its gradient is
    ``p_k / (max(m_k, floor)^alpha (high_k - low_k))``.

    Args:
        mean: (K,) mean rewards, at least ``low``.
        low: (K,) lower bounds.
        high: (K,) upper bounds.
        preference: (K,) non-negative.
        alpha: 0 for the sum, 1 for the product (the hypervolume over ``low``); towards infinity the worst objective.
        floor: Smallest scaled mean that is believed, so that an objective without any success has no infinite weight.

    >>> marginal_utility(np.array([0.5, 0.1]), np.zeros(2), np.ones(2), np.ones(2)).tolist()
    [2.0, 10.0]
    """
    width = high - low
    utility: Floats = preference / (np.maximum((mean - low) / width, floor) ** alpha * width)
    return utility


@dataclass(frozen=True)
class ProportionalFair:
    """Each objective counts by the inverse of its mean above the lower bound: ascent on ``sum_k p_k log m_k``.

    ``exp`` of that utility is, at equal preferences, the hypervolume of the policy's mean vector m over the lower
    bounds, so a step climbs the very number that fronts are compared by. The advantage that results is
    ``sum_k (r_k - mean_g r_k) p_k / m_k``: at advantage level the per-group weights ``sd_pk p_k / m_k`` undo the group
    z-score, so that a group in which an objective hardly varies is not blown up to unit variance. At reward level the
    weights are ``p_k / m_k`` (K,).

    This package's own proposal. Its parts are known: proportional fairness in networks (Kelly 1997; Mo and Walrand
    2000) and the Nash welfare of expected returns in multi-objective RL (Fan et al., AAMAS 2023). What is new is its
    form as a weighter for grouped policy gradients, and what that form says of `SAW`: the coefficient of variation is
    ``sd_k / m_k`` with the std of the batch in place of the group's, so SAW on group z-scores climbs nearly the same
    log-hypervolume.

    A fixed weighted sum of rewards has no stable optimum inside an attainable front that is flat or concave: it ends in
    a corner. These weights fall as an objective rises, and stop in between. Where it fails: an extra objective that is
    noise has a constant mean and keeps its weight for ever; a loose lower bound makes all means look alike and the
    weights nearly static; the sum of rewards is not what it maximises; and an objective that no response ever satisfies
    is invisible to it as to every weighter, since its groups are flat. Measured in docs/results.md.

    Args:
        alpha: Of the utility, see `marginal_utility`. Below 1 the interior point is no longer stable on a flat front.
        decay: Share of the previous mean in the running mean of rewards, in [0, 1); 0 takes the batch's. A delayed mean
            overshoots: raise it only where batches are small.
        floor: Smallest scaled mean that is believed, in (0, 1].

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if a bound is not declared.

    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)  # means 0.5 and 0.75
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> ProportionalFair()(signals, {})[0].weights
    array([0.6, 0.4])
    """

    alpha: float = 1.0
    decay: float = 0.0
    floor: float = 0.02
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"ProportionalFair(alpha=) must be non-negative and finite, got {self.alpha!r}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"ProportionalFair(decay=) must lie in [0, 1), got {self.decay!r}")
        if not 0 < self.floor <= 1:
            raise ValueError(f"ProportionalFair(floor=) must lie in (0, 1], got {self.floor!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty: the running mean starts with the first batch."""
        _check_declared(objectives.low, objectives.high)
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,) that sum to 1 at reward level; (P, K) whose rows sum to K on average at advantage level.

        An objective that is missing from the whole batch keeps its running mean, or weighs as if at its upper bound.
        With ``decay`` the state holds the running ``mean`` (K,), and until every objective was there once, which ones
        were ``seen``.
        """
        _check_declared(signals.low, signals.high)
        batch = moments(signals.rewards, np.zeros_like(signals.group))
        mean = np.where(batch.size > 0, batch.mean, signals.high)[0] if len(batch.size) else signals.high
        if self.decay:
            there = seen = present_objectives(signals.rewards) & bool(len(signals.rewards))
            if "mean" in state:
                before = np.asarray(state["mean"], dtype=np.float64)
                known = np.asarray(state.get("seen", np.ones(len(mean))), dtype=np.bool_)
                mixed = np.where(known, self.decay * before + (1 - self.decay) * mean, mean)
                mean, seen = np.where(there, mixed, before), known | there
            state = {"mean": mean} if seen.all() else {"mean": mean, "seen": seen}
        options = {"alpha": self.alpha, "floor": self.floor}
        utility = marginal_utility(mean, signals.low, signals.high, signals.preference, **options)
        if signals.level == "reward":
            return Weighting(utility / (utility.sum() or 1.0)), state
        std = moments(signals.rewards, rows_of(signals.group)).std()
        weights = np.where(flat_groups(signals.rewards, signals.group), 0.0, std) * utility
        total = weights.sum() / max(len(weights), 1)
        return Weighting(weights * (weights.shape[1] / total) if total > 0 else weights), state


def _check_declared(low: Floats, high: Floats) -> None:
    if not np.isfinite(high - low).all():
        raise ValueError(f"ProportionalFair needs the declared bounds of every objective, got low={low}, high={high}")
