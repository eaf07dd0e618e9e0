"""Quality of a set of reward vectors: hypervolume, Pareto front, IGD+, expected utility, maximum utility loss.

Shapes: n points, m points of a reference front, w weight vectors, K objectives. Every objective is maximised. Values
that are not finite are an error, inputs are never written to, and results are in float64. The dominance and volume
algorithms are moocore's; the utilities are numpy.

Left out: the sparsity of a front, which rewards an even spread whether or not the true front has one.
"""

from __future__ import annotations

import math
from itertools import combinations

import moocore  # type: ignore[import-untyped]  # ships no annotations
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the points dominate above the reference point (Zitzler and Thiele, 1998)::

        HV(A, r) = volume of the union over a in A of the boxes [r, a]

    It misleads in three ways. It depends on the reference point, which belongs beside every result; a reference far
    below the points makes the extreme ones count most. It depends on the units of the objectives. And a point that is
    not above the reference in every objective adds nothing: `below_reference` counts those, and a result should state
    the count.

    Args:
        points: Array (n, K); an empty set has volume 0. Dominated points and duplicates add nothing.
        reference: Array (K,), or one number for all objectives; at or below every point that should count.

    Raises:
        ValueError: If a value is not finite (the message names row and objective) or a shape does not fit.

    >>> hypervolume([[0.5, 0.2], [0.2, 0.6]], [0.0, 0.0])
    0.18
    """
    checked, ref = _points_and_reference(points, reference)
    return float(moocore.hypervolume(checked, ref, maximise=True)) if len(checked) else 0.0


def below_reference(points: ArrayLike, reference: ArrayLike) -> int:
    """Number of points that are not strictly above the reference in every objective: they add nothing to `hypervolume`.

    >>> below_reference([[0.5, 0.2], [0.5, -0.1], [0.0, 0.9]], [0.0, 0.0])
    2
    """
    checked, ref = _points_and_reference(points, reference)
    return int(np.count_nonzero(~(checked > ref).all(axis=1)))


def hypervolume_contributions(points: ArrayLike, reference: ArrayLike) -> Floats:
    """What the hypervolume would lose without each point: ``HV(A, r) - HV(A without a, r)``, (n,).

    Duplicates have contribution 0 each, since the other copy stays, and so do dominated points. Cheap up to K = 3;
    about n times a hypervolume from K = 4 on.

    >>> hypervolume_contributions([[0.5, 0.2], [0.2, 0.6], [0.1, 0.1]], [0.0, 0.0]).round(9).tolist()
    [0.06, 0.08, 0.0]
    """
    checked, ref = _points_and_reference(points, reference)
    if not len(checked):
        return np.zeros(0)
    if checked.shape[1] == 1:  # moocore wants two objectives: a second one of constant height 1 changes no volume
        checked, ref = np.column_stack([checked, np.ones(len(checked))]), np.append(ref, 0.0)
    # ignore_dominated=False is the definition above; the default skips a dominated point that would take over volume.
    contributions = moocore.hv_contributions(checked, ref=ref, maximise=True, ignore_dominated=False)
    return np.asarray(contributions, dtype=np.float64)


def nondominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mask (n,) of the points that no other point dominates (at least as good everywhere and better somewhere).

    All copies of a nondominated point are marked. For the front as a set, see `pareto_front`.
    """
    checked = _matrix(points, "points")
    if not len(checked):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(checked, maximise=True, keep_weakly=True), dtype=np.bool_)


def pareto_front(points: ArrayLike) -> Floats:
    """The nondominated points, each once, in the order of their first appearance: (m, K), a fresh array.

    It misleads on noisy means: the front of estimates is biased towards the lucky ones. Estimate the points of a front
    again on fresh problems before reporting it.

    >>> pareto_front([[1.0, 0.0], [0.0, 1.0], [0.5, -1.0], [1.0, 0.0]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    checked = _matrix(points, "points")
    front = checked[nondominated(checked)]
    _, first = np.unique(front, axis=0, return_index=True)
    return front[np.sort(first)]


def igd_plus(points: ArrayLike, front: ArrayLike) -> float:
    """Modified inverted generational distance (IGD+; Ishibuchi et al., 2015), smaller is better::

        IGD+(A, Z) = 1/|Z| sum over z in Z of min over a in A of sqrt(sum_k max(z_k - a_k, 0)^2)

    Unlike the plain distance it never prefers a dominated set. It depends on the units of the objectives and on how the
    reference front is sampled, and points beyond that front count as on it.

    Args:
        points: Array (n, K), not empty.
        front: The reference front, (m, K), not empty.

    >>> igd_plus([[0.0, 1.0]], front=[[0.0, 1.0], [1.0, 1.0]])
    0.5
    """
    checked, target = _nonempty(points, "points"), _nonempty(front, "front")
    _same_width(checked, target, "front")
    return float(moocore.igd_plus(checked, target, maximise=True))


def equally_spaced_weights(n_objectives: int, *, divisions: int) -> Floats:
    """The weight vectors on the unit simplex whose entries are multiples of ``1 / divisions`` (Das and Dennis, 1998).

    Returns:
        Array (w, K) with w = C(divisions + K - 1, K - 1) rows in lexicographic order, each of sum 1.

    >>> equally_spaced_weights(2, divisions=2).tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """
    for name, value in (("n_objectives", n_objectives), ("divisions", divisions)):
        if value < 1:
            raise ValueError(f"equally_spaced_weights({name}=) must be at least 1, got {value}")
    slots = divisions + n_objectives - 1
    bars = np.array(list(combinations(range(slots), n_objectives - 1)), dtype=np.int64)
    bars = bars.reshape(math.comb(slots, n_objectives - 1), n_objectives - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, slots)))  # stars and bars
    return (np.diff(edges, axis=1) - 1) / divisions


def expected_utility(points: ArrayLike, weights: ArrayLike) -> float:
    """Mean over users of the utility of the point that suits each best (EUM; Zintgraf et al., 2015)::

        EU(A, W) = 1/|W| sum over w in W of max over a in A of w . a

    Users are linear here: points in concave parts of a front are never the best of one, and add nothing.

    Args:
        points: Array (n, K), not empty.
        weights: Array (w, K), one non-negative weight vector a user; see `equally_spaced_weights`.

    >>> expected_utility([[1.0, 0.0], [0.0, 1.0]], weights=[[1.0, 0.0], [0.5, 0.5]])
    0.75
    """
    return float(_best_utilities(_nonempty(points, "points"), weights).mean())


def maximum_utility_loss(points: ArrayLike, front: ArrayLike, weights: ArrayLike) -> float:
    """What the worst-off user loses with the points in place of the reference front (MUL; Zintgraf et al., 2015)::

        MUL(A, Z, W) = max over w in W of (max over z in Z of w . z - max over a in A of w . a)

    Negative where every user is better off with the points. One user decides, so it is noisy in W; users are linear, as
    in `expected_utility`.

    Args:
        points: Array (n, K), not empty.
        front: The reference front, (m, K), not empty.
        weights: Array (w, K), one non-negative weight vector a user.

    >>> maximum_utility_loss([[1.0, 0.0]], front=[[1.0, 0.0], [0.0, 1.0]], weights=[[1.0, 0.0], [0.25, 0.75]])
    0.5
    """
    checked, target = _nonempty(points, "points"), _nonempty(front, "front")
    _same_width(checked, target, "front")
    return float((_best_utilities(target, weights) - _best_utilities(checked, weights)).max())


def _best_utilities(points: Floats, weights: ArrayLike) -> Floats:
    checked = _nonempty(weights, "weights")
    _same_width(points, checked, "weights")
    if (checked < 0).any():
        row = int(np.argmax((checked < 0).any(axis=1)))
        raise ValueError(f"weights must not be negative, got {checked[row].tolist()} in row {row}")
    best: Floats = (checked @ points.T).max(axis=1)
    return best


def _matrix(values: ArrayLike, name: str) -> Floats:
    """A finite float64 copy of shape (n, K)."""
    matrix = np.array(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, K) with K >= 1, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        row, objective = (int(i) for i in np.argwhere(~np.isfinite(matrix))[0])
        raise ValueError(f"{name} must be finite, got {matrix[row, objective]} in row {row}, objective {objective}")
    return matrix


def _nonempty(values: ArrayLike, name: str) -> Floats:
    matrix = _matrix(values, name)
    if not len(matrix):
        raise ValueError(f"{name} must hold at least one row, got shape {matrix.shape}")
    return matrix


def _same_width(points: Floats, other: Floats, name: str) -> None:
    if points.shape[1] != other.shape[1]:
        raise ValueError(f"{name} must have as many objectives as points ({points.shape[1]}), got {other.shape[1]}")


def _points_and_reference(points: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    ref = np.array(reference, dtype=np.float64)
    if ref.ndim > 1:
        raise ValueError(f"reference must have shape (K,), got {ref.shape}")
    if np.size(np.asarray(points)) == 0 and np.ndim(points) == 1:  # a plain [] is the empty set
        points = np.empty((0, ref.size))
    checked = _matrix(points, "points")
    if ref.ndim == 0:
        ref = np.full(checked.shape[1], ref)
    if ref.shape != checked.shape[1:]:
        raise ValueError(f"reference must have one value an objective ({checked.shape[1]}), got {ref.shape[0]}")
    if not np.isfinite(ref).all():
        objective = int(np.argmin(np.isfinite(ref)))
        raise ValueError(f"reference must be finite, got {ref[objective]} for objective {objective}")
    return checked, ref
