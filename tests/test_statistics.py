"""Intervals, thresholds, scaling: properties and known cases."""

import numpy as np
import pytest
import scipy.stats

from llm_morl_agents.experiments.statistics import (
    area_under_curve,
    bootstrap_interval,
    half_way_thresholds,
    interquartile_mean,
    iqm_interval,
    paired_interval,
    scaled,
    spread,
    steps_to_threshold,
    trailing_mean,
    vector_hypervolumes,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def interval(values, seed=1, **options):
    return bootstrap_interval(values, generator=rng(seed), **options)


@pytest.mark.parametrize(
    ("seeds", "problems", "scale_seed", "scale_problem", "lowest", "highest"),
    [
        (12, 60, 1.0, 0.5, 0.88, 0.98),  # many seeds: close to 95 %
        (3, 200, 0.0, 1.0, 0.90, 0.99),  # problems dominate
        (3, 60, 1.0, 0.0, 0.70, 0.90),  # three seeds that dominate: short of 95 %, as the docstring says
    ],
)
def test_coverage(seeds, problems, scale_seed, scale_problem, lowest, highest):
    generator, hits, trials = rng(2), 0, 300
    for _ in range(trials):
        effects = scale_seed * generator.normal(size=(seeds, 1)) + scale_problem * generator.normal(size=(1, problems))
        values = effects + 0.5 * generator.normal(size=(seeds, problems))
        found = bootstrap_interval(values[:, :, None], generator=generator, resamples=400)
        hits += found.low[0] <= 0.0 <= found.high[0]
    assert lowest <= hits / trials <= highest


def test_matches_the_normal_interval_of_one_seed():
    values = rng().normal(1.0, 2.0, size=(1, 400, 1))
    error = values.std(ddof=1) / 20
    found = interval(values, resamples=20000)
    np.testing.assert_allclose(found.low, values.mean() - 1.96 * error, rtol=0.03)
    np.testing.assert_allclose(found.high, values.mean() + 1.96 * error, rtol=0.03)


def test_variance_of_seeds_is_not_understated():
    """With identical problems the bootstrap's variance is the unbiased one of the mean of S seeds."""
    values = np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1).repeat(5, axis=1)
    found = interval(values, level=0.6827, resamples=40000)
    unbiased_error = 1.0 / np.sqrt(3)
    # The resampled means of three seeds are multiples of sqrt(1.5)/3 with this standard deviation.
    assert abs((found.high - found.low)[0] / 2 - unbiased_error) < 0.25


def test_constant_values_have_no_width():
    found = interval(np.full((3, 7, 2), 0.25))
    np.testing.assert_allclose([found.mean, found.low, found.high], 0.25, rtol=1e-12)


def test_one_seed_and_one_problem_say_nothing():
    found = interval([[[0.5]]])
    assert found.mean.tolist() == [0.5]
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_one_problem_uses_the_seeds():
    found = interval(np.array([0.0, 1.0, 2.0]).reshape(3, 1, 1))
    assert found.low[0] < 1.0 < found.high[0]


def test_interval_is_reproducible_and_leaves_its_input():
    values = rng().normal(size=(3, 20, 2))
    before = values.copy()
    first, second = interval(values), interval(values)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(first.low, second.low)


def test_shift_and_scale():
    values = rng().normal(size=(3, 20, 1))
    plain, moved = interval(values), interval(10.0 * values + 3.0)
    np.testing.assert_allclose(moved.low, 10.0 * plain.low + 3.0)
    np.testing.assert_allclose(moved.high, 10.0 * plain.high + 3.0)


@pytest.mark.parametrize("values", [np.zeros((3, 4)), np.zeros((0, 4, 1)), np.full((2, 2, 1), np.inf)])
def test_malformed_values_are_refused(values):
    with pytest.raises(ValueError, match="values must"):
        interval(values)


def test_level_is_checked():
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), got 95"):
        interval(np.zeros((2, 2, 1)), level=95)


@pytest.mark.parametrize(
    ("series", "threshold", "window", "expected"),
    [
        ([0.0, 1.0, 0.0, 1.0], 0.9, 1, 1),
        ([0.0, 1.0, 0.0, 1.0, 1.0], 0.9, 2, 4),  # one lucky batch is not enough
        ([1.0, 1.0], 1.0, 2, 1),
        ([0.0, 0.5], 0.9, 1, None),
        ([1.0], 0.5, 5, None),  # shorter than the window
        ([], 0.5, 5, None),
    ],
)
def test_steps_to_threshold(series, threshold, window, expected):
    assert steps_to_threshold(series, threshold, window=window) == expected


@pytest.mark.parametrize("window", [1, 3, 10])
def test_trailing_mean_against_its_definition(window):
    values = rng().normal(size=(7, 2))
    expected = [values[max(0, i - window + 1) : i + 1].mean(axis=0) for i in range(7)]
    np.testing.assert_allclose(trailing_mean(values, window), expected)


def test_window_is_checked():
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        trailing_mean([1.0], 0)


def test_scaling_maps_bounds_to_the_unit_interval():
    low, high = [0.0, -3.0], [1.0, 3.0]
    np.testing.assert_array_equal(scaled([low, high], low, high), [[0.0, 0.0], [1.0, 1.0]])


def test_half_way_thresholds():
    assert half_way_thresholds([0.5, -1.0], [1.0, 3.0]).tolist() == [0.75, 1.0]


def test_spread():
    assert spread([[1.0], [3.0]]).tolist() == [np.sqrt(2.0)]
    assert np.isnan(spread([[1.0]])).all()


@pytest.mark.parametrize(("n", "kept"), [(1, slice(0, 1)), (3, slice(0, 3)), (4, slice(1, 3)), (10, slice(2, 8))])
def test_interquartile_mean_leaves_out_whole_quarters(n, kept):
    values = rng(n).normal(size=(n, 2))
    np.testing.assert_allclose(interquartile_mean(values), np.sort(values, axis=0)[kept].mean(axis=0))


def test_interquartile_mean_ignores_one_wild_seed():
    values = np.array([1.0, 1.1, 0.9, 1.0])
    assert abs(interquartile_mean([*values, 1e6]) - interquartile_mean(values)) < 0.1


def test_iqm_interval_matches_scipys_bootstrap():
    values = rng(3).normal(size=12)
    found = iqm_interval(values[:, None], generator=rng(), resamples=20000)
    reference = scipy.stats.bootstrap(
        (values,), lambda v, axis: scipy.stats.trim_mean(v, 0.25, axis=axis), method="percentile", n_resamples=20000
    ).confidence_interval
    np.testing.assert_allclose([found.low[0], found.high[0]], reference, atol=0.03)
    np.testing.assert_allclose(found.mean[0], scipy.stats.trim_mean(values, 0.25))


def test_paired_interval_is_the_one_of_the_paired_t_test():
    first, second = rng(4).normal(size=(2, 7))
    reference = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    found = paired_interval((first - second)[:, None])
    np.testing.assert_allclose([found.low[0], found.high[0]], reference, rtol=1e-12)


def test_paired_interval_covers_at_three_seeds():
    generator = rng(5)
    hits = sum(
        bool(found.low[0] <= 0 <= found.high[0])
        for found in (paired_interval(generator.normal(size=(3, 1))) for _ in range(1000))
    )
    assert 0.93 <= hits / 1000 <= 0.97


def test_equal_differences_have_no_width():
    found = paired_interval(np.full((4, 2), 0.25))
    assert found.low.tolist() == found.mean.tolist() == found.high.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("interval_of", [paired_interval, lambda values: iqm_interval(values, generator=rng())])
def test_intervals_over_seeds_of_one_seed_and_of_malformed_values(interval_of):
    alone = interval_of([[0.5]])
    assert alone.mean.tolist() == [0.5]
    assert np.isnan([alone.low, alone.high]).all()
    for values in (np.zeros(3), np.zeros((0, 1)), [[np.nan]]):
        with pytest.raises(ValueError, match="values must"):
            interval_of(values)


def test_area_under_curve():
    np.testing.assert_allclose(area_under_curve([0, 2, 10], [[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), [1.0, 0.5])
    assert area_under_curve([3], [0.25]) == 0.25
    with pytest.raises(ValueError, match="at must ascend"):
        area_under_curve([0, 2, 2], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="same length"):
        area_under_curve([0, 1], [1.0])


def test_hypervolumes_of_single_vectors_are_products():
    vectors = np.array([[[0.5, 1.5], [1.0, 3.0]], [[0.0, 3.0], [0.75, -3.0]]])
    np.testing.assert_allclose(vector_hypervolumes(vectors, [0, -3], [1, 3]), [[0.375, 1.0], [0.0, 0.0]])


def test_missing_entries_are_left_out_of_interval_and_trailing_mean():
    """A problem that an objective does not apply to is as if it were not there."""
    values = np.random.default_rng(3).normal(size=(4, 30, 2))
    holed = np.concatenate([values, np.full((4, 30, 2), np.nan)], axis=1)
    whole, kept = (bootstrap_interval(v, generator=np.random.default_rng(0)) for v in (values, holed))
    np.testing.assert_allclose(kept.mean, whole.mean)
    np.testing.assert_allclose(kept.low, whole.low, atol=0.06)
    np.testing.assert_allclose(kept.high, whole.high, atol=0.06)
    with pytest.raises(ValueError, match="finite, or NaN"):
        bootstrap_interval(np.full((2, 3, 1), np.inf), generator=np.random.default_rng(0))
    nothing = bootstrap_interval(np.full((2, 3, 1), np.nan), generator=np.random.default_rng(0))
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()
    np.testing.assert_array_equal(trailing_mean([np.nan, 1.0, np.nan, 3.0, np.nan], 2), [np.nan, 1.0, 1.0, 3.0, 3.0])
