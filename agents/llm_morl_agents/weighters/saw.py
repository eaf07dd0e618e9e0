"""`SAW`: stage-aware weighting by the coefficient of variation (arXiv 2606.07705)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT, flat_groups, moments, quotient
from .base import Objectives, Signals, State, Weighting, frozen_array
from .clipped import bounded
from .selection import present_objectives, shares_among


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

    An objective that is missing from the batch keeps its running share, or has the mean one without ``ema``; the others
    divide the rest, so that their mean weight stays.

    Low variance is not the same as learned: an objective that is never solved also has CV 0 and stays off until it
    moves by luck. A rare binary success has a very large CV.

    All options but ``delta`` are off by default, which is the paper. ``floor``, ``max_weight`` and ``ema`` act on the
    share, in the order ema, bounds; the running share is that before the bounds.

    ``released=True`` follows the authors' code where it differs from the paper: correctness is shifted by 3 without
    delta and format not at all, here a shift by the lower bound where that is negative; ``|mean| + delta`` below the
    std; the share over ``sum + delta``; the factor K at both levels; no fallback, so that a constant batch has weights
    0. Left out: its restriction to these two rewards, and its NaN for a batch of one response (here 0). Its estimators
    are ``numerics="verl"`` (group std with ddof 1 and 1e-6, whitening over tokens). Beside the weights, its runs
    of SAW take raw scores where its plain GRPO takes rewards with a KL penalty inside: compare with its numbers in
    mind.

    Args:
        delta: Absolute constant in the shift, the denominator and the fallback threshold. The paper does not state it;
            1e-8 is the epsilon of the released code. Being absolute, it is felt by rewards below about 1e-2.
        ema: Share of the previous weights in the running weights, in [0, 1); None (the paper) for no smoothing. The
            first batch starts it; a batch that falls back leaves it as it is.
        released: Follow the released code, see above.
        offset: K non-negative numbers added to the rewards before the CV, and so to its denominator: the objective
            weighs less, most where its mean is near the bound (a rare success).
        low: K lower bounds instead of the declared ones, for rewards whose declared bound is loose or missing.
        floor: Least share of an objective, in [0, 1 / K].
        max_weight: Largest share, at least 1 / K; None for no bound. Both bounds keep the sum, see
            `llm_morl_agents.weighters.clipped.bounded`.

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if a lower bound is neither declared nor
            given, or an option does not fit the number of objectives; from the call, if a reward lies below its bound.

    >>> rewards, ones = np.array([[0.0, 3.0], [1.0, 4.0]]), np.ones(2)  # CV 1.414 and 0.202
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, 5 * ones, preference=ones, level="reward", step=0)
    >>> SAW()(signals, {})[0].weights.round(3)
    array([0.875, 0.125])
    """

    delta: float = 1e-8
    ema: float | None = None
    released: bool = False
    offset: Sequence[float] | None = None
    low: Sequence[float] | None = None
    floor: float = 0.0
    max_weight: float | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"SAW(delta=) must be positive and finite, got {self.delta!r}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"SAW(ema=) must lie in [0, 1) or be None, got {self.ema!r}")

        for name in ("offset", "low"):
            if getattr(self, name) is not None:
                values = frozen_array(f"SAW({name}=)", getattr(self, name), (None,))
                object.__setattr__(self, name, tuple(values.tolist()))  # a tuple, so that equal weighters compare equal
        if self.offset is not None and min(self.offset, default=0.0) < 0:
            raise ValueError(f"SAW(offset=) must be non-negative, got {self.offset}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"SAW(floor=) must lie in [0, 1 / K], got {self.floor!r}")
        if self.max_weight is not None and not self.max_weight > 0:
            raise ValueError(f"SAW(max_weight=) must be at least 1 / K or None, got {self.max_weight!r}")

    def _fitted(self, declared: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower bounds and offsets, (K,) each; all options checked against K."""
        k = len(declared)
        for name in ("offset", "low"):
            given = getattr(self, name)
            if given is not None and len(given) != k:
                raise ValueError(f"SAW({name}=) must have {k} entries, one for each objective, got {given}")
        if self.floor * k > 1:
            raise ValueError(f"SAW(floor=) must be at most 1 / {k} objectives, got {self.floor!r}")
        if self.max_weight is not None and self.max_weight * k < 1:
            raise ValueError(f"SAW(max_weight=) must be at least 1 / {k} objectives, got {self.max_weight!r}")
        low = declared if self.low is None else np.array(self.low)
        if not np.isfinite(low).all():
            raise ValueError(f"SAW needs the declared lower bound of every objective, or SAW(low=), got low={low}")
        return low, np.zeros(k) if self.offset is None else np.array(self.offset)

    def _bounded(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        k = len(share)
        high = np.inf if self.max_weight is None else k * self.max_weight
        return bounded(share, np.ones(k), min(k * self.floor, 1.0), max(high, 1.0))

    def init(self, objectives: Objectives) -> State:
        """Empty: the running weights start with the first batch."""
        self._fitted(objectives.low)
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,); with ``ema`` the state holds the running ``share`` (K,), which sums to 1."""
        low, offset = self._fitted(signals.low)
        _check_above(signals.rewards, low)
        cv = coefficient_of_variation(signals.rewards + offset, low, delta=self.delta, released=self.released)
        k = len(cv)
        if not self.released and cv.sum() < self.delta:
            return Weighting(signals.preference), state
        present = present_objectives(signals.rewards)
        if not present.all():
            running = state.get("share") if self.ema is not None else None
            share = shares_among(cv, present, None if running is None else np.asarray(running, dtype=np.float64))
        else:
            share = cv / (cv.sum() + self.delta) if self.released else cv / cv.sum()
        if self.ema is not None:
            if "share" in state:
                share = self.ema * np.asarray(state["share"], dtype=np.float64) + (1 - self.ema) * share
            state = {"share": share}
        factor = k if self.released or signals.level == "advantage" else 1
        return Weighting(factor * self._bounded(share) * signals.preference), state


#: The method's name in full.
StageAwareWeighter = SAW


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
