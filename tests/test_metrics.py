"""Metrics against reference values, their definitions in brute force, and their properties."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llm_morl_env import metrics

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
#: Coordinates on a grid, so that ties and duplicates are common.
GRID = st.integers(-4, 8).map(lambda i: i / 4)
SETS = st.integers(1, 4).flatmap(
    lambda k: hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(k)), elements=GRID)
)
PAIRS = hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=GRID)


def vectors(name: str) -> dict:
    file = SHARED / "method_vectors.json"
    if not file.is_file():
        pytest.skip("the reference values are not here")
    return json.loads(file.read_text())["hypervolume"][name]


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a >= b).all() and (a > b).any())


def brute_area(points: np.ndarray, reference: np.ndarray) -> float:
    """Area above the reference, cell by cell of the grid that the coordinates span."""
    xs, ys = (np.unique(np.append(points[:, k], reference[k])) for k in (0, 1))
    area = 0.0
    for x0, x1 in pairwise(xs):
        for y0, y1 in pairwise(ys):
            inside = x0 >= reference[0] and y0 >= reference[1]
            if inside and ((points[:, 0] >= x1) & (points[:, 1] >= y1)).any():
                area += (x1 - x0) * (y1 - y0)
    return area


def test_two_objective_reference_values() -> None:
    case = vectors("two_objective")
    buffer, reference = case["buffer"], case["reference"]
    volume = metrics.hypervolume(buffer, reference)
    assert volume == pytest.approx(case["hv_buffer"], abs=1e-9)
    for point, gain in (
        ("new_point", "delta_hv"),
        ("dominated_point", "delta_hv_dominated"),
        ("duplicate_point", "delta_hv_duplicate"),
    ):
        assert metrics.hypervolume([*buffer, case[point]], reference) - volume == pytest.approx(case[gain], abs=1e-9)


def test_three_objective_reference_values() -> None:
    case = vectors("three_objective_unit")
    assert metrics.hypervolume(case["points"], case["reference"]) == pytest.approx(case["hv"], abs=1e-9)
    contributions = metrics.hypervolume_contributions(case["points"], case["reference"])
    np.testing.assert_allclose(contributions, case["exclusive_contributions"], atol=1e-9)


def test_sequence_in_raw_units() -> None:
    case = vectors("raw_units_sequence")
    sign = np.array([1.0, -1.0, 1.0])  # the response length is minimised there
    kept = np.empty((0, 3))
    for step in case["steps"]:
        before = metrics.hypervolume(kept, sign * case["reference"])
        grown = np.vstack([kept, sign * step["point"]])
        assert metrics.hypervolume(grown, sign * case["reference"]) - before == pytest.approx(
            step["delta_hv"], abs=1e-6
        )
        kept = grown if step["added"] else kept
    assert metrics.hypervolume(kept, sign * case["reference"]) == pytest.approx(case["final_hv"], abs=1e-6)


@settings(deadline=None)
@given(PAIRS)
def test_area_is_that_of_the_cells(points: np.ndarray) -> None:
    reference = np.array([0.0, -0.5])
    assert metrics.hypervolume(points, reference) == pytest.approx(brute_area(points, reference), abs=1e-12)


@settings(deadline=None)
@given(SETS)
def test_hypervolume_properties(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], -0.25)
    volume = metrics.hypervolume(points, reference)
    assert volume >= 0
    assert metrics.hypervolume(points[::-1], reference) == pytest.approx(volume)
    assert metrics.hypervolume(metrics.pareto_front(points), reference) == pytest.approx(volume)
    assert metrics.hypervolume(points[1:], reference) <= volume + 1e-12
    assert metrics.hypervolume(points, -0.25) == volume
    assert (volume == 0) == (metrics.below_reference(points, reference) == len(points))


@settings(deadline=None)
@given(SETS)
def test_contributions_are_what_the_set_loses(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], -0.25)
    volume = metrics.hypervolume(points, reference)
    lost = [volume - metrics.hypervolume(np.delete(points, row, axis=0), reference) for row in range(len(points))]
    np.testing.assert_allclose(metrics.hypervolume_contributions(points, reference), lost, atol=1e-9)


@settings(deadline=None)
@given(SETS)
def test_front_is_what_nothing_dominates(points: np.ndarray) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert metrics.nondominated(points).tolist() == expected
    front = metrics.pareto_front(points)
    assert len(np.unique(front, axis=0)) == len(front)
    assert {tuple(p) for p in front} == {tuple(p) for p in points[expected]}
    positions = [int(np.argmax((points == point).all(axis=1))) for point in front]
    assert positions == sorted(positions)


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_igd_plus_is_its_formula(points: np.ndarray, front: np.ndarray) -> None:
    shortfall = np.maximum(front[:, None, :] - points[None, :, :], 0)
    expected = np.sqrt((shortfall**2).sum(axis=2)).min(axis=1).mean()
    assert metrics.igd_plus(points, front) == pytest.approx(expected, abs=1e-12)


def test_igd_plus_of_the_papers_example() -> None:
    """Example 4 of the paper, with the sign turned: the set that dominates the other has the smaller distance."""
    front = -np.array([[10, 0], [6, 1], [2, 2], [1, 6], [0, 10]])
    better, worse = -np.array([[4, 2], [3, 3], [2, 4]]), -np.array([[8, 2], [4, 4], [2, 8]])
    assert metrics.igd_plus(better, front) == pytest.approx(1.482842712474619)
    assert metrics.igd_plus(worse, front) == pytest.approx(2.260112615949154)


@settings(deadline=None)
@given(PAIRS, PAIRS, st.integers(1, 6))
def test_utilities_are_their_formulas(points: np.ndarray, front: np.ndarray, divisions: int) -> None:
    weights = metrics.equally_spaced_weights(2, divisions=divisions)
    best = [max(float(w @ p) for p in points) for w in weights]
    best_of_front = [max(float(w @ p) for p in front) for w in weights]
    assert metrics.expected_utility(points, weights) == pytest.approx(np.mean(best), abs=1e-12)
    loss = max(b - a for a, b in zip(best, best_of_front, strict=True))
    assert metrics.maximum_utility_loss(points, front, weights) == pytest.approx(loss, abs=1e-12)


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_more_points_are_never_worse(points: np.ndarray, more: np.ndarray) -> None:
    weights, both = metrics.equally_spaced_weights(2, divisions=5), np.vstack([points, more])
    assert metrics.expected_utility(both, weights) >= metrics.expected_utility(points, weights) - 1e-12
    assert metrics.maximum_utility_loss(both, more, weights) <= 1e-12
    assert metrics.igd_plus(both, more) == 0


def test_concave_points_add_no_expected_utility() -> None:
    weights = metrics.equally_spaced_weights(2, divisions=9)
    ends = [[1.0, 0.0], [0.0, 1.0]]
    assert metrics.expected_utility([*ends, [0.4, 0.4]], weights) == metrics.expected_utility(ends, weights)
    assert metrics.hypervolume([*ends, [0.4, 0.4]], 0.0) == pytest.approx(0.16)


@pytest.mark.parametrize(("n_objectives", "divisions", "count"), [(1, 3, 1), (2, 49, 50), (3, 4, 15), (5, 3, 35)])
def test_equally_spaced_weights(n_objectives: int, divisions: int, count: int) -> None:
    weights = metrics.equally_spaced_weights(n_objectives, divisions=divisions)
    assert weights.shape == (count, n_objectives)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights * divisions, np.round(weights * divisions))
    assert len(np.unique(weights, axis=0)) == count
    assert weights.tolist() == sorted(weights.tolist())


def test_empty_sets() -> None:
    for empty in ([], np.empty((0, 2))):
        assert metrics.hypervolume(empty, [0.0, 0.0]) == 0.0
        assert metrics.below_reference(empty, [0.0, 0.0]) == 0
        assert metrics.hypervolume_contributions(empty, [0.0, 0.0]).shape == (0,)
    assert metrics.pareto_front(np.empty((0, 2))).shape == (0, 2)
    for call in (
        lambda: metrics.igd_plus(np.empty((0, 2)), [[1.0, 1.0]]),
        lambda: metrics.igd_plus([[1.0, 1.0]], np.empty((0, 2))),
        lambda: metrics.expected_utility(np.empty((0, 2)), [[1.0, 0.0]]),
        lambda: metrics.expected_utility([[1.0, 0.0]], np.empty((0, 2))),
    ):
        with pytest.raises(ValueError, match="at least one row"):
            call()


def test_points_below_the_reference_are_counted() -> None:
    points = [[0.5, 0.5], [0.5, -0.1], [0.0, 0.9], [-1.0, -1.0]]
    assert metrics.below_reference(points, [0.0, 0.0]) == 3
    assert metrics.hypervolume(points, [0.0, 0.0]) == pytest.approx(0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    points, good = [[1.0, 1.0], [1.0, bad]], [[1.0, 1.0]]
    for call in (
        lambda: metrics.hypervolume(points, [0.0, 0.0]),
        lambda: metrics.below_reference(points, [0.0, 0.0]),
        lambda: metrics.hypervolume_contributions(points, [0.0, 0.0]),
        lambda: metrics.pareto_front(points),
        lambda: metrics.igd_plus(points, good),
        lambda: metrics.expected_utility(points, good),
        lambda: metrics.maximum_utility_loss(points, good, good),
    ):
        with pytest.raises(ValueError, match=r"points must be finite, got -?(nan|inf) in row 1, objective 1"):
            call()
    with pytest.raises(ValueError, match=r"front must be finite.*row 1"):
        metrics.igd_plus(good, points)
    with pytest.raises(ValueError, match=r"weights must be finite.*row 1"):
        metrics.expected_utility(good, points)
    with pytest.raises(ValueError, match=r"reference must be finite.*objective 1"):
        metrics.hypervolume(good, [0.0, bad])


def test_shapes_are_checked() -> None:
    for call, message in (
        (lambda: metrics.hypervolume([1.0, 2.0], [0.0, 0.0]), "points must have shape"),
        (lambda: metrics.hypervolume([[1.0, 2.0]], [0.0]), "one value an objective"),
        (lambda: metrics.hypervolume([[1.0, 2.0]], [[0.0, 0.0]]), "reference must have shape"),
        (lambda: metrics.pareto_front([]), "points must have shape"),
        (lambda: metrics.igd_plus([[1.0, 2.0]], [[1.0]]), "front must have as many objectives"),
        (lambda: metrics.expected_utility([[1.0, 2.0]], [[1.0]]), "weights must have as many objectives"),
        (lambda: metrics.expected_utility([[1.0, 2.0]], [[1.0, -0.5]]), "must not be negative.*row 0"),
        (lambda: metrics.equally_spaced_weights(0, divisions=2), "n_objectives=.*at least 1, got 0"),
        (lambda: metrics.equally_spaced_weights(2, divisions=0), "divisions=.*at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_inputs_stay_as_they_were() -> None:
    points, front = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0]])
    reference, weights = np.zeros(2), metrics.equally_spaced_weights(2, divisions=2)
    given = [points, front, reference, weights]
    copies = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    metrics.hypervolume(points, reference)
    metrics.hypervolume_contributions(points, reference)
    metrics.below_reference(points, reference)
    front_of_points = metrics.pareto_front(points)
    metrics.igd_plus(points, front)
    metrics.expected_utility(points, weights)
    metrics.maximum_utility_loss(points, front, weights)
    assert all((array == copy).all() for array, copy in zip(given, copies, strict=True))
    assert not np.shares_memory(front_of_points, points)
