"""Which objective and which rows: what weighters share that speak of single objectives or single responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
