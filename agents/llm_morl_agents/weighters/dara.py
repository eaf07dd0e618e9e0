"""`DARA`: objectives that rarely tell responses apart count more where they do (density-aware reweighting)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import flat_groups, group_total, group_zscore, quotient, rows_of
from .base import Objectives, Signals, State, Weighting


def density(rewards: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the groups in which an objective varies, so that its advantages are not 0, (K,).

    Args:
        rewards: (N, K), NaN left out; a group without any reward of an objective is not counted for it.
        group: int64 (N,).

    >>> density(np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]), np.array([0, 0, 1, 1]))
    array([1. , 0.5])
    """
    there = group_total((~np.isnan(rewards)).astype(np.float64), rows_of(group)) > 0
    alive = there & ~flat_groups(rewards, group)
    share: NDArray[np.float64] = quotient(alive.sum(axis=0, dtype=np.float64), there.sum(axis=0, dtype=np.float64))
    return share


@dataclass(frozen=True)
class DARA:
    """``w_k = a_k min(max_weight, sqrt(max_l pi_l / pi_k))``, ``a`` the preference, ``pi_k`` the density of k.

    DARA (formula of its public implementation for GDPO; no paper was at hand). After the group z-score every objective
    has unit spread in the groups where it varies and none elsewhere, so over the batch its size is the root of its
    density; the weight makes these sizes equal. An objective of density 0 has no advantage to amplify, and the formula
    no value: its weight is the preference. The maximum is over objectives of non-zero preference.

    A rare success and a rare failure look alike: what is nearly solved is amplified just as what has hardly begun.

    Args:
        max_weight: Largest factor, 1 or more.
        asymmetric: Amplify only responses above their group mean, weights (N, K). At advantage level alone: at reward
            level a factor that depends on the response would reorder the rewards themselves.

    Raises:
        ValueError: If ``max_weight`` is below 1 or not finite; from the call, if ``asymmetric`` at reward level.

    >>> rewards, ones = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0, 1, 1]), 0 * ones, ones, preference=ones, level="advantage", step=0)
    >>> DARA()(signals, {})[0].weights.round(3)
    array([1.   , 1.414])
    """

    max_weight: float = 5.0
    asymmetric: bool = False
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.max_weight) and self.max_weight >= 1):
            raise ValueError(f"DARA(max_weight=) must be finite and at least 1, got {self.max_weight!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,), or (N, K) where ``asymmetric``; the state as it was."""
        if self.asymmetric and signals.level == "reward":
            raise ValueError("DARA(asymmetric=True) weighs advantages (GDPO), not rewards; got level='reward'")
        pi = density(signals.rewards, signals.group)
        largest = np.asarray(np.max(pi, where=signals.preference > 0, initial=0.0))
        factor = np.where(pi > 0, np.clip(np.sqrt(quotient(largest, pi)), None, self.max_weight), 1.0)
        if self.asymmetric:
            factor = np.where(np.nan_to_num(group_zscore(signals.rewards, signals.group)) > 0, factor, 1.0)
        return Weighting(signals.preference * factor), state
