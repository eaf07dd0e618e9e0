"""`RandomWeights`: weights that know nothing, drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Objectives, Signals, State, Weighting


@dataclass(frozen=True)
class RandomWeights:
    """``K`` times a draw from a symmetric Dirichlet distribution, then the preference: random loss weighting.

    The noise control for a dynamic weighter: weights that move as much and are right no more often than chance. That
    random weights alone rival published weighting methods is the finding of Lin et al., "Reasonable Effectiveness of
    Random Weighting" (TMLR 2022, arXiv 2111.10603); their default is a softmax of normal variables.

    Args:
        concentration: Of the Dirichlet distribution, positive. 1 is uniform on the simplex; large values stay near
            equal weights, small ones pick one objective at a time. The variance of a weight is
            ``(K - 1) / (K concentration + 1)``, by which it can be matched to a dynamic run.
        seed: With the step it keys the generator, so that resuming needs no state. Non-negative.

    Raises:
        ValueError: If an option is out of range.

    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=3)
    >>> bool(np.isclose(RandomWeights()(signals, {})[0].weights.sum(), 2))
    True
    """

    concentration: float = 1.0
    seed: int = 0
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.concentration) and self.concentration > 0):
            raise ValueError(f"RandomWeights(concentration=) must be positive and finite, got {self.concentration!r}")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise ValueError(f"RandomWeights(seed=) must be a non-negative int, got {self.seed!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,) that sum to K before the preference; the state as it was."""
        k = signals.rewards.shape[1]
        draw = np.random.default_rng([self.seed, signals.step]).dirichlet(np.full(k, self.concentration))
        return Weighting(k * draw * signals.preference), state
