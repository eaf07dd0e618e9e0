"""`Smoothed`: an exponential moving average of another weighter's weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .base import Signals, State, Weighting
from .selection import present_objectives
from .wrapping import Wrapper


@dataclass(frozen=True)
class Smoothed(Wrapper):
    """``w_t = decay w_{t-1} + (1 - decay) inner_t``; the first step starts it.

    Weights from one batch are noisy: a rare reward moves a coefficient of variation by much. The price is delay, about
    ``1 / (1 - decay)`` steps. The average is linear, so the preference still multiplies, and a sum that every step
    shares is kept. A step on which the inner weighter falls back (`SAW` to ones, whatever the level) is averaged like
    any other; ``SAW(ema=)`` smooths shares and leaves such steps out. An objective that is missing from the batch keeps
    its running weight. Scale and combiner are not smoothed.

    Args:
        inner: A weighter that gives one weight for each objective, (K,).
        decay: Share of the previous weights, in [0, 1).

    Raises:
        ValueError: If ``decay`` is out of range; from the call, if the inner weights are per group or per response.

    >>> from .static import Static
    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=1)
    >>> weighting, state = Smoothed(Static([2, 0]), decay=0.5)(signals, {"weights": [1.0, 1.0]})
    >>> weighting.weights
    array([1.5, 0.5])
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay < 1:
            raise ValueError(f"Smoothed(decay=) must lie in [0, 1), got {self.decay!r}")

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The running weights (K,); the state holds them as ``weights``, and the inner state."""
        weighting, after = self._decide(signals, state)
        weights = weighting.weights
        if weights.ndim != 1:
            raise ValueError(
                f"Smoothed(inner={type(self.inner).__name__}) needs one weight for each objective, got weights of "
                f"shape {weights.shape}; groups and responses change from step to step, so smooth a weighter "
                f"of (K,), such as SAW"
            )
        if "weights" in state:
            before = np.asarray(state["weights"], dtype=np.float64)
            mixed = self.decay * before + (1 - self.decay) * weights
            weights = np.where(present_objectives(signals.rewards), mixed, before)
        return replace(weighting, weights=weights), {**after, "weights": weights}
