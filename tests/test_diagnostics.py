"""Batch diagnostics: shares that add up, spreads and flat groups by reference value."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from properties import batches, random_batch, signals

from llm_morl_agents.advantages import (
    METHODS,
    NUMERICS,
    Estimator,
    batch_centred,
    batch_whitened,
    combine_advantages,
    combine_rewards,
    group_zscore,
    leave_one_out,
    mean_centred,
)
from llm_morl_agents.diagnostics import advantage_share, within_group_std, zero_variance_share
from llm_morl_agents.weighters import SAW, CorrGRPO, Static, Weighting


def estimator_of(method, numerics="default", nan="raise"):
    recipe = METHODS[method]
    return Estimator(recipe.base, recipe.level, recipe.whiten, numerics=NUMERICS[numerics], nan=nan)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("numerics", NUMERICS)
@given(batch=batches())
@settings(max_examples=15, deadline=None)
def test_shares_sum_to_one_or_zero(method, numerics, batch):
    rewards, group = batch
    weighter = METHODS[method].weighter
    if isinstance(weighter, CorrGRPO):  # divides by the std of the very numerics that the estimator follows
        weighter = replace(weighter, numerics=numerics)
    weighting, _ = weighter(signals(rewards, group, level=METHODS[method].level), {})
    estimator = estimator_of(method, numerics)
    lengths = 1.0 + np.arange(len(group)) % 5
    share = advantage_share(rewards, group, weighting, estimator, lengths=lengths)
    # Without the scale, which may make an advantage as small as it likes.
    advantage = estimator(rewards, group, Weighting(weighting.weights), lengths=lengths)
    total = float((advantage**2).sum() > 1e-20)
    assert share.sum() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("method", ["grpo", "ac", "gdpo", "dr_grpo", "reinforce++"])
def test_share_is_the_parts_of_the_sum(method):
    """Against the definition: A_i = sum_k c_ik, share_k = sum_i A_i c_ik / sum_i A_i^2."""
    rewards, group = random_batch(0)
    weights = np.array([1.0, 2.0, 0.5])
    row = np.unique(group, return_inverse=True)[1]
    per_group = [np.flatnonzero(row == p) for p in range(5)]
    parts = np.zeros_like(rewards)
    for members in per_group:
        centred = rewards[members] - rewards[members].mean(axis=0)
        if method in ("ac", "gdpo"):
            parts[members] = weights * centred / rewards[members].std(axis=0)
        else:
            std = 1.0 if method == "dr_grpo" else (rewards[members] @ weights).std()
            parts[members] = weights * centred / std
    if method == "gdpo":
        parts /= parts.sum(axis=1).std()
    if method == "reinforce++":
        parts = weights * (rewards - rewards.mean(axis=0)) / (rewards @ weights).std()
    estimator = estimator_of(method)
    advantage = estimator(rewards, group, Weighting(weights))
    np.testing.assert_allclose(parts.sum(axis=1), advantage, atol=1e-12)
    expected = (advantage[:, None] * parts).sum(axis=0) / (advantage**2).sum()
    np.testing.assert_allclose(advantage_share(rewards, group, Weighting(weights), estimator), expected, atol=1e-12)


def test_masked_responses_have_no_part_in_the_whitening_either():
    rewards, group = random_batch(0)
    weighting, _ = METHODS["gd2po"].weighter(signals(rewards, group), {})
    kept = weighting.weights.any(axis=1)
    assert 2 < kept.sum() < len(group)
    parts = (weighting.weights * group_zscore(rewards, group))[kept]
    parts = (parts - parts.mean(axis=0)) / parts.sum(axis=1).std()
    estimator = estimator_of("gd2po")
    advantage = estimator(rewards, group, weighting)[kept]
    np.testing.assert_allclose(parts.sum(axis=1), advantage, atol=1e-12)
    expected = (advantage[:, None] * parts).sum(axis=0) / (advantage**2).sum()
    np.testing.assert_allclose(advantage_share(rewards, group, weighting, estimator), expected, atol=1e-12)


def test_an_objective_that_loses_has_a_negative_share():
    x = np.linspace(0, 1, 8)
    share = advantage_share(
        np.stack([x, -0.3 * x], axis=1), np.zeros(8, dtype=int), Weighting(np.ones(2)), estimator_of("grpo")
    )
    np.testing.assert_allclose(share, [1 / 0.7, -0.3 / 0.7])


def test_an_unweighted_or_constant_objective_has_no_share():
    rewards, group = random_batch(1)
    rewards[:, 2] = 0.35
    for method in ("grpo", "gdpo"):
        share = advantage_share(rewards, group, Weighting(np.array([0.0, 1.0, 1.0])), estimator_of(method))
        np.testing.assert_allclose(share, [0, 1, 0], atol=1e-12)


def test_scale_and_missing_rewards_keep_the_sum():
    rewards, group = random_batch(2)
    rewards[[1, 4], [0, 2]] = np.nan
    rewards[7] = np.nan
    scale = np.random.default_rng(0).random(len(group))
    for method in ("grpo", "gdpo", "reinforce++-baseline", "rloo"):
        estimator = estimator_of(method, nan="ignore")
        share = advantage_share(rewards, group, Weighting(np.ones(3), scale), estimator)
        assert share.sum() == pytest.approx(1)


def test_saw_weights_shift_the_share_to_the_spread_objective():
    rng = np.random.default_rng(0)
    rewards = np.stack([0.9 + 0.02 * rng.random(40), (rng.random(40) < 0.2).astype(float)], axis=1)
    group = np.repeat(np.arange(5), 8)
    shares = [
        advantage_share(rewards, group, weighter(signals(rewards, group), {})[0], estimator_of("gdpo"))[1]
        for weighter in (Static(), SAW())
    ]
    assert shares[1] > 0.95 > shares[0]


def test_spread_and_flat_groups():
    rewards = np.array([[0.0, 0.35], [2.0, 0.35], [5.0, 0.35], [5.0, 0.35], [5.0, 0.35]])
    group = np.array([3, 3, 1, 1, 1])
    np.testing.assert_allclose(within_group_std(rewards, group), [0.5, 0.0], atol=1e-15)
    np.testing.assert_array_equal(zero_variance_share(rewards, group), [0.5, 1.0])
    rewards[0, 0] = np.nan
    np.testing.assert_array_equal(zero_variance_share(rewards, group), [1.0, 1.0])


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize("size", [5, 6, 7, 10, 12, 24])
def test_flat_groups_are_seen_at_every_scale(scale, size):
    constant = np.full((2 * size, 1), 0.35 * scale)
    group = np.repeat([0, 1], size)
    assert zero_variance_share(constant, group) == 1.0
    varied = constant + scale * 1e-3 * np.arange(2 * size)[:, None]
    assert zero_variance_share(varied, group) == 0.0


def test_an_empty_batch():
    empty, none = np.zeros((0, 2)), np.zeros(0, dtype=int)
    np.testing.assert_array_equal(within_group_std(empty, none), [0, 0])
    np.testing.assert_array_equal(zero_variance_share(empty, none), [0, 0])


@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
@pytest.mark.parametrize("base", [group_zscore, mean_centred, leave_one_out, batch_centred, batch_whitened])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("combine", [combine_rewards, combine_advantages])
def test_missing_responses_are_as_if_absent(combine, base, whiten):
    rewards, group = random_batch(1)
    rewards[:, 0] += 3
    missing = np.isin(np.arange(len(group)), [0, 3, 5])
    estimator, patchy = combine(base, whiten=whiten, nan="ignore"), np.where(missing[:, None], np.nan, rewards)
    weighting = Weighting(np.ones(3))
    np.testing.assert_allclose(
        advantage_share(patchy, group, weighting, estimator),
        advantage_share(rewards[~missing], group[~missing], weighting, estimator),
        rtol=1e-9,
    )


def test_parts_that_cancel_leave_nothing_to_share():
    rewards, group = np.array([[0.0, 0.5], [0.0, 0.5], [0.5, 0.0]]), np.zeros(3, dtype=int)
    share = advantage_share(rewards, group, Weighting(np.ones(2)), combine_advantages(group_zscore))
    np.testing.assert_array_equal(share, 0.0)


def test_residue_that_parity_keeps_is_shared():
    """Under verl the epsilon leaves a residue of 1e-6, which its whitening blows up to an advantage."""
    rewards, group = np.array([[0.0, 0.35], [0.35, 0.1]]), np.zeros(2, dtype=int)
    estimator = estimator_of("gdpo", "verl")
    assert np.abs(estimator(rewards, group, Weighting(np.ones(2)))).max() > 1e-3
    assert advantage_share(rewards, group, Weighting(np.ones(2)), estimator).sum() == pytest.approx(1.0)
