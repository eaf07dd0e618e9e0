"""`CorrGRPO`: the size of a group's advantages follows the correlations of its objectives (arXiv 2609.36820)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT, NUMERICS, Numerics, group_max, group_total, group_zscore, moments, quotient, rows_of
from .base import Level, Objectives, Signals, State, Weighting


def correlation_denominator(
    values: NDArray[np.float64], row: NDArray[np.int64], weights: NDArray[np.float64], eps: float = 1e-6
) -> NDArray[np.float64]:
    """``sqrt(sum_kl corr_p(w_k v_k, w_l v_l) + eps)`` of each group, (P,).

    Computed as the length of the sum of the objectives' centred unit vectors, which is the same and never negative. A
    constant objective and one of weight 0 add nothing; of the weights (not negative) nothing else enters. A missing
    value stands at its group's mean.

    Args:
        values: (N, K), NaN where missing.
        row: (N,), group p of each response, 0 to P-1; zeros make the batch one group.
        weights: (K,).
        eps: Added to the sum.

    >>> v = np.array([[1.0, 0.0], [0.0, 0.5], [1.0, 0.5], [0.0, 0.0]])
    >>> correlation_denominator(v, np.zeros(4, int), np.ones(2)).round(3)  # unrelated: sqrt(2)
    array([1.414])
    >>> correlation_denominator(v[:2], np.zeros(2, int), np.ones(2)).round(3)  # opposed
    array([0.001])
    """
    statistics = moments(values, row)
    norm = np.where(_flat(values, row) | (weights == 0), 0.0, np.sqrt(statistics.squares))
    unit = quotient(np.nan_to_num(statistics.centred), norm[row])
    denominator: NDArray[np.float64] = np.sqrt(group_total(unit.sum(axis=1) ** 2, row) + eps)
    return denominator


def _flat(values: NDArray[np.float64], row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`flat_groups` for rows that are not those of `rows_of` (the whole batch as one)."""
    flat: NDArray[np.bool_] = moments(values, row).std() <= FLAT * group_max(np.abs(values), row)
    return flat


def _std(values: NDArray[np.float64], row: NDArray[np.int64], numerics: Numerics, level: Level) -> NDArray[np.float64]:
    """What an estimator of these conventions divides by last, (P,): the std of the group, or of the whitened batch."""
    statistics = moments(values, row)
    if level == "reward":
        return statistics.std(numerics.ddof) + numerics.eps
    variance = statistics.variance(numerics.whiten_ddof)
    if numerics.whiten_eps_in_root:
        return np.sqrt(variance + numerics.whiten_eps)
    return np.sqrt(variance) + numerics.whiten_eps


@dataclass(frozen=True)
class CorrGRPO:
    """Leaves the weights alone and scales each group by ``std_g(S) / sqrt(sum_kl corr_g(w_k r_k, w_l r_l) + eps)``.

    CorrGRPO (arXiv 2609.36820) divides ``S_i - mean_g S``, ``S_i = sum_k w_k r_ik``, by that root in place of the
    group std: where objectives agree the group counts as under GRPO on their mean, where they conflict it counts more.
    Inside a group that is a positive multiple of GRPO, and this weighter gives the multiple as the weighting's
    ``scale``, which acts after everything, so that GRPO (reward level) with it is the method and no whitening undoes
    it. The weights are the preference.

    At advantage level the method's GDPO form: the last std, that of the whole batch, gives way to the same root of the
    batch correlations of the weighted z-scores; the scale is one number and supposes an estimator that whitens. The
    token-weighted mean of the released code is that of ``numerics="verl"`` with lengths; the std stays that of samples.

    The advantages carry the unit of the rewards. For opposed rewards of unequal size the root falls to ``sqrt(eps)``:
    two rewards of correlation -1 give an advantage of 250 for rewards in [0, 1]. ``max_scale`` bounds that.

    Args:
        max_scale: Largest scale, in multiples of the root mean square of the std of the weighted objectives that vary:
            the scale that unrelated objectives have, so that it holds for rewards of any unit. None for the paper's
            formula.
        eps: Under the root.
        numerics: Conventions of the estimator that it stands with, a name in `NUMERICS` or constants of one's own, so
            that its std cancels exactly.

    Raises:
        ValueError: If ``max_scale`` or ``eps`` is not positive, or ``numerics`` unknown.

    >>> rewards, ones = np.array([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, 0.5]]), np.ones(2)
    >>> signals = Signals(rewards, np.zeros(4, int), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> CorrGRPO(max_scale=None)(signals, {})[0].scale.round(3), CorrGRPO()(signals, {})[0].scale.round(3)
    (array([250.]), array([1.186]))
    """

    max_scale: float | None = 3.0
    eps: float = 1e-6
    numerics: str | Numerics = "default"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.max_scale is not None and not (np.isfinite(self.max_scale) and self.max_scale > 0):
            raise ValueError(f"CorrGRPO(max_scale=) must be positive and finite or None, got {self.max_scale!r}")
        if not (np.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"CorrGRPO(eps=) must be positive and finite, got {self.eps!r}")
        if not (isinstance(self.numerics, Numerics) or self.numerics in NUMERICS):
            raise ValueError(
                f"CorrGRPO(numerics=) must be one of {sorted(NUMERICS)} or a Numerics, got {self.numerics!r}"
            )

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The preference, with a scale (P,) or, at advantage level, one number; 0 where no objective varies."""
        numerics = self.numerics if isinstance(self.numerics, Numerics) else NUMERICS[self.numerics]
        weights = signals.preference
        if signals.level == "reward":
            values, row = signals.rewards, rows_of(signals.group)
        else:
            values = group_zscore(signals.rewards, signals.group, numerics=numerics)
            row = np.zeros(len(values), dtype=np.int64)
        present = (~np.isnan(values) & (weights > 0)).any(axis=1)
        total = np.where(present, np.sum(weights * np.nan_to_num(values), axis=1), np.nan)
        scale = _std(total, row, numerics, signals.level) / correlation_denominator(values, row, weights, self.eps)
        spread = np.where(_flat(values, row), 0.0, weights * moments(values, row).std())
        active = np.maximum((spread > 0).sum(axis=1), 1)
        unrelated = np.sqrt(np.sum(spread**2, axis=1) / active)
        scale = np.where(unrelated > 0, scale, 0.0)
        if self.max_scale is not None:
            scale = np.minimum(scale, self.max_scale * unrelated)
        return Weighting(weights, scale if signals.level == "reward" else float(scale.sum())), state
