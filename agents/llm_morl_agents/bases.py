"""Scalar advantage bases, the group statistics under them, and the numerical conventions they follow.

Shapes: N responses, P groups, K objectives. Every base takes values of shape (N,) or, column by column, (N, K). NaN
marks a missing value: it is left out of every statistic and stays NaN in the result. Row p of a per-group result
belongs to the p-th value of ``np.unique(group)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: What a base subtracts a statistic of: its group, the whole batch, or nothing.
Scope = Literal["group", "batch", "none"]

#: Values whose std is below this share of their magnitude are equal up to rounding. Relative, so that it holds for
#: rewards of any scale; far above float32 rounding (6e-8), since rewards may come from a float32 environment.
FLAT = 1e-6


@dataclass(frozen=True)
class Numerics:
    """The constants in which code bases differ. The defaults are this package's own.

    Args:
        ddof: Degrees of freedom taken off in the group std (0 population, 1 sample).
        eps: Added to the group std.
        whiten_ddof: The same for the std of the whole batch.
        whiten_eps: Added to the std of the whole batch, or to its variance.
        whiten_eps_in_root: Whether ``whiten_eps`` is added to the variance.
        whiten_tokens: Whether batch statistics count every response by its length, where lengths are given.
        lone: What a group of one gets: ``"zero"``, or ``"raw"`` (mean 0, std 1).
        guard_each_group: Whether each flat group is exactly 0, and a flat batch whitens to 0. Without it rounding
            residue stays, as in the code base imitated, unless all groups are flat and have more than one member.
    """

    ddof: int = 0
    eps: float = 0.0
    whiten_ddof: int = 0
    whiten_eps: float = 0.0
    whiten_eps_in_root: bool = False
    whiten_tokens: bool = False
    lone: Literal["zero", "raw"] = "zero"
    guard_each_group: bool = True


DEFAULT = Numerics()

#: ``verl``: ``compute_gdpo_outcome_advantage`` and ``masked_whiten`` of verl; ``trl``: ``GRPOTrainer`` of TRL.
NUMERICS: Mapping[str, Numerics] = MappingProxyType(
    {
        "default": DEFAULT,
        "verl": Numerics(
            1, 1e-6, 1, 1e-8, whiten_eps_in_root=True, whiten_tokens=True, lone="raw", guard_each_group=False
        ),
        "trl": Numerics(1, 1e-4, 1, 1e-4, guard_each_group=False),
    }
)


def rows_of(group: Ints) -> Ints:
    """The position (N,) of each response's group in ``np.unique(group)``."""
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def group_total(values: Floats, row: Ints) -> Floats:
    """Sums over groups, (P,) or (P, K)."""
    totals = np.zeros((int(row.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(totals, row, values)
    return totals


def group_max(values: Floats, row: Ints) -> Floats:
    """Largest value of each group, at least 0, (P,) or (P, K). Missing values are left out."""
    largest = np.zeros((int(row.max(initial=-1)) + 1, *values.shape[1:]))
    np.maximum.at(largest, row, np.nan_to_num(values))
    return largest


def quotient(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise ``numerator / denominator``, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


class Moments(NamedTuple):
    """Number of values, mean, sum of squares of each group, and the values centred on it.

    ``size``, ``mean`` and ``squares`` are (P,) or (P, K); ``centred`` has the shape of the values, NaN where missing.
    """

    size: Floats
    mean: Floats
    centred: Floats
    squares: Floats

    def variance(self, ddof: int = 0) -> Floats:
        """Variance of each group; 0 where there are no more than ``ddof`` values."""
        return quotient(self.squares, np.maximum(self.size - ddof, 0.0))

    def std(self, ddof: int = 0) -> Floats:
        """Standard deviation of each group."""
        return np.sqrt(self.variance(ddof))


def moments(values: Floats, row: Ints, counts: Floats | None = None) -> Moments:
    """Two-pass statistics of each group, missing values left out.

    Args:
        values: (N,) or (N, K).
        row: (N,) from `rows_of`; zeros make the batch one group.
        counts: (N,) how often each response counts; once where None.
    """
    valid = ~np.isnan(values)
    weight = valid * (1.0 if counts is None else counts.reshape(-1, *[1] * (values.ndim - 1)))
    count = group_total(weight, row)
    mean = quotient(group_total(weight * np.where(valid, values, 0.0), row), count)
    centred = np.where(valid, values - mean[row], 0.0)
    # The second pass takes out the rounding of the mean, which equal values would otherwise keep as a residue.
    residue = quotient(group_total(weight * centred, row), count)
    centred = np.where(valid, centred - residue[row], 0.0)
    squares = group_total(weight * centred**2, row)
    return Moments(count, mean + residue, np.where(valid, centred, np.nan), squares)


def flat_groups(values: Floats, group: Ints, *, magnitude: Floats | None = None) -> Bools:
    """Which groups carry no signal: std at most 1e-6 of the magnitude, a relative test, never ``== 0``.

    Args:
        values: (N,) or (N, K).
        group: int64 (N,).
        magnitude: (P,) or (P, K) scale to compare with; the largest absolute value of the group where None.

    Returns:
        bool (P,) or (P, K). Groups of one are flat.
    """
    row = rows_of(group)
    return _flat(values, row, moments(values, row), magnitude)


def _flat(values: Floats, row: Ints, statistics: Moments, magnitude: Floats | None) -> Bools:
    scale = group_max(np.abs(values), row) if magnitude is None else magnitude
    return statistics.std() <= FLAT * scale


class Base(Protocol):
    """A scalar advantage base: a module-level function (so that it pickles) that carries ``scope`` and ``lone``.

    ``scope`` says which statistic it subtracts; ``lone`` overrides what `Numerics` says of a group of one.
    """

    scope: Scope
    lone: Literal["zero", "raw"] | None

    def __call__(
        self,
        values: Floats,
        group: Ints,
        *,
        numerics: Numerics = DEFAULT,
        magnitude: Floats | None = None,
        lengths: Floats | None = None,
    ) -> Floats:
        """The advantage of each value.

        Args:
            values: (N,) or (N, K), NaN where missing.
            group: int64 (N,).
            numerics: Conventions to follow.
            magnitude: Scale for the flatness test, (P,) or (P, K), one row where the scope is the batch.
            lengths: (N,) tokens of each response, for token-weighted batch statistics.
        """


def base(scope: Scope, *, lone: Literal["zero", "raw"] | None = None) -> Callable[[Callable[..., Floats]], Base]:
    """Declare a function to be a `Base`. The function itself is returned, with two attributes."""

    def declare(function: Callable[..., Floats]) -> Base:
        declared = cast(Any, function)
        declared.scope, declared.lone = scope, lone
        return cast(Base, declared)

    return declare


def _centred(
    values: Floats, row: Ints, lone: str, numerics: Numerics, magnitude: Floats | None, counts: Floats | None = None
) -> tuple[Floats, Moments]:
    """Values minus the mean of their group, lone and flat groups settled; and the statistics they came from."""
    statistics = moments(values, row, counts)
    raw_rows = statistics.size == 1 if lone == "raw" else np.zeros(statistics.size.shape, dtype=bool)
    centred = np.where(raw_rows[row], values, statistics.centred)
    if numerics.guard_each_group:
        flat = _flat(values, row, statistics, magnitude) & ~raw_rows
        centred = np.where(flat[row] & ~np.isnan(values), 0.0, centred)
    return centred, statistics


@base("group")
def group_zscore(
    values: Floats,
    group: Ints,
    *,
    ddof: int | None = None,
    eps: float | None = None,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """``(r - mean_g) / (std_g + eps)``: GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.2).

    ``ddof`` and ``eps`` override those of ``numerics``; the other arguments are those of `Base`.

    >>> group_zscore(np.array([0.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1]))
    array([-1.,  1.,  0.,  0.])
    """
    row = rows_of(group)
    centred, statistics = _centred(values, row, numerics.lone, numerics, magnitude)
    std = statistics.std(numerics.ddof if ddof is None else ddof)
    if numerics.lone == "raw":
        std = np.where(statistics.size == 1, 1.0, std)
    return quotient(centred, (std + (numerics.eps if eps is None else eps))[row])


@base("group")
def mean_centred(
    values: Floats,
    group: Ints,
    *,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """``r - mean_g``: Dr.GRPO (arXiv 2503.20783, section 3.2). See `Base` for arguments.

    >>> mean_centred(np.array([0.0, 1.0]), np.array([7, 7]))
    array([-0.5,  0.5])
    """
    return _centred(values, rows_of(group), numerics.lone, numerics, magnitude)[0]


@base("group", lone="raw")
def leave_one_out(
    values: Floats,
    group: Ints,
    *,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """``r`` minus the mean of the others in its group: RLOO (arXiv 2402.14740, section 3.2). See `Base` for arguments.

    A group of one has no others and keeps the raw value under every numerics.

    >>> leave_one_out(np.array([0.0, 1.0, 5.0]), np.array([0, 0, 1]))
    array([-1.,  1.,  5.])
    """
    row = rows_of(group)
    centred, statistics = _centred(values, row, "raw", numerics, magnitude)
    count = statistics.size
    return centred * np.where(count > 1, quotient(count, count - 1), 1.0)[row]


@base("batch")
def batch_centred(
    values: Floats,
    group: Ints,
    *,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """``r`` minus the mean of the batch: REINFORCE with a baseline (Williams 1992). See `Base` for arguments.

    >>> batch_centred(np.array([0.0, 1.0]), np.array([0, 1]))
    array([-0.5,  0.5])
    """
    return _centred(values, np.zeros_like(group), "zero", numerics, magnitude)[0]


@base("batch")
def batch_whitened(
    values: Floats,
    group: Ints,
    *,
    ddof: int | None = None,
    eps: float | None = None,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """``(r - mean) / std`` over the batch: REINFORCE++ (arXiv 2501.03262), and the last step of GDPO.

    ``ddof`` and ``eps`` override those of ``numerics``; the other arguments are those of `Base`.

    Under ``verl`` the statistics count tokens where ``lengths`` are given, so that long responses count more, and the
    epsilon stands under the root.

    >>> batch_whitened(np.array([0.0, 1.0]), np.array([0, 1]))
    array([-1.,  1.])
    """
    row = np.zeros_like(group)
    counts = lengths if numerics.whiten_tokens else None
    centred, statistics = _centred(values, row, "zero", numerics, magnitude, counts)
    variance = statistics.variance(numerics.whiten_ddof if ddof is None else ddof)
    eps = numerics.whiten_eps if eps is None else eps
    std = np.sqrt(variance + eps) if numerics.whiten_eps_in_root else np.sqrt(variance) + eps
    return quotient(centred, std[row])


@base("none")
def raw(
    values: Floats,
    group: Ints,
    *,
    numerics: Numerics = DEFAULT,
    magnitude: Floats | None = None,
    lengths: Floats | None = None,
) -> Floats:
    """The values themselves: REINFORCE without a baseline (Williams 1992). See `Base` for arguments."""
    return values.copy()
