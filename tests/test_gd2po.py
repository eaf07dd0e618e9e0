"""GD2PO: reference numbers, who is dropped, and what that does to the others."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from properties import batches, random_batch, weights_of
from test_method_vectors import TWO_GROUPS, VECTORS

from llm_morl_agents.advantages import combine_rewards, compute_advantages, group_zscore
from llm_morl_agents.weighters import GD2PO, Weighting
from llm_morl_agents.weighters.gd2po import conflict, signal_to_noise


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())


@pytest.mark.parametrize("case", ["gd2po", "gd2po_two_binary_rewards"])
def test_vectors(vectors, case):
    v = vectors["peers"][case]
    rewards = np.array(v.get("rewards", vectors["inputs"]["base"]))
    rewards = rewards.reshape(8, -1)
    z = group_zscore(rewards, TWO_GROUPS, ddof=1, eps=1e-6)
    np.testing.assert_allclose(z, np.reshape(v["z"], rewards.shape), atol=1e-6)
    np.testing.assert_array_equal(conflict(z), np.ravel(v["conflict"]))
    np.testing.assert_allclose(signal_to_noise(z), np.ravel(v["snr"]), atol=1e-6)
    for mode, prefix, keep in (("hard", "hard", "hard_keep"), ("snr", "snr", "snr_tau_0p8_keep")):
        if keep not in v:
            continue
        weights = weights_of(GD2PO(mode=mode), rewards, TWO_GROUPS)
        kept = np.ravel(v[keep])
        ratio = np.repeat(v.get(f"{prefix}_group_keep_ratio"), 4)
        np.testing.assert_array_equal(weights, np.broadcast_to((kept * ratio)[:, None], rewards.shape))
        method = {"hard": "gd2po", "snr": "gd2po-snr"}[mode]
        advantage = compute_advantages(rewards, TWO_GROUPS, method=method, numerics="verl")
        np.testing.assert_allclose(advantage, np.ravel(v[f"{prefix}_advantage"]), atol=1e-6)


@given(batch=batches())
@settings(max_examples=50, deadline=None)
def test_dropped_responses_have_both_signs(batch):
    rewards, group = batch
    hard = weights_of(GD2PO(), rewards, group).any(axis=1)
    for i, kept in enumerate(hard):
        members = rewards[group == group[i]]
        above, below = rewards[i] - members.mean(axis=0) > 1e-9, rewards[i] - members.mean(axis=0) < -1e-9
        assert kept == (not (above.any() and below.any()))
    snr = weights_of(GD2PO(mode="snr"), rewards, group).any(axis=1)
    assert (snr >= hard).all()  # the ratio only lets some of the conflicting ones stay


def test_tau_spans_from_all_to_hard():
    rewards, group = random_batch(0)
    assert weights_of(GD2PO(mode="snr", tau=0.0), rewards, group).all()
    hard = weights_of(GD2PO(), rewards, group)
    np.testing.assert_array_equal(weights_of(GD2PO(mode="snr", tau=1.0), rewards, group), hard)


def test_an_objective_of_no_preference_vetoes_nothing():
    rewards, group = random_batch(1)
    with_third = weights_of(GD2PO(), rewards, group, preference=np.array([1.0, 2.0, 0.0]))
    without = weights_of(GD2PO(), rewards[:, :2], group, preference=np.array([1.0, 2.0]))
    np.testing.assert_array_equal(with_third, np.column_stack([without, np.zeros(len(group))]))


def test_the_preference_enters_the_ratio_by_its_proportions_alone():
    rewards, group = random_batch(2)
    preference = np.array([1.0, 20.0, 1.0])
    plain = weights_of(GD2PO(mode="snr"), rewards, group)
    favoured = weights_of(GD2PO(mode="snr"), rewards, group, preference=preference)
    assert favoured.any(axis=1).sum() > plain.any(axis=1).sum()  # one objective speaks for nearly all of the sum
    tiny = weights_of(GD2PO(mode="snr"), rewards, group, preference=1e-12 * preference)
    np.testing.assert_allclose(tiny, 1e-12 * favoured, rtol=1e-12)


def test_the_ratio_is_of_the_responses_that_have_rewards():
    rewards = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(weights_of(GD2PO(), rewards)[:, 0], [0.5, 0.5, 0, 0, 0])


def test_at_reward_level_the_kept_are_compared_with_each_other():
    rewards, group = random_batch(3, k=2, sizes=(8, 12))
    weights = weights_of(GD2PO(), rewards, group, level="reward")
    kept = weights.any(axis=1)
    assert kept.any()
    assert not kept.all()
    got = combine_rewards(group_zscore)(rewards, group, Weighting(weights))
    alone = combine_rewards(group_zscore)(rewards[kept], group[kept], Weighting(np.ones(2)))
    np.testing.assert_allclose(got[kept], alone, atol=1e-12)
    np.testing.assert_array_equal(got[~kept], 0.0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "soft"}, r"GD2PO\(mode=\) must be one of \('hard', 'snr'\), got 'soft'"),
        ({"tau": 1.5}, r"GD2PO\(tau=\) must lie in \[0, 1\]"),
        ({"tau": np.nan}, r"GD2PO\(tau=\) must lie in \[0, 1\]"),
        ({"eps": 0.0}, r"GD2PO\(eps=\) must be positive"),
        ({"eps": np.inf}, r"GD2PO\(eps=\) must be positive"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        GD2PO(**options)
