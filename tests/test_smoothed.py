"""Smoothed: the average, and the shapes it refuses."""

import numpy as np
import pytest
from properties import decide, random_batch, run_weighter

from llm_morl_agents.weighters import SAW, DVAOWeights, Smoothed


def test_average():
    steps = [random_batch(seed) for seed in range(4)]
    plain, _ = run_weighter(SAW(), steps)
    expected = [plain[0]]
    for weights in plain[1:]:
        expected.append(0.7 * expected[-1] + 0.3 * weights)
    smoothed, state = run_weighter(Smoothed(SAW(), decay=0.7), steps)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-12)
    np.testing.assert_array_equal(state["weights"], smoothed[-1])


def test_equals_the_option_of_saw_as_long_as_every_batch_has_signal():
    steps = [random_batch(seed) for seed in range(4)]
    by_option, _ = run_weighter(SAW(ema=0.9), steps)
    np.testing.assert_allclose(run_weighter(Smoothed(SAW()), steps)[0], by_option, rtol=1e-12)


def test_no_decay_changes_nothing():
    steps = [random_batch(seed) for seed in range(3)]
    np.testing.assert_array_equal(run_weighter(Smoothed(SAW(), decay=0), steps)[0], run_weighter(SAW(), steps)[0])


def test_refuses_weights_of_groups():
    with pytest.raises(ValueError, match=r"inner=DVAOWeights\) needs one weight for each objective.*shape \(5, 3\)"):
        decide(Smoothed(DVAOWeights()), *random_batch(0))


@pytest.mark.parametrize("decay", [1.0, -0.1, np.nan])
def test_refuses(decay):
    with pytest.raises(ValueError, match=r"Smoothed\(decay="):
        Smoothed(SAW(), decay=decay)
