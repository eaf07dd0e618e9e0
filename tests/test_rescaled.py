"""Rescaled: the total over responses, what it leaves, and the step of an estimator that keeps the scale."""

import numpy as np
import pytest
from properties import decide, random_batch, rows_of_weights, weights_of

from llm_morl_agents.advantages import combine_rewards, leave_one_out
from llm_morl_agents.weighters import GD2PO, SAW, DVAOWeights, Rescaled, Static


@pytest.mark.parametrize("inner", [SAW(), DVAOWeights(), GD2PO(mode="snr", tau=0.1)])
@pytest.mark.parametrize("preference", [np.ones(3), np.array([0.5, 2.0, 0.0])])
@pytest.mark.parametrize(("total", "expected"), [(None, 3.0), (0.7, 0.7)])
def test_total(inner, preference, total, expected):
    rewards, group = random_batch(1)
    rescaled, _ = decide(Rescaled(inner, total=total), rewards, group, preference=preference)
    plain, _ = decide(inner, rewards, group, preference=preference)
    got, _, _ = rows_of_weights(rescaled, rewards, group)
    before, _, _ = rows_of_weights(plain, rewards, group)
    assert got.sum(axis=1).mean() == pytest.approx(expected)
    np.testing.assert_allclose(got * before.sum(), before * got.sum())  # one factor


def test_a_multiple_of_the_weights_makes_the_same_step():
    """RLOO keeps the scale of the weights; under Rescaled it is gone."""
    rewards, group = random_batch(2)
    steps = [
        combine_rewards(leave_one_out)(rewards, group, decide(Rescaled(Static(w)), rewards, group, level="reward")[0])
        for w in ([1, 2, 3], [10, 20, 30])
    ]
    np.testing.assert_allclose(*steps)


def test_nothing_to_rescale():
    flat = np.full((4, 2), 0.5)
    np.testing.assert_array_equal(weights_of(Rescaled(DVAOWeights()), flat), 0.0)
    np.testing.assert_array_equal(weights_of(Rescaled(Static()), np.full((4, 2), np.nan)), 1.0)


@pytest.mark.parametrize("total", [0, -1.0, np.inf, np.nan])
def test_refuses(total):
    with pytest.raises(ValueError, match=r"Rescaled\(total="):
        Rescaled(SAW(), total=total)
