"""ENCORE: the entropy against its definition, the weights against the formula, and what it refuses."""

import numpy as np
import pytest
from properties import random_batch, weights_of

from llm_morl_agents.weighters import ENCORE, Objectives
from llm_morl_agents.weighters.encore import rating_entropy


def test_entropy_of_known_distributions():
    ratings = np.array([[0, 0, 5], [1, 0, 5], [2, 0, 5], [3, 1, 5]])
    valid = np.ones((4, 3), dtype=bool)
    expected = [np.log(4), 0.75 * np.log(4 / 3) + 0.25 * np.log(4), 0.0]
    np.testing.assert_allclose(rating_entropy(ratings, valid), expected)
    valid[2:, 0] = False
    valid[:, 2] = False
    expected[0], expected[2] = np.log(2), 0.0
    np.testing.assert_allclose(rating_entropy(ratings, valid), expected)


@pytest.mark.parametrize(("level", "total"), [("reward", 1.0), ("advantage", 3.0)])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_weights_are_a_softmin_of_the_entropy(level, total, tau):
    rewards = np.array([[0.0, 0.05, 1.0], [1.0, 0.35, 1.0], [0.0, 0.65, 1.0], [1.0, 0.95, 1.0]])
    raw = np.exp(-np.array([np.log(2), np.log(4), 0.0]) / tau)
    got = weights_of(ENCORE(tau=tau), rewards, level=level)
    np.testing.assert_allclose(got, total * raw / raw.sum())


def test_a_rating_scale_keeps_its_levels_apart():
    """Tenths are not exact in binary: each stands on the edge of its bin, whichever side rounding puts it."""
    tenths = (np.arange(10) / 10)[:, None]
    for rewards in (tenths, 0.1 * np.arange(10)[:, None], tenths.astype(np.float32).astype(float)):
        two = np.column_stack([rewards, np.zeros(10)])
        share = weights_of(ENCORE(), two, level="reward")
        np.testing.assert_allclose(share[0] / share[1], np.exp(-np.log(10) / 2))


def test_bins_follow_the_bounds():
    rewards = np.array([[-3.0, 0.0], [-2.9, 0.0], [3.0, 0.0], [2.9, 0.0]])
    bounds = {"low": np.array([-3.0, 0.0]), "high": np.array([3.0, 1.0])}
    weights = weights_of(ENCORE(tau=1.0), rewards, level="reward", **bounds)
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3])  # two ratings of one half each: exp(-log 2)


def test_distinct_values_need_no_bounds():
    rewards = np.array([[-7.0, 0.0], [120.0, 0.0]])
    undeclared = {"low": np.full(2, -np.inf), "high": np.full(2, np.inf)}
    weights = weights_of(ENCORE(tau=1.0, bins=None), rewards, level="reward", **undeclared)
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3])


def test_a_large_temperature_is_equal_weights():
    np.testing.assert_allclose(weights_of(ENCORE(tau=1e9), *random_batch(0)), 1.0, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tau": 0.0}, r"ENCORE\(tau=\) must be positive"),
        ({"tau": np.inf}, r"ENCORE\(tau=\) must be positive"),
        ({"bins": 1}, r"ENCORE\(bins=\) must be an int of at least 2, or None, got 1"),
        ({"bins": 2.5}, r"ENCORE\(bins=\) must be an int"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        ENCORE(**options)


def test_needs_bounds_for_bins():
    undeclared = Objectives(["a"], [0.0], [np.inf])
    with pytest.raises(ValueError, match=r"ENCORE\(bins=\) needs the declared bounds"):
        ENCORE().init(undeclared)
    assert ENCORE(bins=None).init(undeclared) == {}
    with pytest.raises(ValueError, match=r"ENCORE\(bins=\): reward 2.0 \(row 0, objective 0\) lies outside"):
        weights_of(ENCORE(), np.full((2, 1), 2.0))
