"""`Floored`: no objective loses all of its weight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..bases import quotient
from .base import Signals, State, Weighting
from .wrapping import Wrapper, may_gain


def mixed_with_even(weights: NDArray[np.float64], preference: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """``(1 - floor) w_k + floor (sum_l w_l) p_k / sum_l p_l``: the same sum, a part of it spread by preference.

    Args:
        weights: (..., K) non-negative.
        preference: (K,) or (..., K), non-negative.
        floor: In [0, 1].

    >>> mixed_with_even(np.array([4.0, 0.0]), np.ones(2), 0.1)
    array([3.8, 0.2])
    """
    even = weights.sum(axis=-1, keepdims=True) * quotient(preference, preference.sum(axis=-1, keepdims=True))
    mixed: NDArray[np.float64] = (1 - floor) * weights + floor * even
    return mixed


@dataclass(frozen=True)
class Floored(Wrapper):
    """Every objective keeps at least ``floor`` of the mean weight; the sum stays.

    The inner weights are mixed with even ones of the same sum, `mixed_with_even`: ``(1 - floor) w_k + floor mean(w)``
    without a preference; under one, an objective that the user gave weight 0 stays out. A mixture, not a maximum:
    it is smooth, and weights above the floor all give up the same fraction. It is the exploration term of Exp3 (Auer et
    al. 2002): an objective whose statistic is 0 by bad luck is still learned from, and can come back. Rows without
    any weight (flat groups of DVAO) stay so, and so does every weight of 0 under a combiner of the inner weighter's own
    (`RVPO`, `Tchebycheff`): there it says that a reward is missing, or flat.

    Args:
        inner: Any weighter with non-negative weights.
        floor: Share of the mean weight, in [0, 1]; 1 makes the weights even.

    Raises:
        ValueError: If ``floor`` is out of range.

    >>> from .static import Static
    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> Floored(Static([2, 0]), floor=0.5)(signals, {})[0].weights
    array([1.5, 0.5])
    """

    floor: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.floor <= 1:
            raise ValueError(f"Floored(floor=) must lie in [0, 1], got {self.floor!r}")

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights of the inner shape; the state is the inner one."""
        weighting, after = self._decide(signals, state)
        preference = may_gain(weighting, signals.preference)
        return replace(weighting, weights=mixed_with_even(weighting.weights, preference, self.floor)), after
