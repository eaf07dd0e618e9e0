"""RVPO: the published numbers, the soft minimum's limits and stability, the annealing."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from properties import random_batch, signals

from llm_morl_agents.advantages import Numerics, combine_advantages, group_zscore
from llm_morl_agents.weighters import RVPO, SoftMinimum

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
GROUP = np.repeat([0, 1], 4)


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())


def test_soft_minimum_vectors(vectors):
    v = vectors["peers"]["rvpo_softmin_k2"]
    z, ones = np.reshape(v["z"], (8, 3)), np.ones((8, 3))
    keys = {2.0: "softmin", 0.0: "softmin_k_to_0_equals_mean", 1e-9: "softmin_k_to_0_equals_mean", np.inf: "hard_min"}
    for kappa, key in keys.items():
        np.testing.assert_allclose(SoftMinimum(kappa)(z, ones), np.ravel(v[key]), atol=1e-6, err_msg=key)


def test_advantage_vectors(vectors):
    """From the rewards to the whitened advantage, with the constants that made the vector."""
    v = vectors["peers"]["rvpo_softmin_k2"]
    rewards = np.reshape(vectors["inputs"]["base"], (8, 3))
    numerics = Numerics(ddof=1, eps=1e-6, whiten_ddof=1)
    z = group_zscore(rewards, GROUP, numerics=numerics)
    np.testing.assert_allclose(z, np.reshape(v["z"], (8, 3)), atol=1e-6)
    weighting, _ = RVPO()(signals(rewards, GROUP, step=100, low=np.full(3, -3.0), high=np.full(3, 3.0)), {})
    advantages = combine_advantages(group_zscore, whiten=True, numerics=numerics)(rewards, GROUP, weighting)
    np.testing.assert_allclose(advantages, np.ravel(v["advantage_sample_whitened"]), atol=1e-6)


@pytest.mark.parametrize("kappa", [1e-12, 1e-3, 0.5, 2.0, 50.0])
def test_between_mean_and_worst_and_falling(kappa):
    values = np.random.default_rng(0).normal(size=(40, 3))
    weights = np.tile([0.5, 2.0, 1.0], (40, 1))
    got = SoftMinimum(kappa)(values, weights)
    mean = values @ weights[0] / weights[0].sum()
    assert (got <= mean + 1e-12).all()
    assert (got >= values.min(axis=1)).all()
    assert (SoftMinimum(2 * kappa)(values, weights) <= got + 1e-12).all()
    direct = -np.log(np.exp(-kappa * values) @ weights[0] / weights[0].sum()) / kappa
    np.testing.assert_allclose(got, direct, rtol=1e-9, atol=1e-12 + 1e-15 / kappa)


@pytest.mark.parametrize("kappa", [0.0, 1e-12, 2.0, 1e6, np.inf])
def test_extreme_values_stay_finite(kappa):
    values = np.array([[1e8, -1e8], [-1e8, -1e8], [0.0, 0.0], [1e-10, 2e-10]])
    got = SoftMinimum(kappa)(values, np.ones((4, 2)))
    assert np.isfinite(got).all()
    assert got[1] == pytest.approx(-1e8)
    assert got[2] == 0.0
    if kappa >= 2:
        np.testing.assert_allclose(got[:2], -1e8, rtol=1e-6)
    tiny = SoftMinimum(2.0)(np.array([[0.0, 1000.0]]), np.array([[1e-30, 1.0]]))
    assert tiny.item() == pytest.approx(-np.log(1e-30) / 2)  # a hardly weighted worst value


def test_weights_are_shares():
    values, weights = np.array([[0.3, -1.0, 2.0]]), np.array([[1.0, 0.0, 3.0]])
    combiner = SoftMinimum(2.0)
    np.testing.assert_allclose(combiner(values, 7 * weights), combiner(values, weights), rtol=1e-12)
    np.testing.assert_allclose(combiner(values, weights), combiner(values[:, ::2], weights[:, ::2]), rtol=1e-12)
    for kappa in (0.0, 2.0, np.inf):
        np.testing.assert_array_equal(SoftMinimum(kappa)(values, 0 * weights), [0.0])


def test_annealing():
    weighter = RVPO(kappa_start=0.0, kappa_end=3.0, steps=4)
    rewards, group = random_batch(0)
    got = [weighter(signals(rewards, group, step=step), {})[0].combiner for step in (0, 1, 4, 9)]
    assert got == [SoftMinimum(0.0), SoftMinimum(0.75), SoftMinimum(3.0), SoftMinimum(3.0)]
    assert pickle.loads(pickle.dumps(got[1])) == got[1]


def test_at_kappa_zero_it_is_gdpo_with_the_preference():
    rewards, group = random_batch(1)
    preference = np.array([0.5, 2.0, 1.0])
    weighter = RVPO(kappa_start=0.0)
    weighting, _ = weighter(signals(rewards, group, preference=preference), {})
    gdpo = combine_advantages(group_zscore, whiten=True)
    plain = gdpo(rewards, group, type(weighting)(preference))
    np.testing.assert_allclose(gdpo(rewards, group, weighting), plain, rtol=1e-9)


def test_missing_rewards_are_no_zeros():
    """A response whose bad objective is missing is not held at the mean of that objective."""
    rewards = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, np.nan]])
    weighting, _ = RVPO(kappa_start=50.0)(signals(rewards, np.zeros(3, dtype=int), high=np.full(2, 2.0)), {})
    estimator = combine_advantages(group_zscore, nan="ignore")
    assert estimator(rewards, np.zeros(3, dtype=int), weighting)[2] == pytest.approx(np.sqrt(1.5))


@pytest.mark.parametrize(
    "options", [{"kappa_start": -1}, {"kappa_end": np.inf}, {"kappa_end": np.nan}, {"steps": 0}, {"steps": np.nan}]
)
def test_refuses(options):
    with pytest.raises(ValueError, match=r"RVPO\((kappa_start|kappa_end|steps)=\) must be"):
        RVPO(**options)


@pytest.mark.parametrize("kappa", [-1.0, np.nan])
def test_soft_minimum_refuses(kappa):
    with pytest.raises(ValueError, match=r"SoftMinimum\(kappa=\) must be non-negative"):
        SoftMinimum(kappa)
