"""What a report says of each objective in a batch: spread inside the groups, flat groups, part in the advantage.

Shapes: N responses, K objectives. NaN rewards are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .advantages import Estimator, participants
from .bases import (
    Base,
    Bools,
    Floats,
    batch_centred,
    batch_whitened,
    flat_groups,
    group_total,
    group_zscore,
    mean_centred,
    moments,
    quotient,
    rows_of,
)
from .weighters.base import Weighting, frozen_array, frozen_group


def within_group_std(rewards: ArrayLike, group: ArrayLike) -> Floats:
    """Mean of the population std of each objective over the groups that it applies to, (K,); NaN where none."""
    rewards = frozen_array("rewards", rewards, (None, None), nan=True)
    statistics = moments(rewards, rows_of(frozen_group(group, len(rewards))))
    return _mean_over_groups(statistics.std(), statistics.size > 0)


def zero_variance_share(rewards: ArrayLike, group: ArrayLike) -> Floats:
    """Share of flat groups among those that each objective applies to, (K,); groups of one are flat. NaN where none."""
    rewards = frozen_array("rewards", rewards, (None, None), nan=True)
    group = frozen_group(group, len(rewards))
    flat = flat_groups(rewards, group).astype(np.float64)
    return _mean_over_groups(flat, group_total((~np.isnan(rewards)).astype(np.float64), rows_of(group)) > 0)


def _mean_over_groups(values: Floats, there: Bools) -> Floats:
    """Mean of (P, K) over the groups where an objective is there, bool (P, K); an empty batch gives 0."""
    if not len(values):
        return np.zeros(values.shape[1])
    count = there.sum(axis=0)
    mean: Floats = np.sum(np.where(there, values, 0.0), axis=0) / np.where(count, count, np.nan)
    return mean


#: Share of the parts' size below which their sum is rounding. Far below the residue that the parity numerics keep.
ROUNDING = 1e-12

#: What a base does before it divides: linear in the values, so that the objectives' parts add up.
_LINEAR_PART: dict[Base, Base] = {group_zscore: mean_centred, batch_whitened: batch_centred}


def advantage_share(
    rewards: ArrayLike,
    group: ArrayLike,
    weighting: Weighting,
    estimator: Estimator,
    *,
    lengths: ArrayLike | None = None,
) -> Floats:
    """Signed share of each objective in the advantage, (K,).

    With a linear combiner the advantage is a sum ``A_i = sum_k c_ik``, and the share is ``sum_i A_i c_ik`` over
    ``sum_i A_i^2``: the shares sum to 1, and that of an objective which the update works against is negative. All 0
    where there is no advantage. With another combiner the weighted values stand for the parts: an indication,
    no decomposition.

    Args:
        rewards: (N, K).
        group: int64 (N,).
        weighting: As given to the estimator.
        estimator: The estimator that the batch is trained with.
        lengths: (N,) tokens, as given to the estimator.
    """
    rewards = frozen_array("rewards", rewards, (None, None), nan=True)
    group = frozen_group(group, len(rewards))
    row = rows_of(group)
    advantages = estimator(rewards, group, weighting, lengths=lengths)
    weights, _ = weighting.rows(group, rewards.shape[1])
    numerics, base = estimator.numerics, estimator.base
    counts = (
        None if lengths is None or not numerics.whiten_tokens else frozen_array("lengths", lengths, (len(rewards),))
    )
    present, _ = participants(rewards, group, weighting)
    if estimator.level == "reward":
        terms = np.where(present[:, None], weights * np.nan_to_num(rewards), np.nan)
        parts = np.nan_to_num(_LINEAR_PART.get(base, base)(terms, group, numerics=numerics, lengths=counts))
    else:
        parts = weights * np.nan_to_num(base(rewards, group, numerics=numerics, lengths=counts))
    if estimator.whiten:
        parts = np.nan_to_num(moments(np.where(present[:, None], parts, np.nan), np.zeros_like(group), counts).centred)
    # Inside a group A is a positive multiple of the parts' sum, whatever the base divides by; so the parts are scaled
    # to that sum group by group, and the groups count by their share of sum_i A_i^2.
    energy = group_total(advantages**2, row)
    alignment = group_total(advantages * parts.sum(axis=1), row)
    # Parts that cancel up to rounding, such as those of x and 1 - x, leave no advantage to share.
    net, gross = group_total(parts.sum(axis=1) ** 2, row), group_total(np.abs(parts).sum(axis=1) ** 2, row)
    energy = np.where((alignment > 0) & (net > ROUNDING**2 * gross), energy, 0.0)
    shares = quotient(group_total(advantages[:, None] * parts, row), alignment[:, None])
    share: Floats = np.sum(energy[:, None] * shares, axis=0) / (energy.sum() or 1.0)
    return share
