"""`RVPO`: a soft minimum over objectives that sharpens during training (arXiv 2605.05750)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import quotient
from .base import Objectives, Signals, State, Weighting
from .selection import where_present

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SoftMinimum:
    """Combiner ``-(1/kappa) log sum_k p_k exp(-kappa v_k)`` with ``p_k = w_k / sum_l w_l``.

    Equal weights give RVPO's ``-(1/kappa) log mean_k exp(-kappa z_k)`` (arXiv 2605.05750). At ``kappa = 0`` it is the
    weighted mean, at infinity the worst objective of non-zero weight; in between it falls with kappa. Weights are
    shares of a mean: a common factor does nothing, weight 0 leaves an objective out, and a response without any weight
    gets 0. The exponents are taken relative to the worst value, so no kappa overflows.

    Args:
        kappa: Sharpness, at least 0, infinity allowed; in inverse units of the values.

    Raises:
        ValueError: If ``kappa`` is negative or NaN.

    >>> values, weights = np.array([[0.0, 2.0]]), np.ones((1, 2))
    >>> [SoftMinimum(kappa)(values, weights).round(3).item() for kappa in (0, 2, np.inf)]
    [1.0, 0.337, 0.0]
    """

    kappa: float

    def __post_init__(self) -> None:
        if not self.kappa >= 0:
            raise ValueError(f"SoftMinimum(kappa=) must be non-negative, got {self.kappa!r}")

    def __call__(self, values: Floats, weights: Floats) -> Floats:
        """Scores (N,) of values (N, K) under non-negative weights (N, K)."""
        share = quotient(weights, weights.sum(axis=1, keepdims=True))
        counts = share > 0
        worst = np.where(counts.any(axis=1), np.min(values, axis=1, where=counts, initial=np.inf), 0.0)
        excess = np.where(counts, values - worst[:, None], 0.0)
        if self.kappa == 0:
            return np.asarray(worst + np.sum(share * excess, axis=1))
        if np.isinf(self.kappa):
            return worst
        # Two forms of log sum p exp(-kappa excess): the first is exact near 0 (small kappa), the second far from it.
        mass = np.sum(share * np.expm1(-self.kappa * excess), axis=1)
        total = np.where(counts.any(axis=1), np.sum(share * np.exp(-self.kappa * excess), axis=1), 1.0)
        logarithm = np.where(mass > -0.5, np.log1p(np.maximum(mass, -0.5)), np.log(total))
        return np.asarray(worst - logarithm / self.kappa)


@dataclass(frozen=True)
class RVPO:
    """The `SoftMinimum` over objectives, its ``kappa`` annealed linearly over the first ``steps`` steps.

    RVPO (arXiv 2605.05750): z-scores of each objective are combined by a soft minimum, then whitened over the batch;
    kappa goes from 0.5 (nearly the mean, GDPO) to 2 (leaning to the worst objective of each response). So it is meant
    for GDPO. Two things are ours: the shape of the annealing, of which the source here tells the ends alone, and the
    preference, which enters as the share of each objective in the mean; the paper's is equal. Missing rewards are left
    out of the minimum.

    It misleads without whitening: the scores of a group are not centred, since a minimum lies below the mean. An
    objective that is flat in a group has z-score 0 there, and caps the soft minimum near 0 as if it were average. At
    reward level the values are raw rewards: put them on one scale first, kappa is in its inverse units.

    Args:
        kappa_start: At step 0, at least 0.
        kappa_end: From step ``steps`` on, at least 0.
        steps: Length of the annealing, at least 1.

    Raises:
        ValueError: If an option is out of range.

    >>> [RVPO(steps=100).kappa(step) for step in (0, 50, 1000)]
    [0.5, 1.25, 2.0]
    """

    kappa_start: float = 0.5
    kappa_end: float = 2.0
    steps: int = 100
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("kappa_start", "kappa_end"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"RVPO({name}=) must be non-negative and finite, got {value!r}")
        if not self.steps >= 1:
            raise ValueError(f"RVPO(steps=) must be at least 1, got {self.steps!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty: the clock is the step of the signals."""
        return {}

    def kappa(self, step: int) -> float:
        """Sharpness at a step."""
        done = min(step / self.steps, 1.0)
        return (1 - done) * self.kappa_start + done * self.kappa_end

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The preference (K,), (N, K) where rewards are missing, with the combiner; the state as it was."""
        weights = where_present(signals.preference, signals)
        return Weighting(weights, combiner=SoftMinimum(self.kappa(signals.step))), state
