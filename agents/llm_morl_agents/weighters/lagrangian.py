"""`Lagrangian`: objectives with a threshold weigh as much as they must to reach it (dual ascent)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import moments
from .base import Objectives, Signals, State, Weighting
from .selection import index_of

Floats = NDArray[np.float64]

#: One level for each objective, None where it is unconstrained; or levels by name or index.
Thresholds = Sequence[float | None] | Sequence[tuple[int | str, float]] | Mapping[int | str, float]


def dual_ascent(
    multipliers: Floats, thresholds: Floats, mean: Floats, *, learning_rate: float, maximum: float | None = None
) -> Floats:
    """``min(maximum, max(0, lambda_k + learning_rate (d_k - mean_k)))``, (K,).

    Args:
        multipliers: (K,) non-negative.
        thresholds: (K,) levels d.
        mean: (K,) mean rewards; NaN leaves the multiplier as it is.
        learning_rate: Positive.
        maximum: Upper end; None for none.

    >>> dual_ascent(np.array([0.0, 0.2]), np.array([0.9, 0.9]), np.array([0.75, 0.95]), learning_rate=0.01)
    array([0.0015, 0.1995])
    """
    moved = np.clip(multipliers + learning_rate * (thresholds - mean), 0.0, maximum)
    return np.where(np.isnan(moved), multipliers, moved)


@dataclass(frozen=True)
class Lagrangian:
    """Maximise the main objectives subject to ``mean r_k >= d_k`` for the others, by dual ascent on multipliers::

        r = sum_main r_k + sum_k lambda_k (r_k - d_k),   lambda_k <- max(0, lambda_k + learning_rate (d_k - mean r_k))

    The Lagrangian relaxation of a constrained problem (Altman 1999), as in RCPO (arXiv 1805.11074) and Safe RLHF
    (arXiv 2310.12773). The mean is that of the batch, and the multipliers are moved before
    they are used. Main objectives weigh 1, constrained ones lambda_k, and the preference multiplies both; the constant
    ``-lambda_k d_k`` moves no advantage with a baseline and is left out. At advantage level the multipliers weigh
    z-scores, as in Constrained GRPO (arXiv 2602.05863).

    Under GRPO and GDPO only ratios of weights count: a growing multiplier takes the main objectives' share, and at
    both levels the multiplier is no longer the exchange rate of duality. Multipliers come and go in waves when the
    learning rate is high against the speed of the policy. A constraint that cannot be met drives its multiplier up for
    ever, hence ``maximum``. A constrained objective with multiplier 0 is not trained at all.

    Args:
        thresholds: A sequence of K levels in the units of the rewards with None for the main objectives; or a mapping,
            or pairs, from name or index to level. None makes the first objective the main one and constrains each
            other at half-way between its bounds, which is a demonstration rather than a problem anybody has.
        learning_rate: Of the multipliers, positive, in inverse units of the reward.
        initial: Multiplier at the start, at least 0.
        maximum: Largest multiplier, positive; None for no limit.

    Raises:
        ValueError: If an option is out of range; from ``init``, if an objective is unknown or named twice, a threshold
            lies outside the declared bounds, none is left to maximise, or the default lacks bounds.

    >>> weighter = Lagrangian(thresholds={"brevity": 0.9}, initial=0.2)
    >>> state = weighter.init(Objectives(["correctness", "brevity"], [0, 0], [1, 1]))
    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 0.7]]), np.ones(2)  # brevity is 0.3 below its threshold
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> weighter(signals, state)[0].weights
    array([1.   , 0.203])
    """

    thresholds: Thresholds | None = None
    learning_rate: float = 0.01
    initial: float = 0.0
    maximum: float | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("learning_rate", "maximum"):
            value = getattr(self, name)
            if not (value is None and name == "maximum") and not (np.isfinite(value) and value > 0):
                raise ValueError(f"Lagrangian({name}=) must be positive and finite, got {value!r}")
        if not (np.isfinite(self.initial) and 0 <= self.initial <= (np.inf if self.maximum is None else self.maximum)):
            raise ValueError(f"Lagrangian(initial=) must lie in [0, maximum], got {self.initial!r}")
        if self.thresholds is not None:
            pairs = self.thresholds.items() if isinstance(self.thresholds, Mapping) else self.thresholds
            entries = tuple(tuple(entry) if isinstance(entry, Sequence) else entry for entry in pairs)
            object.__setattr__(self, "thresholds", entries)  # tuples, so that equal weighters compare equal

    def init(self, objectives: Objectives) -> State:
        """``multipliers`` and ``thresholds``, both (K,); the threshold of a main objective is NaN."""
        thresholds = self._levels(objectives)
        multipliers = np.where(np.isnan(thresholds), 0.0, self.initial)
        return {"multipliers": multipliers, "thresholds": thresholds}

    def _levels(self, objectives: Objectives) -> Floats:
        k, entries = len(objectives), self.thresholds
        if entries is None:
            if not np.isfinite(objectives.high - objectives.low)[1:].all():
                raise ValueError(
                    f"Lagrangian(thresholds=None) needs declared bounds, got low={objectives.low}, "
                    f"high={objectives.high}; give the thresholds"
                )
            return np.append(np.nan, (objectives.low[1:] + objectives.high[1:]) / 2)
        levels = np.full(k, np.nan)
        pairs = [entry for entry in entries if isinstance(entry, tuple)]
        if pairs and len(pairs) == len(entries):
            for objective, level in pairs:
                index = index_of(objective, objectives.names, "Lagrangian(thresholds=)")
                if np.isnan(level):
                    raise ValueError(f"Lagrangian(thresholds=) must be numbers, got {level!r} for {objective!r}")
                if not np.isnan(levels[index]):
                    raise ValueError(f"Lagrangian(thresholds=) has two levels for objective {index}: {entries}")
                levels[index] = level
        elif not pairs and len(entries) == k:
            levels = np.array([np.nan if entry is None else entry for entry in entries], dtype=np.float64)
        else:
            raise ValueError(
                f"Lagrangian(thresholds=) must be {k} levels (None for a main objective), or a mapping, got {entries}"
            )
        outside = (levels < objectives.low) | (levels > objectives.high) | np.isinf(levels)
        if outside.any() or not np.isnan(levels).any():
            raise ValueError(
                f"Lagrangian(thresholds=) must lie in the bounds {objectives.low} to {objectives.high} and leave an "
                f"objective to maximise, got {entries}"
            )
        return levels

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,) with the multipliers that this batch's means lead to."""
        if not state:
            names = [str(index) for index in range(len(signals.low))]
            state = self.init(Objectives(names, signals.low, signals.high))
        thresholds = np.asarray(state["thresholds"], dtype=np.float64)
        batch = moments(signals.rewards, np.zeros_like(signals.group))
        mean = np.where(batch.size > 0, batch.mean, np.nan).reshape(-1, len(thresholds))
        multipliers = np.asarray(state["multipliers"], dtype=np.float64)
        for row in mean:  # the only row; none if the batch is empty
            multipliers = dual_ascent(
                multipliers, thresholds, row, learning_rate=self.learning_rate, maximum=self.maximum
            )
        weights = np.where(np.isnan(thresholds), 1.0, multipliers) * signals.preference
        return Weighting(weights), {"multipliers": multipliers, "thresholds": thresholds}
