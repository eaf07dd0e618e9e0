"""`unit_interval`: rewards on the scale of their declared bounds, for the weighters that measure progress in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT


def check_bounds(owner: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """Refuse objectives without two finite bounds.

    Raises:
        ValueError: If a bound is not declared, or a low is not below its high; it names ``owner``.
    """
    if not np.isfinite(high - low).all():
        raise ValueError(f"{owner} needs the declared bounds of every objective, got low={low}, high={high}")
    if (low >= high).any():
        raise ValueError(f"{owner}: every low must be below its high, got low={low}, high={high}")


def unit_interval(
    owner: str, rewards: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``(r - low) / (high - low)``, (N, K) in [0, 1]; NaN stays.

    A reward outside its bounds by rounding (1e-6 of the larger of width and bound) is taken as the bound.

    Args:
        owner: Who asks, as an error shall call it.
        rewards: (N, K).
        low: Lower bounds (K,).
        high: Upper bounds (K,).

    Raises:
        ValueError: If a bound is not declared, or a reward lies outside; it names row and objective.

    >>> unit_interval("SAMRPO", np.array([[0.0, 2.0]]), np.array([-3.0, 0.0]), np.array([3.0, 2.0]))
    array([[0.5, 1. ]])
    """
    check_bounds(owner, low, high)
    slack = FLAT * np.maximum(high - low, np.maximum(np.abs(low), np.abs(high)))
    outside = (rewards < low - slack) | (rewards > high + slack)
    if outside.any():
        row, objective = np.argwhere(outside)[0]
        raise ValueError(
            f"{owner}: reward {rewards[row, objective]} (row {row}, objective {objective}) lies outside its declared "
            f"bounds [{low[objective]}, {high[objective]}]"
        )
    unit: NDArray[np.float64] = np.clip((rewards - low) / (high - low), 0.0, 1.0)
    return unit
