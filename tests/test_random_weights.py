"""RandomWeights: the distribution, and a stream keyed by seed and step."""

import numpy as np
import pytest
from properties import random_batch, run_weighter, weights_of

from llm_morl_agents.weighters import RandomWeights

BATCH = random_batch(0)


def draws(weighter, n=400):
    return np.array(run_weighter(weighter, [BATCH] * n)[0])


@pytest.mark.parametrize("concentration", [0.2, 1.0, 20.0])
def test_distribution(concentration):
    weights = draws(RandomWeights(concentration=concentration))
    np.testing.assert_allclose(weights.sum(axis=1), 3.0)
    variance = 2 / (3 * concentration + 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=4 * np.sqrt(variance / len(weights)))
    np.testing.assert_allclose(weights.var(axis=0), variance, rtol=0.35)


def test_stream():
    weights = draws(RandomWeights(seed=3), 5)
    np.testing.assert_array_equal(weights, draws(RandomWeights(seed=3), 5))
    assert len(np.unique(weights[:, 0])) == 5
    assert not np.allclose(weights, draws(RandomWeights(seed=4), 5))
    np.testing.assert_array_equal(weights_of(RandomWeights(seed=3), *BATCH, step=4), weights[4])


def test_extreme_concentrations():
    near_even = weights_of(RandomWeights(concentration=1e9), *BATCH)
    np.testing.assert_allclose(near_even, 1.0, atol=1e-3)
    assert np.isfinite(draws(RandomWeights(concentration=1e-6), 20)).all()


@pytest.mark.parametrize("options", [{"concentration": 0}, {"concentration": np.inf}, {"seed": -1}, {"seed": 0.0}])
def test_refuses(options):
    with pytest.raises(ValueError, match=r"RandomWeights\((concentration|seed)="):
        RandomWeights(**options)
