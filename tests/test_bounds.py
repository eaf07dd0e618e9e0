"""Rewards on the scale of their bounds: rounding is forgiven, anything else is not."""

import numpy as np
import pytest

from llm_morl_agents.weighters.bounds import check_bounds, unit_interval


def test_unit_interval():
    rewards = np.array([[-3.0, np.nan], [3.0, 0.25]])
    got = unit_interval("mine", rewards, np.array([-3.0, 0.0]), np.array([3.0, 0.5]))
    np.testing.assert_array_equal(got, [[0.0, np.nan], [1.0, 0.5]])


def test_rounding_is_taken_as_the_bound():
    bound = np.array([0.1])
    float32 = np.array([[np.float32(0.1)]], dtype=np.float64)  # 1.5e-9 above
    assert float32 > bound
    np.testing.assert_array_equal(unit_interval("mine", float32, bound - 1, bound), 1.0)
    np.testing.assert_array_equal(unit_interval("mine", -float32, -bound, 1 - bound), 0.0)


@pytest.mark.parametrize("reward", [-0.01, 1.01])
def test_a_reward_outside_is_named(reward):
    rewards = np.array([[0.5, 0.5], [0.5, reward]])
    with pytest.raises(ValueError, match=rf"mine: reward {reward} \(row 1, objective 1\) lies outside .* \[0.0, 1.0\]"):
        unit_interval("mine", rewards, np.zeros(2), np.ones(2))


@pytest.mark.parametrize(("low", "high"), [(-np.inf, 1.0), (0.0, np.inf), (-np.inf, np.inf)])
def test_bounds_must_be_declared(low, high):
    with pytest.raises(ValueError, match="mine needs the declared bounds of every objective"):
        check_bounds("mine", np.array([0.0, low]), np.array([1.0, high]))


def test_bounds_must_enclose_something():
    with pytest.raises(ValueError, match="mine: every low must be below its high"):
        check_bounds("mine", np.zeros(2), np.array([1.0, 0.0]))
