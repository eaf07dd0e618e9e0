"""CorrGRPO: reference numbers, the denominator against the correlation matrix, and the guard."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from properties import SCALES, batches, decide, random_batch
from test_method_vectors import TWO_GROUPS, VECTORS

from llm_morl_agents.advantages import NUMERICS, combine_advantages, combine_rewards, compute_advantages, group_zscore
from llm_morl_agents.bases import Numerics
from llm_morl_agents.weighters import CorrGRPO, Weighting
from llm_morl_agents.weighters.corr_grpo import correlation_denominator

PAPER = CorrGRPO(max_scale=None)
OPPOSED = np.array([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, 0.5]])


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())


def scaled(weighter, rewards, group=None, numerics="default", level="reward", lengths=None, **kwargs):
    """Advantages of GRPO (reward level) or GDPO (advantage level) with the weighter."""
    group = np.zeros(len(rewards), dtype=int) if group is None else group
    weighting, _ = decide(weighter, rewards, group, level=level, **kwargs)
    compose = combine_rewards(group_zscore, numerics=numerics)
    if level == "advantage":
        compose = combine_advantages(group_zscore, whiten=True, numerics=numerics)
    return compose(rewards, group, weighting, lengths=lengths)


def test_vectors_of_groups(vectors):
    v = vectors["peers"]["corr_grpo"]
    for case, key in (
        ("base", "advantage"),
        ("zero_variance_objective_in_one_group",) * 2,
        ("constant_group",) * 2,
        ("all_constant",) * 2,
    ):
        rewards = np.reshape(vectors["inputs"][case], (8, 3))
        for numerics in NUMERICS:
            got = scaled(CorrGRPO(max_scale=None, numerics=numerics), rewards, TWO_GROUPS, numerics=numerics)
            np.testing.assert_allclose(got, np.ravel(v[key]), atol=1e-6, err_msg=f"{case} {numerics}")
    base = np.reshape(vectors["inputs"]["base"], (8, 3))
    np.testing.assert_allclose(correlation_denominator(base, TWO_GROUPS, np.ones(3)), v["denominator"], atol=1e-6)
    opposed = np.reshape(v["anticorrelated_rewards"], (4, 2))
    np.testing.assert_array_equal(opposed, OPPOSED)
    np.testing.assert_allclose(scaled(PAPER, opposed), np.ravel(v["anticorrelated_advantage"]), atol=1e-6)


def test_vectors_of_the_gdpo_form(vectors):
    v, rewards = vectors["peers"]["corr_grpo"], np.reshape(vectors["inputs"]["base"], (8, 3))
    weighter = CorrGRPO(max_scale=None, numerics="verl")
    samples = scaled(weighter, rewards, TWO_GROUPS, numerics="verl", level="advantage")
    np.testing.assert_allclose(samples, np.ravel(v["corr_gdpo_sample_mean"]), atol=1e-6)
    table = compute_advantages(rewards, TWO_GROUPS, method="corr_gdpo", numerics="verl")
    np.testing.assert_allclose(table, samples, atol=1e-12)  # far below the guard
    # The token mean: the weighted z-scores over the same denominator, centred by lengths.
    lengths = np.ravel(vectors["meta"]["lengths_tokens"])
    z = group_zscore(rewards, TWO_GROUPS, numerics=NUMERICS["verl"])
    total = z.sum(axis=1)
    centred = total - np.average(total, weights=lengths)
    tokens = centred / correlation_denominator(z, np.zeros(8, dtype=int), np.ones(3))
    np.testing.assert_allclose(tokens, np.ravel(v["corr_gdpo_token_mean"]), atol=1e-6)
    whitened = scaled(weighter, rewards, TWO_GROUPS, numerics="verl", level="advantage", lengths=lengths)
    ratio = whitened / tokens  # one factor apart: the estimator divides by the std of tokens
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


@given(batch=batches())
@settings(max_examples=100, deadline=None)
def test_denominator_is_the_sum_of_the_correlation_matrix(batch):
    rewards, group = batch
    weights = 0.5 + np.arange(rewards.shape[1])
    row = np.unique(group, return_inverse=True)[1]
    got = correlation_denominator(rewards, row, weights)
    for p, label in enumerate(np.unique(group)):
        weighted = weights * rewards[group == label]
        weighted = weighted[:, np.ptp(weighted, axis=0) > 0]
        total = np.sum(np.corrcoef(weighted.T)) if weighted.shape[1] else 0.0
        np.testing.assert_allclose(got[p], np.sqrt(max(total, 0.0) + 1e-6), atol=1e-7)


def test_a_group_keeps_the_direction_of_grpo():
    rewards, group = random_batch(0)
    preference = np.array([1.0, 0.5, 2.0])
    grpo = compute_advantages(rewards, group, method="grpo", weights=preference)
    weighting, _ = decide(PAPER, rewards, group, level="reward", preference=preference)
    np.testing.assert_array_equal(weighting.weights, preference)
    row = np.unique(group, return_inverse=True)[1]
    np.testing.assert_allclose(scaled(PAPER, rewards, group, preference=preference), weighting.scale[row] * grpo)
    centred = rewards @ preference - np.array([(rewards[group == g] @ preference).mean() for g in group])
    denominator = correlation_denominator(rewards, row, preference)[row]
    np.testing.assert_allclose(scaled(PAPER, rewards, group, preference=preference), centred / denominator)


@pytest.mark.parametrize("unit", SCALES)
def test_the_guard(unit):
    """Opposed rewards: 250 under the paper's formula, 3 times the scale of unrelated objectives with the guard."""
    sign = np.array([1, -1, 1, -1])
    np.testing.assert_allclose(scaled(PAPER, unit * OPPOSED), 250 * unit * sign, rtol=1e-9)
    unrelated = unit * np.sqrt((0.5**2 + 0.25**2) / 2)
    np.testing.assert_allclose(scaled(CorrGRPO(), unit * OPPOSED), 3 * unrelated * sign)
    np.testing.assert_allclose(scaled(CorrGRPO(max_scale=1.0), unit * OPPOSED), unrelated * sign)


def test_unrelated_and_equal_objectives_are_where_the_guard_counts_from():
    unrelated = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [1.0, 0.5]])
    for rewards in (unrelated, unrelated[:, [0, 0]]):
        weighting, _ = decide(PAPER, rewards, level="reward")
        np.testing.assert_allclose(weighting.scale, np.sqrt(np.mean(rewards.std(axis=0) ** 2)), rtol=1e-5)
        np.testing.assert_allclose(decide(CorrGRPO(), rewards, level="reward")[0].scale, weighting.scale)


def test_batches_without_correlation_to_speak_of_are_far_from_the_guard():
    for seed in range(20):
        batch = random_batch(seed, sizes=(6, 9))
        np.testing.assert_array_equal(scaled(CorrGRPO(), *batch), scaled(PAPER, *batch))


def test_a_switched_off_objective_has_no_part():
    rewards, group = random_batch(1)
    off = scaled(CorrGRPO(), rewards, group, preference=np.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(off, scaled(CorrGRPO(), rewards[:, :2], group, preference=np.array([1.0, 2.0])))


@pytest.mark.parametrize("level", ["reward", "advantage"])
def test_nothing_varies(level):
    weighting, _ = decide(CorrGRPO(), np.full((5, 2), 0.35), level=level)
    np.testing.assert_array_equal(weighting.scale, 0.0)


def test_whitening_afterwards_leaves_the_scale():
    """`scale` acts after everything: GRPO's variant with batch whitening differs from it by the groups' sizes alone."""
    rewards, group = random_batch(2)
    weighting, _ = decide(CorrGRPO(), rewards, group, level="reward")
    estimator = combine_rewards(group_zscore, whiten=True)
    row = np.unique(group, return_inverse=True)[1]
    plain = estimator(rewards, group, Weighting(weighting.weights))
    np.testing.assert_allclose(estimator(rewards, group, weighting), plain * weighting.scale[row])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_scale": 0.0}, r"CorrGRPO\(max_scale=\) must be positive and finite or None, got 0.0"),
        ({"max_scale": np.inf}, r"CorrGRPO\(max_scale=\) must be positive"),
        ({"eps": 0.0}, r"CorrGRPO\(eps=\) must be positive"),
        ({"numerics": "jax"}, r"CorrGRPO\(numerics=\) must be one of \['default', 'trl', 'verl'\] or a Numerics"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        CorrGRPO(**options)


def test_numerics_may_be_constants():
    rewards, group = random_batch(3)
    constants = Numerics(ddof=1, eps=0.1)
    got = scaled(CorrGRPO(max_scale=None, numerics=constants), rewards, group, numerics=constants)
    np.testing.assert_allclose(got, scaled(PAPER, rewards, group))
