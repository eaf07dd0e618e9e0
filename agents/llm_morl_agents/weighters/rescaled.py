"""`Rescaled`: the same total weight at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .base import Signals, State, Weighting
from .wrapping import Wrapper


@dataclass(frozen=True)
class Rescaled(Wrapper):
    """Each step's weights times one number, so that a response's weights sum to ``total`` on average.

    GRPO and GDPO normalise a common factor away; RLOO, REINFORCE and Dr.GRPO keep it as a multiplier of the learning
    rate. Without this, comparing weighters under those mixes the direction of a step with its size. Only the step as a
    whole is rescaled: what a weighter says of groups and responses relative to each other stays. The inner scale is
    not counted.

    Args:
        inner: Any weighter.
        total: The sum, positive; None for K, that of `Static`. A preference changes ratios alone.

    Raises:
        ValueError: If ``total`` is not positive and finite.

    >>> from .static import Static
    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> Rescaled(Static([6, 2]))(signals, {})[0].weights
    array([1.5, 0.5])
    """

    total: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.total is not None and not (np.isfinite(self.total) and self.total > 0):
            raise ValueError(f"Rescaled(total=) must be positive and finite or None, got {self.total!r}")

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights of the inner shape, unchanged where they sum to nothing; the state is the inner one.

        Responses without any reward are left out of the average.
        """
        weighting, after = self._decide(signals, state)
        k = signals.rewards.shape[1]
        present = ~np.isnan(signals.rewards).all(axis=1)
        sums = weighting.rows(signals.group, k)[0][present].sum(axis=1)
        mean = sums.mean() if len(sums) else 0.0
        if not mean > 0:
            return weighting, after
        return replace(weighting, weights=weighting.weights * ((self.total or k) / mean)), after
