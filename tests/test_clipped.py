"""Clipped: bounds, sum, and that no nearer weights keep both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import random_batch, weights_of
from scipy.optimize import minimize

from llm_morl_agents.weighters import SAW, Clipped, DVAOWeights, Static
from llm_morl_agents.weighters.clipped import bounded

level = st.sampled_from([0.0, 0.01, 0.5, 1.0, 3.0])


@given(
    weights=st.lists(level, min_size=1, max_size=5),
    preference=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=5, max_size=5),
    low=st.sampled_from([0.0, 0.3, 1.0]),
    high=st.sampled_from([1.0, 1.2, 2.5, np.inf]),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
)
@settings(max_examples=300, deadline=None)
def test_bounds_and_sum(weights, preference, low, high, scale):
    preference = np.array(preference[: len(weights)])
    weights = scale * np.array(weights) * (preference > 0)
    got = bounded(weights, preference, low, high)
    assert got.sum() == pytest.approx(weights.sum(), rel=1e-9)
    if weights.sum() > 0:
        even = weights.sum() * preference / preference.sum()
        before, after = (w[even > 0] / even[even > 0] for w in (weights, got))
        assert (got[even == 0] == 0).all()
        assert low - 1e-9 <= after.min() <= after.max() <= high + 1e-9
        if low <= before.min() <= before.max() <= high:
            np.testing.assert_array_equal(got, weights)
        inside = (after > low + 1e-9) & (after < high - 1e-9) & (before > 0)
        factors = after[inside] / before[inside]
        assert np.ptp(factors) <= 1e-9 * factors.max() if inside.any() else True  # ratios stay


@pytest.mark.parametrize("seed", range(10))
def test_nearest(seed):
    """The least Kullback-Leibler divergence, against a general solver."""
    rng = np.random.default_rng(seed)
    weights, k = rng.dirichlet(np.full(4, 0.7)), 4
    low, high = rng.uniform(0.05, 0.8), rng.uniform(1.1, 2.0)
    solved = minimize(
        lambda w: (w * np.log(w / weights)).sum(),
        np.full(k, 1 / k),
        jac=lambda w: np.log(w / weights) + 1,
        bounds=[(low / k, high / k)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        method="SLSQP",
        options={"ftol": 1e-15},
    )
    np.testing.assert_allclose(bounded(weights, np.ones(k), low, high), solved.x, atol=1e-5)


def test_a_weight_of_zero_is_raised_as_little_as_the_bounds_allow():
    weights = np.array([8.0, 1.0, 0.0])
    np.testing.assert_allclose(bounded(weights, np.ones(3), 0.0, 2.0), [6.0, 3.0, 0.0])
    np.testing.assert_allclose(bounded(weights, np.ones(3), 0.2, 2.0), [6.0, 2.4, 0.6])
    np.testing.assert_allclose(bounded(weights, np.ones(3), 0.0, 1.2), [3.6, 3.6, 1.8])


def test_input_is_untouched():
    weights = np.array([4.0, 0.0])
    weights.setflags(write=False)
    np.testing.assert_allclose(bounded(weights, np.ones(2), 0.1, 1.5), [3.0, 1.0])


@pytest.mark.parametrize("inner", [SAW(), DVAOWeights(), Static([0, 0, 1])])
def test_every_shape(inner):
    rewards, group = random_batch(0)
    plain, clipped = (weights_of(w, rewards, group) for w in (inner, Clipped(inner, low=0.95, high=1.02)))
    assert clipped.shape == plain.shape
    mean = plain.mean(axis=-1, keepdims=True)
    assert (clipped >= 0.95 * mean - 1e-12).all()
    assert (clipped <= 1.02 * mean + 1e-12).all()
    assert not np.allclose(clipped, plain)


def test_without_bounds_nothing_changes():
    rewards, group = random_batch(0)
    np.testing.assert_array_equal(weights_of(Clipped(SAW()), rewards, group), weights_of(SAW(), rewards, group))


@pytest.mark.parametrize("options", [{"low": -0.1}, {"low": 1.1}, {"high": 0.9}, {"high": np.nan}, {"low": np.nan}])
def test_refuses(options):
    with pytest.raises(ValueError, match=r"Clipped\((low|high)="):
        Clipped(SAW(), **options)
