"""`SAMRPO`: an objective loses weight as it nears its best value (arXiv 2608.16072)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import moments
from .base import Objectives, Signals, State, Weighting
from .bounds import check_bounds, unit_interval


def saturation(
    rewards: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``(batch mean - low) / (high - low)``, (K,) in [0, 1]; 0 for an objective without any reward.

    Args:
        rewards: (N, K), NaN left out.
        low: Lower bounds (K,).
        high: Upper bounds (K,).

    Raises:
        ValueError: If a bound is not declared, or a reward lies outside.

    >>> saturation(np.array([[3.0, 0.0], [-3.0, 1.0], [3.0, 0.0]]), np.array([-3.0, 0]), np.array([3.0, 1])).round(3)
    array([0.667, 0.333])
    """
    unit = unit_interval("SAMRPO", rewards, low, high)
    share: NDArray[np.float64] = np.sum(moments(unit, np.zeros(len(unit), dtype=np.int64)).mean, axis=0)
    return np.clip(share, 0.0, 1.0)


@dataclass(frozen=True)
class SAMRPO:
    """``w_k = a_k (1 - s_k)^gamma``, ``a`` the preference and ``s_k`` the saturation of objective k.

    SA-MRPO (arXiv 2608.16072): ``s_k`` is the batch mean on the scale of the declared bounds, and the weights act on
    the group z-scores before the batch is whitened; ``gamma`` 0 is GDPO, the paper takes 0.25 to 0.5. The weights are
    not normalised, as in the paper: whitening (GDPO) and a std (GRPO) take a common factor away, while under RLOO,
    Dr.GRPO or an unwhitened sum the step shrinks as all objectives saturate. At reward level the same weights multiply
    the rewards, which the paper does not do.

    The bounds decide: a bound that no policy can reach keeps its objective unsaturated for ever, and an objective that
    is stuck at its worst keeps full weight. An objective without any reward in the batch counts as unsaturated.

    Args:
        gamma: Exponent, 0 or more.

    Raises:
        ValueError: If ``gamma`` is negative or not finite; from ``init`` and the call, if a bound is not declared; from
            the call, if a reward lies outside its bounds.

    >>> rewards, ones = np.array([[0.0, 1.0], [0.5, 1.0], [1.0, 0.25]]), np.ones(2)  # saturation 0.5 and 0.75
    >>> signals = Signals(rewards, np.zeros(3, int), 0 * ones, ones, preference=ones, level="advantage", step=0)
    >>> SAMRPO()(signals, {})[0].weights.round(3)
    array([0.707, 0.5  ])
    """

    gamma: float = 0.5
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.gamma) and self.gamma >= 0):
            raise ValueError(f"SAMRPO(gamma=) must be finite and not negative, got {self.gamma!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        check_bounds("SAMRPO", objectives.low, objectives.high)
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,), 0 for an objective at its upper bound (unless ``gamma`` is 0); the state as it was."""
        s = saturation(signals.rewards, signals.low, signals.high)
        return Weighting(signals.preference * (1 - s) ** self.gamma), state
