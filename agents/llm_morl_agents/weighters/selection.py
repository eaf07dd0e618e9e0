"""Which objective and which rows: what weighters share that speak of single objectives or single responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..bases import quotient
from .base import Signals

Floats = NDArray[np.float64]


def index_of(objective: int | str, names: Sequence[str], option: str) -> int:
    """The index of an objective that is given by name, or by an index counted from either end.

    Args:
        objective: Name or index.
        names: All names.
        option: The parameter, as an error shall call it.

    Raises:
        ValueError: If there is no such objective.

    >>> index_of("brevity", ("format", "brevity"), "on"), index_of(-1, ("format", "brevity"), "on")
    (1, 1)
    """
    if isinstance(objective, str) and objective in names:
        return list(names).index(objective)
    if isinstance(objective, int) and not isinstance(objective, bool) and -len(names) <= objective < len(names):
        return objective % len(names)
    raise ValueError(f"{option} must name an objective of {tuple(names)} or be an index into them, got {objective!r}")


def per_response(weights: Floats, group: NDArray[np.int64]) -> Floats:
    """Weights (N, K), row i for response i, in the order in which `Weighting` reads them.

    The same rows, unless every response is a group of its own: `Weighting` takes those as rows per group.

    >>> per_response(np.array([[1.0], [2.0]]), np.array([5, 3])).tolist()  # np.unique(group) is 3, 5
    [[2.0], [1.0]]
    """
    return weights[np.argsort(group)] if len(np.unique(group)) == len(group) else weights


def present_objectives(rewards: Floats) -> NDArray[np.bool_]:
    """Which objectives any response of the batch has, bool (K,); all of them in an empty batch.

    >>> present_objectives(np.array([[0.5, np.nan], [np.nan, np.nan]])).tolist()
    [True, False]
    """
    there: NDArray[np.bool_] = np.any(~np.isnan(rewards), axis=0)
    return there if len(rewards) else np.ones_like(there)


def shares_among(values: Floats, present: NDArray[np.bool_], held: Floats | None = None) -> Floats:
    """``values / sum(values)``, (K,), among the objectives that the batch has; the others keep the shares of ``held``.

    So an objective that is missing from a batch changes neither the ratios of the others nor the mean weight that they
    share: both are as if the weights were of those others alone.

    Args:
        values: (K,) non-negative; what is missing is not looked at.
        present: bool (K,), from `present_objectives`.
        held: (K,) shares that sum to 1; equal ones where None.

    >>> shares_among(np.array([3.0, 1.0, 9.0]), np.array([True, True, False])).round(3).tolist()
    [0.5, 0.167, 0.333]
    """
    if present.all():
        return quotient(values, values.sum())
    held = np.full(len(values), 1 / len(values)) if held is None else held
    counted = np.where(present, values, 0.0)
    return np.where(present, held[present].sum() * quotient(counted, counted.sum()), held)


def where_present(weights: Floats, signals: Signals) -> Floats:
    """Weights for a combiner that must not see missing rewards: 0 where a reward is NaN.

    An estimator hands missing values to its combiner as 0, which a sum cannot feel but a minimum can.

    Args:
        weights: (K,), or (N, K) with row i for response i.
        signals: Whose rewards may be missing.

    Returns:
        As `Weighting` reads them: (N, K); ``weights`` themselves if they are (K,) and no response has a part of its
        rewards alone.
    """
    missing = np.isnan(signals.rewards)
    if weights.ndim == 1 and not (missing.any(axis=1) & ~missing.all(axis=1)).any():
        return weights
    return per_response(np.where(missing, 0.0, weights), signals.group)
