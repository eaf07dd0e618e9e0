"""DARA: reference numbers, densities at their ends, and what it refuses."""

import json

import numpy as np
import pytest
from properties import random_batch, weights_of
from test_method_vectors import TWO_GROUPS, VECTORS

from llm_morl_agents.advantages import compute_advantages, group_zscore
from llm_morl_agents.weighters import DARA
from llm_morl_agents.weighters.dara import density


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not at hand")
def test_vectors():
    everything = json.loads(VECTORS.read_text())
    v = everything["peers"]["dara"]
    rewards = np.reshape(everything["inputs"][v["case"]], (8, 3))
    np.testing.assert_allclose(density(rewards, TWO_GROUPS), v["density"], atol=1e-6)
    np.testing.assert_allclose(weights_of(DARA(), rewards, TWO_GROUPS), v["weights"], atol=1e-6)
    for method, key in (("dara", "symmetric_sample_whitened"), ("dara-asymmetric", "asymmetric_sample_whitened")):
        advantage = compute_advantages(rewards, TWO_GROUPS, method=method, numerics="verl")
        np.testing.assert_allclose(advantage, np.ravel(v[key]), atol=1e-6, err_msg=key)


def sparse(groups, alive):
    """Two objectives in groups of two: the first always varies, the second in the first ``alive`` groups."""
    rewards, group = np.zeros((2 * groups, 2)), np.repeat(np.arange(groups), 2)
    rewards[1::2, 0] = 1.0
    rewards[1 : 2 * alive : 2, 1] = 1.0
    return rewards, group


@pytest.mark.parametrize(("alive", "expected"), [(100, 1.0), (25, 2.0), (5, np.sqrt(20)), (4, 5.0), (1, 5.0), (0, 1.0)])
def test_weight_by_density(alive, expected):
    np.testing.assert_allclose(weights_of(DARA(), *sparse(100, alive)), [1.0, expected])


def test_the_weight_makes_the_objectives_equally_large():
    """Its purpose: equal mean squares of the weighted z-scores over the batch, below the cap."""
    rewards, group = sparse(100, 9)
    z = group_zscore(rewards, group) * weights_of(DARA(), rewards, group)
    np.testing.assert_allclose((z**2).mean(axis=0), 1.0)


def test_nothing_varies():
    np.testing.assert_array_equal(weights_of(DARA(), np.ones((4, 2)), np.array([0, 0, 1, 1])), 1.0)


def test_a_switched_off_objective_sets_no_standard():
    rewards, group = sparse(4, 1)
    np.testing.assert_array_equal(weights_of(DARA(), rewards, group, preference=np.array([0.0, 3.0])), [0.0, 3.0])


def test_a_group_without_rewards_is_not_counted():
    rewards, group = sparse(4, 2)
    rewards[group == 3, 1] = np.nan
    np.testing.assert_allclose(density(rewards, group), [1.0, 2 / 3])


def test_asymmetric_amplifies_what_is_above_the_mean():
    rewards, group = sparse(4, 1)
    weights = weights_of(DARA(asymmetric=True), rewards, group)
    expected = np.ones((8, 2))
    expected[1, 1] = 2.0  # the only success of the second objective
    np.testing.assert_allclose(weights, expected)


@pytest.mark.parametrize("max_weight", [0.9, 0.0, np.nan, np.inf])
def test_refuses(max_weight):
    with pytest.raises(ValueError, match=r"DARA\(max_weight=\) must be finite and at least 1"):
        DARA(max_weight)


def test_asymmetric_weighs_no_rewards():
    with pytest.raises(ValueError, match=r"DARA\(asymmetric=True\) weighs advantages .* got level='reward'"):
        weights_of(DARA(asymmetric=True), *random_batch(0), level="reward")
