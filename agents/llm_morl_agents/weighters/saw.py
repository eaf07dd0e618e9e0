"""`SAW`: stage-aware weighting by the coefficient of variation (arXiv 2606.07705)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT, flat_groups, moments, quotient
from .base import Objectives, Signals, State, Weighting


def coefficient_of_variation(
    rewards: NDArray[np.float64], low: NDArray[np.float64], *, delta: float = 1e-8, released: bool = False
) -> NDArray[np.float64]:
    """Std over mean of each shifted reward over the whole batch, ddof 1; missing (NaN) rewards are left out.

    Paper: ``std / (mean(r - low + delta) + delta)``. Released code: the shift is ``r - low`` where ``low < 0`` and none
    elsewhere, the denominator ``|mean| + delta``.

    Args:
        rewards: (N, K).
        low: Lower bounds (K,).
        delta: Absolute constant.
        released: Whether to follow the released code instead of the paper.

    Returns:
        (K,); exactly 0 for an objective that is constant up to rounding (std at most 1e-6 of the largest absolute
        reward) or has fewer than two values, where the formula would give residue or NaN.

    >>> coefficient_of_variation(np.array([[0.0, 1.0], [1.0, 1.0]]), np.zeros(2)).round(6)
    array([1.414214, 0.      ])
    """
    row = np.zeros(len(rewards), dtype=np.int64)
    statistics = moments(rewards - (np.minimum(low, 0.0) if released else low), row)
    mean = np.abs(statistics.mean) + delta if released else statistics.mean + 2 * delta
    std = np.where(flat_groups(rewards, row), 0.0, statistics.std(1))
    cv: NDArray[np.float64] = np.sum(quotient(std, mean), axis=0)  # the only row; none if the batch is empty
    return cv


@dataclass(frozen=True)
class SAW:
    """Weights proportional to the coefficient of variation (CV) of each objective over the batch.

    An objective whose values have become nearly equal is taken as learned and loses weight. SAW, arXiv 2606.07705
    (shift, CV and share of its section on stage-aware weighting): ``w_k = CV_k / sum_l CV_l``, times K at advantage
    level, so that equal CVs reproduce GDPO. If ``sum_l CV_l < delta`` all weights are 1, at both levels. The
    preference multiplies afterwards, since the CV cannot see a positive rescaling. Needs declared lower bounds.

    Low variance is not the same as learned: an objective that is never solved also has CV 0 and stays off until it
    moves by luck. A rare binary success has a very large CV.

    Args:
        delta: Absolute constant in the shift, the denominator and the fallback threshold. The paper does not state it;
            1e-8 is the epsilon of the released code. Being absolute, it is felt by rewards below about 1e-2.
        ema: Share of the previous weights in the running weights, in [0, 1); None (the paper) for no smoothing. The
            first batch starts it; a batch that falls back leaves it as it is.
        released: Follow the released code: shift without delta and only where the lower bound is negative,
            ``|mean| + delta``, share over ``sum + delta``, factor K at both levels, no fallback. Left out: its NaN
            for a batch of one response (here 0), and its restriction to two objectives.

    Raises:
        ValueError: If ``delta`` or ``ema`` is out of range; from ``init`` and the call, if a lower bound is not
            declared; from the call, if a reward lies below it.

    >>> rewards, ones = np.array([[0.0, 3.0], [1.0, 4.0]]), np.ones(2)  # CV 1.414 and 0.202
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, 5 * ones, preference=ones, level="reward", step=0)
    >>> SAW()(signals, {})[0].weights.round(3)
    array([0.875, 0.125])
    """

    delta: float = 1e-8
    ema: float | None = None
    released: bool = False
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"SAW(delta=) must be positive and finite, got {self.delta!r}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"SAW(ema=) must lie in [0, 1) or be None, got {self.ema!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty: the running weights start with the first batch."""
        _check_declared(objectives.low)
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,); with ``ema`` the state holds the running ``share`` (K,), which sums to 1."""
        _check_declared(signals.low)
        _check_above(signals.rewards, signals.low)
        cv = coefficient_of_variation(signals.rewards, signals.low, delta=self.delta, released=self.released)
        k = len(cv)
        if not self.released and cv.sum() < self.delta:
            return Weighting(signals.preference), state
        share = cv / (cv.sum() + self.delta) if self.released else cv / cv.sum()
        if self.ema is not None:
            if "share" in state:
                share = self.ema * np.asarray(state["share"], dtype=np.float64) + (1 - self.ema) * share
            state = {"share": share}
        factor = k if self.released or signals.level == "advantage" else 1
        return Weighting(factor * share * signals.preference), state


#: The method's name in full.
StageAwareWeighter = SAW


def _check_declared(low: NDArray[np.float64]) -> None:
    if not np.isfinite(low).all():
        raise ValueError(f"SAW needs the declared lower bound of every objective, got low={low}")


def _check_above(rewards: NDArray[np.float64], low: NDArray[np.float64]) -> None:
    """A reward below its bound would make the mean, and with it a weight, negative."""
    slack = FLAT * np.maximum(np.abs(low), np.nanmax(np.abs(rewards), axis=0, initial=0.0))
    below = rewards < low - slack
    if below.any():
        row, objective = np.argwhere(below)[0]
        raise ValueError(
            f"SAW: reward {rewards[row, objective]} (row {row}, objective {objective}) lies below its declared "
            f"lower bound {low[objective]}"
        )
