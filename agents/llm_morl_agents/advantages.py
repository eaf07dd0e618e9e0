"""Advantage estimators: rewards (N, K), group (N,) and a `Weighting` in, one advantage for each response (N,) out.

Two compositions over the same scalar bases. `combine_rewards` weighs and sums the objectives, then normalises (GRPO,
RLOO, REINFORCE, Dr.GRPO, REINFORCE++). `combine_advantages` normalises each objective, then weighs and sums, and may
whiten the batch (GDPO, DVAO). `METHODS` names the published ones.

Shapes: N responses, P groups, K objectives. All float64, on the gathered batch.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .bases import (
    DEFAULT,
    NUMERICS,
    Base,
    Bools,
    Floats,
    Ints,
    Numerics,
    batch_centred,
    batch_whitened,
    flat_groups,
    group_max,
    group_total,
    group_zscore,
    leave_one_out,
    mean_centred,
    raw,
    rows_of,
)
from .weighters.base import Combiner, Level, Signals, Weighter, Weighting, frozen_array, frozen_group
from .weighters.corr_grpo import CorrGRPO
from .weighters.dara import DARA
from .weighters.dvao import DVAOWeights
from .weighters.gd2po import GD2PO
from .weighters.sa_mrpo import SAMRPO
from .weighters.saw import SAW
from .weighters.static import Static

__all__ = [
    "METHODS",
    "NUMERICS",
    "Estimator",
    "LoneGroupWarning",
    "Method",
    "Numerics",
    "batch_centred",
    "batch_whitened",
    "combine_advantages",
    "combine_rewards",
    "compute_advantages",
    "flat_groups",
    "group_zscore",
    "leave_one_out",
    "linear",
    "mean_centred",
    "participants",
    "raw",
]

#: What to do with NaN rewards: refuse them, or leave them out of the statistics and count them 0 in the sum.
NaNPolicy = Literal["raise", "ignore"]


class LoneGroupWarning(UserWarning):
    """A group has one member, so it has no baseline. Given once in a process."""


@functools.cache
def _warn_lone_group() -> None:
    warnings.warn(
        "a group has only one response: its advantage is 0 (numerics='default' and 'trl'), or the raw score (rloo, and "
        "numerics='verl'); use group_size >= 2 for methods with a group baseline",
        LoneGroupWarning,
        stacklevel=4,
    )


def linear(values: Floats, weights: Floats) -> Floats:
    """``sum_k w_ik v_ik``, (N,): the default combiner."""
    total: Floats = np.sum(weights * values, axis=1)
    return total


@dataclass(frozen=True)
class Estimator:
    """``(rewards (N, K), group (N,), weighting) -> (N,)``; made by `combine_rewards` and `combine_advantages`.

    ``level`` tells a weighter where its weights act; ``whiten`` tells whether the batch is whitened at the end. A
    weighting's own combiner comes before ``combiner``.
    """

    base: Base
    level: Level
    whiten: bool = False
    combiner: Combiner = linear
    numerics: Numerics = DEFAULT
    nan: NaNPolicy = "raise"

    def __post_init__(self) -> None:
        if self.nan not in get_args(NaNPolicy):
            raise ValueError(f"nan must be one of {get_args(NaNPolicy)}, got {self.nan!r}")

    @property
    def lone_stays_raw(self) -> bool:
        """Whether a group of one keeps its raw score."""
        return (self.base.lone or self.numerics.lone) == "raw"

    def __call__(
        self, rewards: ArrayLike, group: ArrayLike, weighting: Weighting, *, lengths: ArrayLike | None = None
    ) -> Floats:
        """One advantage for each response.

        Args:
            rewards: (N, K), finite, or NaN where an objective does not apply (``nan="ignore"``).
            group: int64 (N,), ragged and interleaved at will.
            weighting: Weights (K,), (P, K) or (N, K), with its scale.
            lengths: (N,) tokens of each response; read only where ``numerics`` whitens tokens (verl).

        Returns:
            float64 (N,), finite. A response without a reward of non-zero weight takes no part and gets 0.

        Raises:
            ValueError: If shapes disagree, a reward is infinite, or is NaN under ``nan="raise"``.
        """
        rewards = frozen_array("rewards", rewards, (None, None), nan=True)
        group = frozen_group(group, len(rewards))
        if self.nan == "raise" and np.isnan(rewards).any():
            row, objective = np.argwhere(np.isnan(rewards))[0]
            raise ValueError(f"rewards: NaN at row {row}, objective {objective}; nan='ignore' leaves such entries out")
        if lengths is not None:
            lengths = frozen_array("lengths", lengths, (len(rewards),))
            if (lengths < 0).any():
                raise ValueError(f"lengths must be non-negative, got {lengths.min()}")
        weights, scale = weighting.rows(group, rewards.shape[1])
        present, used = participants(rewards, group, weighting)
        compose = _combine_rewards if self.level == "reward" else _combine_advantages
        estimator = self if weighting.combiner is None else replace(self, combiner=weighting.combiner)
        advantages, flat = compose(estimator, rewards, group, weights, present, used, lengths)
        if self.base.scope == "group":
            advantages = self._silence(advantages, flat, rows_of(group), present)
        return np.nan_to_num(advantages) * scale

    def _silence(self, advantages: Floats, flat: Bools, row: Ints, present: Bools) -> Floats:
        """Exact zeros for flat groups, also after whitening; under parity only where every group is flat."""
        if (np.bincount(row) == 1).any():
            _warn_lone_group()
        sizes = group_total(present.astype(np.float64), row)  # those that take no part are as if absent
        if self.numerics.guard_each_group:
            silent = flat & ((sizes > 1) | np.full(len(sizes), not self.lone_stays_raw))
        else:
            silent = np.full(len(sizes), flat.all() and (sizes > 1).all())
        return np.where(silent[row], 0.0, advantages)


def participants(rewards: Floats, group: Ints, weighting: Weighting) -> tuple[Bools, Bools]:
    """Which responses take part in the statistics (N,), and which objectives count in each group (P, K).

    A response with no valid reward of non-zero weight is out (a missing or a masked one). A group without any weight is
    merely flat and stays, unless the weights were given for each response (N, K): then all of it is masked.
    """
    weights, _ = weighting.rows(group, rewards.shape[1])
    row = rows_of(group)
    valid = ~np.isnan(rewards)
    counts = valid & (weights != 0)
    used: Bools = np.greater(group_max(counts.astype(np.float64), row), 0.0)
    masks = weighting.weights.ndim == 2 and len(weighting.weights) != len(used)
    weightless = ~np.any(used, axis=1, keepdims=True)[row, 0] & (not masks)
    return counts.any(axis=1) | (valid.any(axis=1) & weightless), used


def _combined(combiner: Combiner, values: Floats, weights: Floats, present: Bools) -> tuple[Floats, Floats, Floats]:
    """Scores (N,), NaN where absent; the terms |w v| (N, K); the whitening guard's magnitude (1,)."""
    values = np.nan_to_num(values)
    scores = combiner(values, weights)
    terms = np.abs(weights * values)
    largest = np.maximum(terms.sum(axis=1), np.abs(scores)).max(initial=0.0)  # |score| matters for other combiners only
    return np.where(present, scores, np.nan), terms, np.array([largest])


def _combine_rewards(
    estimator: Estimator,
    rewards: Floats,
    group: Ints,
    weights: Floats,
    present: Bools,
    used: Bools,
    lengths: Floats | None,
) -> tuple[Floats, Bools]:
    row = rows_of(group)
    scores, terms, batch_magnitude = _combined(estimator.combiner, rewards, weights, present)
    group_magnitude = np.maximum(group_max(terms, row).sum(axis=1), group_max(np.abs(scores), row))
    magnitude = group_magnitude if estimator.base.scope == "group" else batch_magnitude
    numerics = estimator.numerics
    advantages = estimator.base(scores, group, numerics=numerics, magnitude=magnitude, lengths=lengths)
    if estimator.whiten:
        advantages = batch_whitened(advantages, group, numerics=numerics, magnitude=batch_magnitude, lengths=lengths)
    return advantages, flat_groups(scores, group, magnitude=group_magnitude)


def _combine_advantages(
    estimator: Estimator,
    rewards: Floats,
    group: Ints,
    weights: Floats,
    present: Bools,
    used: Bools,
    lengths: Floats | None,
) -> tuple[Floats, Bools]:
    numerics = estimator.numerics
    values = estimator.base(rewards, group, numerics=numerics, lengths=lengths)
    advantages, _, magnitude = _combined(estimator.combiner, values, weights, present)
    if estimator.whiten:
        advantages = batch_whitened(advantages, group, numerics=numerics, magnitude=magnitude, lengths=lengths)
    flat: Bools = np.all(flat_groups(rewards, group) | ~used, axis=1)
    return advantages, flat


def _numerics(numerics: str | Numerics) -> Numerics:
    if isinstance(numerics, Numerics):
        return numerics
    if numerics not in NUMERICS:
        raise ValueError(f"numerics must be one of {sorted(NUMERICS)} or a Numerics, got {numerics!r}")
    return NUMERICS[numerics]


def combine_rewards(
    base: Base,
    *,
    whiten: bool = False,
    combiner: Combiner = linear,
    numerics: str | Numerics = "default",
    nan: NaNPolicy = "raise",
) -> Estimator:
    """Estimator that weighs and sums the objectives, then normalises the sum.

    Args:
        base: Normalises the sum, for example `group_zscore`.
        whiten: Whether to whiten the batch afterwards (REINFORCE++-baseline).
        combiner: ``(values (N, K), weights (N, K)) -> (N,)``, in place of the weighted sum.
        numerics: A name in `NUMERICS`, or constants of one's own.
        nan: ``"raise"`` or ``"ignore"``.

    >>> estimator = combine_rewards(group_zscore)
    >>> estimator([[0.0, 0.0], [1.0, 3.0]], [0, 0], Weighting(np.ones(2)))
    array([-1.,  1.])
    """
    return Estimator(base, "reward", whiten, combiner, _numerics(numerics), nan)


def combine_advantages(
    base: Base,
    *,
    whiten: bool = False,
    combiner: Combiner = linear,
    numerics: str | Numerics = "default",
    nan: NaNPolicy = "raise",
) -> Estimator:
    """Estimator that normalises each objective, then weighs and sums; arguments as in `combine_rewards`.

    GDPO (arXiv 2601.05242, section 3) is ``combine_advantages(group_zscore, whiten=True)``.

    >>> estimator = combine_advantages(group_zscore)
    >>> estimator([[0.0, 0.0], [1.0, 3.0]], [0, 0], Weighting(np.ones(2)))
    array([-2.,  2.])
    """
    return Estimator(base, "advantage", whiten, combiner, _numerics(numerics), nan)


@dataclass(frozen=True)
class Method:
    """A published method: an estimator's parts and the weighter that belongs to it."""

    level: Level
    base: Base
    whiten: bool = False
    weighter: Weighter = field(default_factory=Static)


#: Every method of `compute_advantages`. Read-only.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "grpo": Method("reward", group_zscore),
        "dr_grpo": Method("reward", mean_centred),
        "rloo": Method("reward", leave_one_out),
        "reinforce": Method("reward", raw),
        "reinforce-baseline": Method("reward", batch_centred),
        "reinforce++": Method("reward", batch_whitened),
        "reinforce++-baseline": Method("reward", mean_centred, whiten=True),
        "gdpo": Method("advantage", group_zscore, whiten=True),
        "rc": Method("reward", group_zscore),  # DVAO's name for GRPO on the weighted sum
        "ac": Method("advantage", group_zscore),  # DVAO's name for GDPO without whitening
        "mo_grpo": Method("advantage", group_zscore),  # MO-GRPO (arXiv 2509.22047): the same composition
        "dvao": Method("advantage", group_zscore, weighter=DVAOWeights()),
        "saw-grpo": Method("reward", group_zscore, weighter=SAW()),
        "saw-gdpo": Method("advantage", group_zscore, whiten=True, weighter=SAW()),
        "sa_mrpo": Method("advantage", group_zscore, whiten=True, weighter=SAMRPO()),
        "gd2po": Method("advantage", group_zscore, whiten=True, weighter=GD2PO()),
        "gd2po-snr": Method("advantage", group_zscore, whiten=True, weighter=GD2PO(mode="snr")),
        "dara": Method("advantage", group_zscore, whiten=True, weighter=DARA()),
        "dara-asymmetric": Method("advantage", group_zscore, whiten=True, weighter=DARA(asymmetric=True)),
        "corr_grpo": Method("reward", group_zscore, weighter=CorrGRPO()),  # guarded; the paper has max_scale=None
        "corr_gdpo": Method("advantage", group_zscore, whiten=True, weighter=CorrGRPO()),
    }
)


def compute_advantages(
    rewards: ArrayLike,
    group: ArrayLike,
    *,
    method: str,
    weights: ArrayLike | None = None,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    numerics: str | Numerics = "default",
    nan: NaNPolicy = "raise",
) -> Floats:
    """Advantages of a published method for one batch, without memory.

    Args:
        rewards: (N, K).
        group: int64 (N,), the prompt of each response; groups may be ragged and interleaved.
        method: A name in `METHODS`.
        weights: (K,) non-negative; ones by default. The preference of the dynamic methods: multiplies SAW's
            weights, and stands on both sides of DVAO's fraction.
        low: Declared lower bounds (K,); needed by ``saw-*`` and ``sa_mrpo``.
        high: Declared upper bounds (K,); needed by ``sa_mrpo``.
        lengths: (N,) tokens of each response; act under ``numerics="verl"`` only, which whitens tokens, and
            samples without them.
        numerics: ``"default"``: population std, no epsilon, flat groups exactly 0. ``"verl"``, ``"trl"``: parity with
            those code bases, residue included, except that a batch of flat groups larger than one gives 0.
        nan: ``"raise"``, or ``"ignore"``: left out of the statistics, 0 in the sum.

    Returns:
        float64 (N,). A group of one gives 0, with a `LoneGroupWarning` once, except under ``rloo`` (raw score),
        ``numerics="verl"`` (mean 0, std 1) and the methods that ignore groups.

    Raises:
        ValueError: If the method or numerics is unknown, shapes disagree, a value is not finite, or ``saw-*`` or
            ``sa_mrpo`` lacks a bound.

    >>> compute_advantages([[0, 2], [1, 2], [4, 4], [4, 2]], [0, 0, 1, 1], method="gdpo")
    array([-1.,  1.,  1., -1.])
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")
    recipe = METHODS[method]
    rewards = frozen_array("rewards", rewards, (None, None), nan=True)
    k = rewards.shape[1]
    signals = Signals(
        rewards=rewards,
        group=frozen_group(group, len(rewards)),
        low=np.full(k, -np.inf) if low is None else frozen_array("low", low, (k,), inf=True),
        high=np.full(k, np.inf) if high is None else frozen_array("high", high, (k,), inf=True),
        preference=np.ones(k) if weights is None else frozen_array("weights", weights, (k,)),
        level=recipe.level,
        step=0,
    )
    weighter = recipe.weighter
    if isinstance(weighter, CorrGRPO):
        weighter = replace(weighter, numerics=_numerics(numerics))  # its scale takes back the estimator's last std
    weighting, _ = weighter(signals, {})
    estimator = Estimator(recipe.base, recipe.level, recipe.whiten, linear, _numerics(numerics), nan)
    return estimator(rewards, signals.group, weighting, lengths=lengths)
