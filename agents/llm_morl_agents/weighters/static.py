"""`Static`: weights that the user fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import Objectives, Signals, State, Weighting, frozen_array


@dataclass(frozen=True)
class Static:
    """The same weights at every step; equal weights of 1 by default.

    Under GRPO and GDPO only the ratios of the weights matter; under RLOO, REINFORCE and Dr.GRPO a common factor acts
    as a multiplier of the learning rate. The preference of the signals multiplies.

    Args:
        weights: K finite, non-negative numbers, not all 0; None stands for ones.

    Raises:
        ValueError: If a weight is negative or not finite, or all are 0; from ``init`` and the call, if there are not K.

    >>> objectives = Objectives(["format", "brevity"], [0, 0], [1, 1])
    >>> Static([2, 1]).init(objectives)
    {}
    """

    weights: Sequence[float] | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        weights = frozen_array("Static(weights=)", self.weights, (None,))
        if (weights < 0).any() or not weights.any():
            raise ValueError(f"Static(weights=) must be non-negative and not all 0, got {weights.tolist()}")
        object.__setattr__(self, "weights", tuple(weights.tolist()))  # a tuple, so that equal weighters compare equal

    def _of_length(self, k: int) -> NDArray[np.float64]:
        if self.weights is None:
            return np.ones(k)
        if len(self.weights) != k:
            raise ValueError(f"Static(weights=) must have {k} entries, one for each objective, got {self.weights}")
        return np.array(self.weights)

    def init(self, objectives: Objectives) -> State:
        """Empty; checks the number of weights."""
        self._of_length(len(objectives))
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The weights (K,) times the preference; the state as it was."""
        return Weighting(self._of_length(signals.rewards.shape[1]) * signals.preference), state
