"""Floored: the floor, the sum, and what the preference means for both."""

import numpy as np
import pytest
from properties import decide, random_batch, weights_of

from llm_morl_agents.weighters import SAW, DVAOWeights, Floored, Static


@pytest.mark.parametrize("inner", [SAW(), DVAOWeights(), Static([0, 0, 1])])
@pytest.mark.parametrize("preference", [np.ones(3), np.array([0.5, 2.0, 0.0])])
@pytest.mark.parametrize("floor", [0.0, 0.3, 1.0])
def test_floor_and_sum(inner, preference, floor):
    rewards, group = random_batch(0)
    rewards[:, 1] = 0.5  # no signal
    plain = weights_of(inner, rewards, group, preference=preference)
    floored = weights_of(Floored(inner, floor=floor), rewards, group, preference=preference)
    even = plain.sum(axis=-1, keepdims=True) * preference / preference.sum()
    np.testing.assert_allclose(floored.sum(axis=-1), plain.sum(axis=-1), rtol=1e-12)
    assert (floored >= floor * even * (1 - 1e-12)).all()
    if floor in (0.0, 1.0):
        np.testing.assert_allclose(floored, even if floor else plain, rtol=1e-12)
    np.testing.assert_array_equal(floored[..., preference == 0], 0.0)


def test_a_group_without_weight_stays_so():
    rewards = np.array([[0.5, 0.5], [0.5, 0.5], [0.0, 0.5], [1.0, 0.5]])
    weighting, _ = decide(Floored(DVAOWeights(), floor=0.2), rewards, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(weighting.weights, [[0, 0], [0.9, 0.1]])


@pytest.mark.parametrize("floor", [-0.1, 1.1, np.nan])
def test_refuses(floor):
    with pytest.raises(ValueError, match=r"Floored\(floor="):
        Floored(SAW(), floor=floor)
