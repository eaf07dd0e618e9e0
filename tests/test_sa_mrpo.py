"""SAMRPO: reference numbers, the two ends of saturation, and what it refuses."""

import json

import numpy as np
import pytest
from properties import random_batch, signals, weights_of
from test_method_vectors import TWO_GROUPS, VECTORS

from llm_morl_agents.advantages import compute_advantages
from llm_morl_agents.weighters import SAMRPO, Objectives
from llm_morl_agents.weighters.sa_mrpo import saturation


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not at hand")
def test_vectors():
    everything = json.loads(VECTORS.read_text())
    rewards = np.reshape(everything["inputs"]["base"], (8, 3))
    bounds = {"low": np.array(everything["meta"]["reward_min"]), "high": np.array(everything["meta"]["reward_max"])}
    v = everything["peers"]["sa_mrpo_gamma_0p5"]
    np.testing.assert_allclose(saturation(rewards, **bounds), v["saturation"], atol=1e-6)
    weights = weights_of(SAMRPO(gamma=0.5), rewards, TWO_GROUPS, **bounds)
    np.testing.assert_allclose(weights, v["weights"], atol=1e-6)
    pre = compute_advantages(rewards, TWO_GROUPS, method="mo_grpo", weights=weights)
    np.testing.assert_allclose(pre, np.ravel(v["pre"]), atol=1e-6)
    advantage = compute_advantages(rewards, TWO_GROUPS, method="sa_mrpo", **bounds)
    np.testing.assert_allclose(advantage, np.ravel(v["advantage"]), atol=1e-6)


def test_gamma_zero_is_gdpo():
    rewards, group = random_batch(0)
    rewards[:, 1] = 1.0  # saturated, and 0 ** 0 is 1
    np.testing.assert_array_equal(weights_of(SAMRPO(gamma=0.0), rewards, group), np.ones(3))


def test_a_solved_objective_is_off_and_a_hopeless_one_is_not():
    weights = weights_of(SAMRPO(), np.array([[1.0, 0.0, 0.5]] * 4))
    np.testing.assert_allclose(weights, [0.0, 1.0, np.sqrt(0.5)])


def test_an_objective_without_rewards_counts_as_unsaturated():
    rewards = np.array([[np.nan, 0.75], [np.nan, np.nan]])
    np.testing.assert_array_equal(saturation(rewards, np.array([-1.0, 0.0]), np.ones(2)), [0.0, 0.75])


def test_the_unit_of_a_reward_does_not_matter():
    rewards, group = random_batch(1)
    unit, shift = np.array([1e-10, 1.0, 1e10]), np.array([0.0, -5.0, 3.0])
    moved = weights_of(SAMRPO(), (rewards + shift) * unit, group, low=shift * unit, high=(1 + shift) * unit)
    np.testing.assert_allclose(moved, weights_of(SAMRPO(), rewards, group), rtol=1e-6)


@pytest.mark.parametrize("gamma", [-0.1, np.nan, np.inf])
def test_refuses(gamma):
    with pytest.raises(ValueError, match=r"SAMRPO\(gamma=\) must be finite and not negative"):
        SAMRPO(gamma)


def test_needs_bounds_and_rewards_inside_them():
    with pytest.raises(ValueError, match="SAMRPO needs the declared bounds"):
        SAMRPO().init(Objectives(["a"], [0.0], [np.inf]))
    with pytest.raises(ValueError, match="SAMRPO needs the declared bounds"):
        SAMRPO()(signals(np.ones((2, 1)), np.zeros(2, dtype=int), low=np.array([-np.inf])), {})
    with pytest.raises(ValueError, match=r"SAMRPO: reward 2.0 \(row 0, objective 0\) lies outside"):
        weights_of(SAMRPO(), np.full((2, 1), 2.0))
