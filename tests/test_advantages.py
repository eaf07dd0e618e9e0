"""Advantages: properties over all methods and numerics. Reference numbers are in `test_method_vectors`."""

import doctest
import pickle
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from properties import (
    SCALES,
    assert_row_equivariant,
    assert_saturated_is_exactly_zero,
    assert_untouched,
    batches,
    compute,
    random_batch,
)

from llm_morl_agents import advantages as adv
from llm_morl_agents import bases
from llm_morl_agents.advantages import (
    METHODS,
    NUMERICS,
    LoneGroupWarning,
    batch_whitened,
    combine_advantages,
    combine_rewards,
    compute_advantages,
    flat_groups,
    group_zscore,
    leave_one_out,
    mean_centred,
    raw,
)
from llm_morl_agents.weighters import Weighting

GROUP_METHODS = [name for name, method in METHODS.items() if method.base.scope == "group"]
every_method = pytest.mark.parametrize("method", METHODS)
#: Methods under which x and 1 - x do not cancel: no baseline, or weights of their own for each.
WEIGHS_THE_TWO_DIFFERENTLY = {"reinforce", "saw-grpo", "saw-gdpo", "sa_mrpo"}
#: Methods whose weights differ from response to response, so that a group's advantages need not sum to zero.
WEIGHS_RESPONSES = {"gd2po", "gd2po-snr", "dara-asymmetric"}
#: Methods whose advantages carry the unit of the rewards.
KEEPS_SCALE = {"dr_grpo", "rloo", "reinforce", "reinforce-baseline", "corr_grpo"}
every_numerics = pytest.mark.parametrize("numerics", NUMERICS)


@pytest.fixture
def warn_again():
    """The warning about groups of one comes once in a process; a test that expects it starts afresh."""
    adv._warn_lone_group.cache_clear()
    yield
    adv._warn_lone_group.cache_clear()


# ----------------------------------------------------------------------------------------- properties of all methods


@every_method
@every_numerics
def test_finite_and_untouched(method, numerics):
    rewards, group = random_batch(0)
    lengths = np.arange(1.0, len(group) + 1)

    def run(*arrays):
        return compute(arrays[0], arrays[1], method, numerics=numerics, weights=arrays[2], lengths=arrays[3])

    assert_untouched(run, rewards, group, np.array([1.0, 2.0, 0.5]), lengths)
    out = run(rewards, group, np.array([1.0, 2.0, 0.5]), lengths)
    assert out.shape == group.shape
    assert out.dtype == np.float64
    assert np.isfinite(out).all()
    assert out.any()


@every_method
@every_numerics
def test_rows_permute(method, numerics):
    assert_row_equivariant(lambda r, g: compute(r, g, method, numerics=numerics), *random_batch(1))


@every_method
@every_numerics
def test_objectives_permute(method, numerics):
    (rewards, group), weights, order = random_batch(2), np.array([1.0, 0.5, 2.0]), [2, 0, 1]
    np.testing.assert_allclose(
        compute(rewards[:, order], group, method, numerics=numerics, weights=weights[order]),
        compute(rewards, group, method, numerics=numerics, weights=weights),
        atol=1e-12,
    )


@every_method
@every_numerics
def test_group_labels_do_not_matter(method, numerics):
    rewards, group = random_batch(3)
    renamed = np.unique(group, return_inverse=True)[1]
    np.testing.assert_array_equal(
        compute(rewards, renamed, method, numerics=numerics), compute(rewards, group, method, numerics=numerics)
    )


@pytest.mark.parametrize("method", GROUP_METHODS)
@every_numerics
def test_a_saturated_batch_gives_exactly_zero(method, numerics):
    """Means of 5, 6, 7... equal floats are off by rounding, which a z-score would blow up to unit size."""
    for scale, size, value in product(SCALES, (2, 3, 5, 6, 7, 10, 12, 24), (0.35, 1 / 3, 1.0, 0.0)):
        assert_saturated_is_exactly_zero(
            lambda r, g: compute(r, g, method, numerics=numerics), scale * value, [size, size, size]
        )


@pytest.mark.parametrize("method", GROUP_METHODS)
@every_numerics
def test_every_group_at_its_own_level_gives_exactly_zero(method, numerics):
    """No signal inside any group, although the batch varies."""
    group = np.repeat(np.arange(4), [5, 6, 7, 12])
    levels = np.array([[0.35, 0.1], [0.7, 0.9], [0.35, 1 / 3], [0.0, 0.3]])
    for scale in SCALES:
        np.testing.assert_array_equal(compute(scale * levels[group], group, method, numerics=numerics), 0.0)


@pytest.mark.parametrize("method", ["reinforce-baseline", "reinforce++"])
def test_batch_statistics_are_guarded_too(method):
    for scale, size in product(SCALES, (5, 6, 7, 10, 12, 24)):
        assert_saturated_is_exactly_zero(lambda r, g: compute(r, g, method), scale * 0.35, [size])


@pytest.mark.parametrize("method", [m for m in METHODS if m not in WEIGHS_THE_TWO_DIFFERENTLY])
@pytest.mark.parametrize("size", [5, 6, 7, 10, 24])
def test_cancelling_objectives_give_exactly_zero(method, size):
    """X and 1 - x cancel to rounding, in the rewards and in the z-scores, without any group being flat."""
    x = np.random.default_rng(0).random(3 * size)
    out = compute(np.stack([x, 1 - x], axis=1), np.repeat(np.arange(3), size), method)
    if METHODS[method].level == "advantage" and not METHODS[method].whiten:
        np.testing.assert_allclose(out, 0.0, atol=1e-14)  # nothing divides the residue
    else:
        np.testing.assert_array_equal(out, 0.0)


@pytest.mark.parametrize("method", GROUP_METHODS)
def test_a_flat_group_stays_zero_beside_others(method):
    rewards, group = random_batch(4)
    flat = group == group[0]
    rewards[flat] = [0.35, 0.1, 1 / 3]
    out = compute(rewards, group, method)
    np.testing.assert_array_equal(out[flat], 0.0)
    assert out[~flat].any()


def test_a_flat_group_stays_zero_when_whitening_shifts_the_others():
    """Masks shift the batch mean of the z-scores, so whitening alone would move the flat group off 0."""
    rewards, group = np.array([[0.0], [1.0], [5.0], [5.0], [0.0], [2.0]]), np.array([0, 0, 1, 1, 2, 2])
    mask = Weighting(np.array([[0.0], [1], [1], [1], [1], [1]]))
    out = combine_advantages(group_zscore, whiten=True)(rewards, group, mask)
    np.testing.assert_array_equal(out[[2, 3]], 0.0)
    assert out[0] == 0.0  # a masked response takes no part
    assert out[1] > 0 > out[4]


def test_a_group_is_flat_when_every_objective_of_non_zero_weight_is():
    """The group in the middle varies in the second objective, to which it gives no weight."""
    rewards = np.array([[0, 0.1], [1, 0.2], [5, 0.3], [5, 0.4], [0, 0.5], [2, 0.6]])
    weights = np.array([[0, 1], [1, 1], [1, 0], [1, 0], [1, 1], [1, 1]])
    out = combine_advantages(group_zscore, whiten=True)(rewards, np.array([0, 0, 1, 1, 2, 2]), Weighting(weights))
    np.testing.assert_array_equal(out[[2, 3]], 0.0)
    assert out[[0, 1, 4, 5]].all()


def test_whitening_after_a_group_baseline_is_guarded_by_the_rewards():
    """Differences of 1 beside rewards of 1e8 are below the precision that the guard trusts in the batch."""
    rewards, group = np.array([[1.0], [0.0], [1e8], [1e8]]), np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(compute(rewards, group, "reinforce++-baseline"), 0.0)
    np.testing.assert_array_equal(compute(rewards, group, "grpo"), [1, -1, 0, 0])
    rewards[2:] = 1e3
    np.testing.assert_allclose(compute(rewards, group, "reinforce++-baseline"), np.array([1, -1, 0, 0]) * np.sqrt(2))


@pytest.mark.parametrize("method", GROUP_METHODS)
def test_what_varies_in_an_unweighted_objective_only_is_flat(method):
    rewards, group = random_batch(5)
    rewards[:, 1:] = [0.35, 0.1]
    weights = [0.0, 1.0, 1.0]
    np.testing.assert_array_equal(compute(rewards, group, method, weights=weights), 0.0)


@every_method
def test_scale_of_the_rewards(method):
    """Std methods do not see it, the others are proportional to it. SAW's delta is absolute: 1e-2 and above."""
    rewards, group = random_batch(6)
    saw, keeps_scale = "saw" in method, method in KEEPS_SCALE
    unscaled = compute(rewards, group, method)
    for scale in (1e-2, 1.0, 1e10) if saw else SCALES:
        out = compute(scale * rewards, group, method) / (scale if keeps_scale else 1.0)
        np.testing.assert_allclose(out, unscaled, rtol=1e-9, atol=1e-5 if saw else 1e-9)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
@pytest.mark.parametrize("method", ["grpo", "gdpo", "rc", "dvao", "reinforce++", "reinforce++-baseline", "saw-gdpo"])
def test_a_common_factor_of_the_weights_vanishes(method, factor):
    (rewards, group), weights = random_batch(7), np.array([1.0, 2.0, 0.5])
    np.testing.assert_allclose(
        compute(rewards, group, method, weights=factor * weights),
        compute(rewards, group, method, weights=weights),
        rtol=1e-9,
    )


def test_gdpo_ignores_scale_and_shift_of_each_objective():
    rewards, group = random_batch(8)
    moved = rewards * [1e-3, 10.0, 1e4] + [1e-3, -5.0, 2e4]
    np.testing.assert_allclose(compute(moved, group, "gdpo"), compute(rewards, group, "gdpo"), atol=1e-9)


@pytest.mark.parametrize("method", [m for m in GROUP_METHODS if m not in WEIGHS_RESPONSES])
@given(batch=batches())
@settings(max_examples=25, deadline=None)
def test_every_group_sums_to_zero(method, batch):
    rewards, group = batch
    out = compute(rewards, group, method)
    for label in np.unique(group):
        assert out[group == label].sum() == pytest.approx(0, abs=1e-9)


@given(batch=batches())
@settings(max_examples=100, deadline=None)
def test_group_zscore_is_bounded(batch):
    """|z| <= sqrt(G - 1) for the population std."""
    rewards, group = batch
    sizes = np.bincount(group)[group]
    assert (np.abs(group_zscore(rewards, group)) <= np.sqrt(sizes - 1)[:, None] + 1e-9).all()


@given(batch=batches())
@settings(max_examples=100, deadline=None)
def test_dvao_is_reward_combination_shrunk_by_group(batch):
    """P2 and its reason: A_DVAO = c A_RC with c = std(sum w r) / sum w std in [0, 1]."""
    rewards, group = batch
    weights = 1.0 + np.arange(rewards.shape[1])
    dvao, rc = (compute(rewards, group, method, weights=weights) for method in ("dvao", "rc"))
    assert (np.abs(dvao) <= np.abs(rc) + 1e-9).all()
    for label in np.unique(group):
        inside = group == label
        spread = (weights * rewards[inside].std(axis=0)).sum()
        c = (rewards[inside] @ weights).std() / spread if spread > 1e-9 else 0.0
        np.testing.assert_allclose(dvao[inside], c * rc[inside], atol=1e-9)


@given(batch=batches())
@settings(max_examples=50, deadline=None)
def test_mean_square_of_rc_bounds_that_of_ac(batch):
    """P1, for weights that sum to 1."""
    rewards, group = batch
    weights = np.full(rewards.shape[1], 1 / rewards.shape[1])
    ac, rc = (compute(rewards, group, method, weights=weights) for method in ("ac", "rc"))
    for label in np.unique(group):
        inside = group == label
        if not flat_groups(rewards @ weights, group)[label]:
            assert np.mean(rc[inside] ** 2) == pytest.approx(1)
            assert np.mean(ac[inside] ** 2) <= 1 + 1e-9


@given(batch=batches(max_k=1))
@settings(max_examples=50, deadline=None)
def test_with_one_objective_the_compositions_agree(batch):
    rewards, group = batch
    grpo = compute(rewards, group, "grpo")
    for method in ("rc", "ac", "mo_grpo", "dvao", "saw-grpo"):
        np.testing.assert_allclose(compute(rewards, group, method), grpo, atol=1e-9, err_msg=method)
    np.testing.assert_allclose(compute(rewards, group, "saw-gdpo"), compute(rewards, group, "gdpo"), atol=1e-9)


def test_ragged_interleaved_groups_equal_a_loop_over_groups():
    rewards, group = random_batch(9)
    totals, expected = rewards.sum(axis=1), {name: np.zeros(len(group)) for name in ("grpo", "rloo", "dr_grpo")}
    for i, label in enumerate(group):
        members = totals[group == label]
        others = np.delete(members, np.flatnonzero(np.flatnonzero(group == label) == i))
        expected["grpo"][i] = (totals[i] - members.mean()) / members.std()
        expected["rloo"][i] = totals[i] - others.mean()
        expected["dr_grpo"][i] = totals[i] - members.mean()
    for method, values in expected.items():
        np.testing.assert_allclose(compute(rewards, group, method), values, atol=1e-12, err_msg=method)


def test_a_response_mask_takes_a_whole_group_out_and_a_group_weight_of_zero_does_not():
    """Whitening over the rest, against whitening with the group at 0."""
    rewards, group = random_batch(20)
    out = group == np.unique(group)[1]
    estimator = combine_advantages(group_zscore, whiten=True)
    masked = estimator(rewards, group, Weighting(np.where(out[:, None], 0.0, np.ones(3))))
    np.testing.assert_array_equal(masked[out], 0.0)
    np.testing.assert_allclose(masked[~out], compute(rewards[~out], group[~out], "gdpo"), atol=1e-12)
    per_group = np.ones((5, 3))
    per_group[1] = 0.0
    weighted = estimator(rewards, group, Weighting(per_group))
    np.testing.assert_array_equal(weighted[out], 0.0)
    scores = np.where(out, 0.0, group_zscore(rewards, group).sum(axis=1))
    np.testing.assert_allclose(weighted[~out], ((scores - scores.mean()) / scores.std())[~out], atol=1e-12)


def test_small_real_differences_survive():
    """The guard takes rounding away, not signal: spreads of 1e-4 on values of 1 are normalised as usual."""
    rewards = np.array([[1.0], [1.0001], [1.0002], [0.9999]])
    assert compute(rewards, np.zeros(4, dtype=int), "grpo").std() == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------- groups of one


@pytest.mark.usefixtures("warn_again")
@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
@every_method
def test_groups_of_one(method):
    """Default: 0, except for the raw score of RLOO and for methods that ignore groups."""
    rewards, group = np.array([[2.0, 1.0], [-1.0, 0.5], [0.5, 0.5]]), np.arange(3)
    totals = rewards.sum(axis=1)
    out = compute(rewards, group, method)
    if METHODS[method].base.scope != "group":
        np.testing.assert_allclose(out, compute(rewards, np.zeros(3, dtype=int), method))
    else:
        np.testing.assert_array_equal(out, totals if method == "rloo" else 0.0)


@pytest.mark.usefixtures("warn_again")
@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
def test_groups_of_one_under_verl():
    """Mean 0 and std 1: the raw score, divided by 1 + eps where a std divides."""
    rewards, group = np.array([[2.0, 1.0], [-1.0, 0.5]]), np.arange(2)
    totals = rewards.sum(axis=1)
    for method in ("grpo", "dr_grpo", "rloo", "ac", "rc", "mo_grpo"):
        np.testing.assert_allclose(compute(rewards, group, method, numerics="verl"), totals, rtol=2e-6, err_msg=method)
    np.testing.assert_array_equal(compute(rewards, group, "grpo", numerics="trl"), 0.0)


@pytest.mark.usefixtures("warn_again")
@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
@pytest.mark.parametrize("method", GROUP_METHODS)
def test_a_group_of_one_beside_others(method):
    rewards, group = random_batch(10)
    lone = np.append(group, 999)
    out = compute(np.vstack([rewards, [0.2, 0.4, 0.6]]), lone, method)
    assert out[-1] == (pytest.approx(1.2) if method == "rloo" else 0.0)


@pytest.mark.usefixtures("warn_again")
def test_groups_of_one_warn_once_in_a_process():
    rewards, group = np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 1])
    with pytest.warns(LoneGroupWarning, match="only one response"):
        compute(rewards, group, "grpo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute(rewards, group, "gdpo")
    adv._warn_lone_group.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute(rewards, group, "reinforce++")  # has no groups to be alone in


# ----------------------------------------------------------------------------------------------------- missing rewards


@every_method
@every_numerics
def test_nan_is_an_error_that_names_its_place(method, numerics):
    rewards, group = random_batch(11)
    rewards[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3, objective 1"):
        compute(rewards, group, method, numerics=numerics)


@every_method
@every_numerics
def test_a_response_without_rewards_changes_nothing_for_the_others(method, numerics):
    rewards, group = random_batch(12, sizes=(4, 7))
    absent = np.array([2, 9])
    rewards[absent] = np.nan
    present = np.delete(np.arange(len(group)), absent)
    out = compute(rewards, group, method, numerics=numerics, nan="ignore")
    np.testing.assert_array_equal(out[absent], 0.0)
    np.testing.assert_allclose(out[present], compute(rewards[present], group[present], method, numerics=numerics))


def test_a_missing_reward_is_left_out_and_counts_zero():
    rewards = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 3.0]])
    group = np.zeros(3, dtype=int)
    z = np.sqrt(1.5)
    np.testing.assert_allclose(compute(rewards, group, "ac", nan="ignore"), [-z - 1, 0, z + 1])
    np.testing.assert_allclose(compute(rewards, group, "dr_grpo", nan="ignore"), np.array([1, 1, 5]) - 7 / 3)
    # With the second objective switched off nothing is missing, and with the first one off the second response is.
    np.testing.assert_allclose(compute(rewards, group, "dr_grpo", nan="ignore", weights=[1, 0]), [-1, 0, 1])
    np.testing.assert_allclose(compute(rewards, group, "dr_grpo", nan="ignore", weights=[0, 1]), [-1, 0, 1])


@every_method
def test_all_rewards_missing(method):
    out = compute_advantages(
        np.full((4, 2), np.nan), np.repeat([0, 1], 2), method=method, low=np.zeros(2), high=np.ones(2), nan="ignore"
    )
    np.testing.assert_array_equal(out, 0.0)


# --------------------------------------------------------------------------------------------------- lengths and scale


@every_method
def test_lengths_act_under_verl_whitening_only(method):
    rewards, group = random_batch(13)
    lengths = np.random.default_rng(0).integers(1, 50, size=len(group))
    whitens = METHODS[method].whiten or METHODS[method].base is batch_whitened
    for numerics in NUMERICS:
        plain = compute(rewards, group, method, numerics=numerics)
        with_lengths = compute(rewards, group, method, numerics=numerics, lengths=lengths)
        assert np.array_equal(plain, with_lengths) == (not (whitens and numerics == "verl"))


def test_token_whitening_is_that_of_the_repeated_samples():
    values, lengths = np.array([0.3, -1.0, 2.0]), np.array([2.0, 5.0, 1.0])
    verl, group = NUMERICS["verl"], np.zeros(3, dtype=int)
    tokens = np.repeat(values, lengths.astype(int))
    expected = (tokens - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
    got = batch_whitened(values, group, numerics=verl, lengths=lengths)
    np.testing.assert_allclose(np.repeat(got, lengths.astype(int)), expected)


@pytest.mark.parametrize("scale", [0.5, np.array([2.0, 0.5, 1, 3, 0]), "response"])
@every_method
def test_scale_multiplies_after_normalisation(method, scale):
    rewards, group = random_batch(14)
    scale = np.random.default_rng(0).random(len(group)) if isinstance(scale, str) else scale
    recipe = METHODS[method]
    estimator = adv.Estimator(recipe.base, recipe.level, recipe.whiten)
    plain = estimator(rewards, group, Weighting(np.ones(3)))
    per_response = scale[np.unique(group, return_inverse=True)[1]] if np.size(scale) == 5 else scale
    scaled = estimator(rewards, group, Weighting(np.ones(3), scale))
    np.testing.assert_allclose(scaled, plain * per_response, atol=1e-15)


def test_weights_per_group_and_per_response():
    rewards, group = random_batch(15)
    per_group = np.random.default_rng(0).random((5, 3))
    row = np.unique(group, return_inverse=True)[1]
    for estimator in (combine_rewards(group_zscore), combine_advantages(group_zscore, whiten=True)):
        np.testing.assert_array_equal(
            estimator(rewards, group, Weighting(per_group)), estimator(rewards, group, Weighting(per_group[row]))
        )
    one = group == np.unique(group)[2]
    np.testing.assert_allclose(
        combine_rewards(group_zscore)(rewards, group, Weighting(per_group))[one],
        compute(rewards[one], group[one], "grpo", weights=per_group[2]),
    )


# ---------------------------------------------------------------------------------------------------------- estimators


def worst_objective(values, weights):
    """A combiner that no linear weighting equals."""
    return np.min(weights * values, axis=1)


def test_combiners():
    rewards, group = random_batch(16)
    ones = Weighting(np.ones(3))
    np.testing.assert_allclose(
        combine_rewards(group_zscore, combiner=worst_objective)(rewards, group, ones),
        group_zscore(rewards.min(axis=1), group),
    )
    np.testing.assert_allclose(
        combine_advantages(group_zscore, combiner=worst_objective)(rewards, group, ones),
        group_zscore(rewards, group).min(axis=1),
    )


@every_method
def test_estimators_pickle_and_tell_their_level(method):
    recipe = METHODS[method]
    compose = {"reward": combine_rewards, "advantage": combine_advantages}[recipe.level]
    estimator = compose(recipe.base, whiten=recipe.whiten, combiner=worst_objective, numerics="trl")
    copy = pickle.loads(pickle.dumps(estimator))
    assert copy == estimator
    assert (copy.level, copy.whiten) == (recipe.level, recipe.whiten)
    batch = (*random_batch(17), Weighting(np.ones(3)))
    np.testing.assert_array_equal(copy(*batch), estimator(*batch))


@pytest.mark.parametrize("base", [group_zscore, mean_centred, leave_one_out, adv.batch_centred, batch_whitened, raw])
def test_bases_work_by_column(base):
    rewards, group = random_batch(18)
    columns = np.stack([base(rewards[:, k], group) for k in range(3)], axis=1)
    np.testing.assert_allclose(base(rewards, group), columns, atol=1e-15)
    assert base(rewards, group) is not rewards


def test_numerics_may_be_given_as_constants():
    rewards, group = random_batch(19)
    sample = compute(rewards, group, "grpo", numerics=replace(NUMERICS["default"], ddof=1))
    sizes = np.unique(group, return_inverse=True, return_counts=True)
    g = sizes[2][sizes[1]]
    np.testing.assert_allclose(sample, compute(rewards, group, "grpo") * np.sqrt((g - 1) / g))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "ppo"}, "method must be one of"),
        ({"numerics": "jax"}, "numerics must be one of"),
        ({"nan": "drop"}, "nan must be one of"),
        ({"method": "saw-grpo", "low": None}, "lower bound"),
        ({"method": "saw-gdpo", "low": None}, "lower bound"),
        ({"method": "sa_mrpo"}, "SAMRPO needs the declared bounds"),
        ({"rewards": np.zeros(4)}, "rewards must have shape"),
        ({"rewards": np.full((4, 2), np.inf)}, "rewards: inf is not allowed"),
        ({"group": np.zeros(3, dtype=int)}, "group must be integers of shape"),
        ({"group": np.array([0.0, 0.0, 1.0, 1.0])}, "group must be integers"),
        ({"weights": [1.0]}, "weights must have shape"),
        ({"weights": [1.0, -1.0]}, "must be non-negative"),
        ({"weights": [1.0, np.nan]}, "weights: nan is not allowed"),
        ({"low": [0.0]}, "low must have shape"),
        ({"lengths": [1, 2]}, "lengths must have shape"),
        ({"lengths": [1, 2, 3, -4]}, "lengths must be non-negative"),
    ],
)
def test_errors_name_parameter_and_value(change, match):
    valid = {"rewards": np.eye(4)[:, :2], "group": np.repeat([0, 1], 2), "method": "gdpo", "low": np.zeros(2)}
    compute_advantages(**valid)
    with pytest.raises(ValueError, match=match):
        compute_advantages(**valid | change)


def test_method_table_is_read_only():
    with pytest.raises(TypeError):
        METHODS["mine"] = METHODS["grpo"]


def test_an_empty_batch_has_no_advantages():
    for method in METHODS:
        bounds = {"low": np.zeros(2), "high": np.ones(2)}
        out = compute_advantages(np.zeros((0, 2)), np.zeros(0, dtype=int), method=method, **bounds)
        assert out.shape == (0,)


@pytest.mark.parametrize("module", [adv, bases])
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
@pytest.mark.parametrize("method", ["grpo", "rloo", "gdpo", "dr_grpo"])
@pytest.mark.parametrize("numerics", NUMERICS)
def test_a_response_whose_siblings_are_missing_is_alone(method, numerics):
    """As a group of one: 0, or its raw score."""
    rewards, group = np.array([[1.0], [3.0], [2.0], [5.0]]), np.array([0, 0, 1, 1])
    patchy = np.where(np.arange(4)[:, None] == 3, np.nan, rewards)
    got = compute_advantages(patchy, group, method=method, numerics=numerics, nan="ignore")
    expected = compute_advantages(rewards[:3], group[:3], method=method, numerics=numerics)
    np.testing.assert_allclose(got, [*expected, 0.0], rtol=1e-9)
