"""`DVAOWeights`: per-group weights proportional to the standard deviation (arXiv 2605.25604)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import flat_groups, moments, quotient, rows_of
from .base import Objectives, Signals, State, Weighting


@dataclass(frozen=True)
class DVAOWeights:
    """``w_pk = a_k sd_pk / sum_l a_l sd_pl`` for group p, ``a`` the preference: DVAO (arXiv 2605.25604, section 2).

    Directly proportional to the population std, recomputed for each group. At advantage level over group z-scores and
    without whitening this is the paper's method, in which every advantage is bounded by that of GRPO on the weighted
    sum. Whitening the batch afterwards undoes that shrinkage; ``shrinks_groups`` tells an agent to ask first.

    The weights are not invariant to the scale of one objective, so rewards should share a scale.

    Args:
        unit_interval: Divide each std by the declared width of its objective, which equals putting the rewards
            on [0, 1] first, as the paper assumes them. Off by default: the formula on the rewards as they are.

    Raises:
        ValueError: From ``init`` and the call, if ``unit_interval`` and a bound is not declared.

    >>> rewards, ones = np.array([[0.0, 0.0], [1.0, 3.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, 3 * ones, preference=ones, level="advantage", step=0)
    >>> DVAOWeights()(signals, {})[0].weights
    array([[0.25, 0.75]])
    """

    unit_interval: bool = False
    needs: ClassVar[frozenset[str]] = frozenset()
    #: Under these weights the size of a group's advantages carries meaning, which batch whitening would undo.
    shrinks_groups: ClassVar[bool] = True

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        self._width(objectives.low, objectives.high)
        return {}

    def _width(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.unit_interval:
            return np.ones(len(low))
        if not np.isfinite(high - low).all():
            raise ValueError(f"DVAOWeights(unit_interval=True) needs declared bounds, got low={low}, high={high}")
        return high - low

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (P, K), rows summing to 1, or to 0 where no objective varies in the group; the state as it was."""
        std = moments(signals.rewards, rows_of(signals.group)).std()
        std = np.where(flat_groups(signals.rewards, signals.group), 0.0, std) / self._width(signals.low, signals.high)
        weighted = signals.preference * std
        return Weighting(quotient(weighted, weighted.sum(axis=1, keepdims=True))), state
