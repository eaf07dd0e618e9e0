"""`ENCORE`: objectives whose values are spread over many ratings count less (arXiv 2503.20995)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT
from .base import Objectives, Signals, State, Weighting
from .bounds import check_bounds, unit_interval
from .selection import present_objectives, shares_among


def rating_entropy(ratings: NDArray[np.int64] | NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``-sum_x p_k(x) log p_k(x)`` in nats of the values x of each column, (K,); 0 for a column without values.

    Args:
        ratings: (N, K), compared for equality.
        valid: bool (N, K), which entries count.

    >>> rating_entropy(np.array([[0, 1], [1, 1], [0, 1], [1, 1]]), np.ones((4, 2), dtype=bool)).round(3)
    array([0.693, 0.   ])
    """
    entropies = np.zeros(ratings.shape[1])
    for k in range(ratings.shape[1]):
        _, counts = np.unique(ratings[valid[:, k], k], return_counts=True)
        p = counts / max(counts.sum(), 1)
        entropies[k] = np.sum(p * np.log(1 / p))
    return entropies


@dataclass(frozen=True)
class ENCORE:
    """``w_k = a_k exp(-H_k / tau) / sum_l exp(-H_l / tau)``, times K at advantage level; ``a`` the preference.

    ENCORE (arXiv 2503.20995): ``H_k`` is the entropy of the rating distribution of objective k, as rules with widely
    spread ratings were found to agree less with human preference. The paper takes the entropy once, over the ratings of
    a data set for a reward model, and weighs rewards; here it is taken anew from each batch of the policy.

    The entropy of a reward that training moves also falls when the reward is solved, or hopeless: a constant
    objective has entropy 0 and the largest weight, the opposite of `SAW`. Meant for judge or rubric scores of which
    some are noise; an exact, informative reward of many levels is penalised just the same.

    Args:
        tau: Temperature, 2 in the paper.
        bins: Equal bins between the declared bounds; a rating scale of up to that many equidistant levels keeps its
            levels apart. None takes each distinct value as a rating, and needs no bounds: for rewards with few values.

    Raises:
        ValueError: If ``tau`` is not positive or ``bins`` below 2; with ``bins``, from ``init`` and the call, if a
            bound is not declared, and from the call, if a reward lies outside its bounds.

    >>> rewards, ones = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.zeros(4, int), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> ENCORE()(signals, {})[0].weights.round(3)
    array([0.414, 0.586])
    """

    tau: float = 2.0
    bins: int | None = 10
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"ENCORE(tau=) must be positive and finite, got {self.tau!r}")
        if self.bins is not None and not (isinstance(self.bins, int) and self.bins >= 2):
            raise ValueError(f"ENCORE(bins=) must be an int of at least 2, or None, got {self.bins!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        if self.bins is not None:
            check_bounds("ENCORE(bins=)", objectives.low, objectives.high)
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,), summing to 1 at reward level and to K at advantage level where preferences are 1.

        An objective that is missing from the batch gets the mean weight.
        """
        valid = ~np.isnan(signals.rewards)
        ratings = signals.rewards
        if self.bins is not None:
            unit = unit_interval("ENCORE(bins=)", signals.rewards, signals.low, signals.high)
            # The slack puts a value that stands on an edge up to rounding into one bin, always the upper one.
            ratings = np.minimum(np.floor(self.bins * unit + FLAT), self.bins - 1)
        weights = np.exp(-rating_entropy(ratings, valid) / self.tau)
        factor = len(weights) if signals.level == "advantage" else 1
        share = shares_among(weights, present_objectives(signals.rewards))
        return Weighting(factor * share * signals.preference), state
