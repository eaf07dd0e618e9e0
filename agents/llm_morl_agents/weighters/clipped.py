"""`Clipped`: bounds on how far weights may stray from even ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Signals, State, Weighting
from .wrapping import Wrapper, may_gain


def bounded(
    weights: NDArray[np.float64], preference: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """The nearest weights of the same sum whose ratio to even ones lies between the bounds.

    With ``even_k = (sum_l w_l) p_k / sum_l p_l`` and ``u_k = w_k / even_k``: ``even_k clip(t u_k, low, high)``, where
    the one number t keeps the sum. These are the weights of least Kullback-Leibler divergence from the given ones, and
    ratios between weights that no bound stops stay as they are; clipping once and renormalising would leave the bounds
    again. The sum is piecewise linear in t, so t is exact. Weights of 0 are raised to ``low``, and further, evenly,
    only where all others have reached ``high``.

    Args:
        weights: (K,) non-negative.
        preference: (K,) non-negative; where it is 0 the weight is 0.
        low: In [0, 1].
        high: At least 1; may be inf.

    Returns:
        (K,); ``weights`` itself where the sum is not positive or every ratio lies inside already.

    >>> bounded(np.array([2.5, 0.4, 0.1]), np.ones(3), 0.1, 2.0).round(6)
    array([2. , 0.8, 0.2])
    """
    total = weights.sum()
    counts = preference > 0
    if not (total > 0 and counts.any()):
        return weights
    share = preference[counts] / preference.sum()
    ratio = weights[counts] / (total * share)
    if ((ratio >= low) & (ratio <= high)).all():
        return weights
    out: NDArray[np.float64] = np.zeros_like(weights)
    out[counts] = total * share * _bounded_ratio(ratio, share, low, high)
    return out


def _bounded_ratio(ratio: NDArray[np.float64], share: NDArray[np.float64], low: float, high: float) -> Any:
    """``clip(t ratio, low, high)`` whose mean over the shares is 1."""
    some = ratio > 0
    used, unused = share[some].sum(), share[~some].sum()
    if unused > 0 and high * used + low * unused < 1:
        return np.where(some, high, (1 - high * used) / unused)
    with np.errstate(over="ignore"):
        ends = np.concatenate([low / ratio[some], high / ratio[some], [0.0, 1.0]])
    factors = np.sort(ends[np.isfinite(ends)])
    means = np.clip(np.outer(factors, ratio), low, high) @ share  # rising
    right = min(int(np.searchsorted(means, 1.0)), len(means) - 1)
    left = max(right - 1, 0)
    rise = means[right] - means[left]
    part = (1.0 - means[left]) / rise if rise > 0 else 0.0
    factor = factors[left] + part * (factors[right] - factors[left])
    return np.clip(factor * ratio, low, high)


@dataclass(frozen=True)
class Clipped(Wrapper):
    """No weight falls below ``low`` or rises above ``high`` times the mean weight; the sum stays.

    What one objective gives up, the others get in proportion to their weights, as far as their own bounds allow:
    `bounded`. Under a preference p the mean is proportional to p. Weights that lie inside the bounds together are not
    touched, unlike under `Floored`. Rows without any weight (flat groups of DVAO) stay so, and so does every weight of
    0 under a combiner of the inner weighter's own, as there.

    Args:
        inner: Any weighter with non-negative weights.
        low: Smallest multiple of the mean weight, in [0, 1].
        high: Largest multiple, at least 1; None for no bound.

    Raises:
        ValueError: If a bound is out of range.

    >>> from .static import Static
    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> Clipped(Static([4, 0]), low=0.1, high=1.5)(signals, {})[0].weights
    array([3., 1.])
    """

    low: float = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.low <= 1:
            raise ValueError(f"Clipped(low=) must lie in [0, 1], got {self.low!r}")
        if self.high is not None and not self.high >= 1:
            raise ValueError(f"Clipped(high=) must be at least 1 or None, got {self.high!r}")

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights of the inner shape; the state is the inner one."""
        weighting, after = self._decide(signals, state)
        high = np.inf if self.high is None else self.high
        rows = np.atleast_2d(weighting.weights)
        preference = np.broadcast_to(may_gain(weighting, signals.preference), rows.shape)
        clipped = np.array([bounded(*pair, self.low, high) for pair in zip(rows, preference, strict=True)])
        return replace(weighting, weights=clipped.reshape(weighting.weights.shape)), after
