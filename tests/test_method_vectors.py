"""Reference numbers of the published methods: every key that concerns advantages, SAW and DVAO, to 1e-6."""

import json
from pathlib import Path

import numpy as np
import pytest
from properties import compute, signals, weights_of

from llm_morl_agents import advantages as adv
from llm_morl_agents.advantages import (
    NUMERICS,
    Numerics,
    combine_advantages,
    combine_rewards,
    compute_advantages,
    group_zscore,
)
from llm_morl_agents.weighters import SAW, DVAOWeights, Weighting
from llm_morl_agents.weighters.saw import coefficient_of_variation

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
TWO_GROUPS = np.repeat([0, 1], 4)
CASES = (
    "base",
    "zero_variance_objective",
    "zero_variance_objective_in_one_group",
    "all_zero_objective",
    "constant_group",
    "all_constant",
    "negative_mean_objective",
    "zero_mean_objective",
)


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())


@pytest.fixture
def warn_again():
    """The warning about groups of one comes once in a process; a test that expects it starts afresh."""
    adv._warn_lone_group.cache_clear()
    yield
    adv._warn_lone_group.cache_clear()


#: (family, key) -> (method, numerics, weights, whether lengths are given).
KEYS = {
    ("scalar_advantages", "grpo_population_eps1e8"): ("grpo", "default", None, False),
    ("scalar_advantages", "grpo_sample_eps1e6_verl"): ("grpo", "verl", None, False),
    ("scalar_advantages", "grpo_sample_eps1e4_trl"): ("grpo", "trl", None, False),
    ("scalar_advantages", "dr_grpo_no_std"): ("dr_grpo", "default", None, False),
    ("scalar_advantages", "rloo"): ("rloo", "default", None, False),
    ("scalar_advantages", "reinforce_raw"): ("reinforce", "default", None, False),
    ("scalar_advantages", "scalar_reward"): ("reinforce", "default", None, False),
    ("scalar_advantages", "reinforce_batch_mean_baseline"): ("reinforce-baseline", "default", None, False),
    ("scalar_advantages", "reinforce_pp_global_whiten_per_sample"): ("reinforce++", "verl", None, False),
    ("scalar_advantages", "reinforce_pp_global_whiten_per_token"): ("reinforce++", "verl", None, True),
    ("scalar_advantages", "reinforce_pp_baseline_per_sample"): ("reinforce++-baseline", "verl", None, False),
    ("scalar_advantages", "reinforce_pp_baseline_per_token"): ("reinforce++-baseline", "verl", None, True),
    ("gdpo", "sum_before_batch_norm_trl"): ("ac", "trl", None, False),
    ("gdpo", "sum_before_batch_norm_verl"): ("ac", "verl", None, False),
    ("gdpo", "advantage_trl"): ("gdpo", "trl", None, False),
    ("gdpo", "advantage_trl_weights_0p5_0p3_0p2"): ("gdpo", "trl", [0.5, 0.3, 0.2], False),
    ("gdpo", "advantage_verl_token_whitened"): ("gdpo", "verl", None, True),
    ("gdpo", "mo_grpo_sum_of_population_z_eps1e8"): ("mo_grpo", "default", None, False),
    ("saw", "advantage_saw_grpo_paper"): ("saw-grpo", "verl", None, False),
    ("saw", "advantage_saw_gdpo_paper_sample_whitened"): ("saw-gdpo", "verl", None, False),
    ("saw", "advantage_saw_gdpo_paper_token_whitened"): ("saw-gdpo", "verl", None, True),
    ("dvao", "advantage"): ("dvao", "default", None, False),
    ("dvao", "reward_combination_advantage"): ("rc", "default", None, False),
    ("dvao", "advantage_combination_advantage"): ("ac", "default", [1 / 3] * 3, False),
    ("dvao", "advantage_raw_reward_scale"): ("dvao", "default", None, False),
}
#: (N,)-shaped keys that are not advantages of a method of the table; `test_weighters` computes them.
ELSEWHERE = {("saw", "advantage_saw_grpo_released"), ("saw", "advantage_saw_gdpo_released_token_whitened")}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("family", "key"), KEYS)
def test_vectors(vectors, family, key, case):
    method, numerics, weights, with_lengths = KEYS[family, key]
    rewards = vectors["inputs"][case]
    if family == "dvao" and "raw" not in key:
        rewards = vectors["dvao"][case]["rewards_unit_interval"]
    got = compute_advantages(
        np.reshape(rewards, (8, 3)),
        TWO_GROUPS,
        method=method,
        numerics=numerics,
        weights=weights,
        low=vectors["meta"]["reward_min"],
        lengths=np.ravel(vectors["meta"]["lengths_tokens"]) if with_lengths else None,
    )
    np.testing.assert_allclose(got, np.ravel(vectors[family][case][key]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_no_vector_is_forgotten(vectors, case):
    found = {
        (family, key)
        for family in ("scalar_advantages", "gdpo", "saw", "dvao")
        for key, value in vectors[family][case].items()
        if np.shape(value) == (2, 4)
    }
    assert found == set(KEYS) | ELSEWHERE


@pytest.mark.parametrize("case", CASES)
def test_per_objective_vectors(vectors, case):
    rewards = np.reshape(vectors["inputs"][case], (8, 3))
    z = group_zscore(rewards, TWO_GROUPS, numerics=NUMERICS["trl"])
    np.testing.assert_allclose(z, np.reshape(vectors["gdpo"][case]["per_objective_advantage_trl"], (8, 3)), atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_dvao_statistics_vectors(vectors, case):
    v = vectors["dvao"][case]
    rewards = np.reshape(v["rewards_unit_interval"], (8, 3))
    squares = {}
    for name, weights in (("rc", None), ("ac", [1 / 3] * 3), ("dvao", None)):
        out = compute(rewards, TWO_GROUPS, name, weights=weights).reshape(2, 4)
        squares[name] = np.mean(out**2, axis=1)
        np.testing.assert_allclose(squares[name], v[f"mean_square_{name}"], atol=1e-6)
    ratio = np.sqrt(np.divide(squares["dvao"], squares["rc"], out=np.zeros(2), where=squares["rc"] > 0))
    np.testing.assert_allclose(ratio, v["scale_dvao_over_rc"], atol=1e-6)


def test_dvao_variant_vectors(vectors):
    v = vectors["dvao"]
    rewards = np.reshape(v["base"]["rewards_unit_interval"], (8, 3))
    for got, key in (
        (compute(rewards, TWO_GROUPS, "dvao", weights=[0.5, 0.3, 0.2]), "base_weights_0p5_0p3_0p2"),
        (compute(rewards, TWO_GROUPS, "dvao", numerics=Numerics(ddof=1)), "base_sample_std_variant"),
    ):
        np.testing.assert_allclose(got, np.ravel(v[key]["advantage"]), atol=1e-6, err_msg=key)


def test_sensitivity_vectors(vectors):
    """P3: the derivative of the advantage by one reward, by central differences."""
    v = vectors["dvao"]["sensitivity_prompt0_rollout1_objective0"]
    rewards = np.reshape(vectors["dvao"]["base"]["rewards_unit_interval"], (8, 3))
    for method in ("ac", "dvao"):
        ends = []
        for step in (1e-6, -1e-6):
            moved = rewards.copy()
            moved[1, 0] += step
            ends.append(compute(moved, TWO_GROUPS, method, weights=[1 / 3] * 3)[1])
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(v[f"{method}_closed_form"], abs=1e-6)


def test_collapse_demo_vectors(vectors):
    """GRPO maps (0,1) and (0,2) to the same advantage, GDPO tells them apart; ddof 1 and no epsilon."""
    pair = np.zeros(2, dtype=int)
    summed = combine_rewards(group_zscore, numerics=Numerics(ddof=1))
    decoupled = combine_advantages(group_zscore, numerics=Numerics(ddof=1))
    for name, v in vectors["gdpo"]["two_rollout_two_binary_rewards_collapse_demo"].items():
        rewards, ones = np.array(v["rewards"]), Weighting(np.ones(2))
        np.testing.assert_allclose(summed(rewards, pair, ones), v["grpo"], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(group_zscore(rewards.sum(axis=1), pair, ddof=1, eps=0.0), v["grpo"], atol=1e-6)
        np.testing.assert_allclose(decoupled(rewards, pair, ones), v["gdpo_no_batch_norm"], atol=1e-6, err_msg=name)


@pytest.mark.usefixtures("warn_again")
@pytest.mark.filterwarnings("ignore::llm_morl_agents.advantages.LoneGroupWarning")
def test_single_rollout_vectors(vectors):
    v = vectors["scalar_advantages"]["single_rollout_groups"]
    rewards = np.array(v["reward"])[:, None]
    for key, method, numerics in (
        ("verl_group_z", "grpo", "verl"),
        ("population_group_z", "grpo", "default"),
        ("rloo_verl", "rloo", "verl"),
        ("rloo_verl", "rloo", "default"),
        ("global_whiten", "reinforce++", "verl"),
    ):
        got = compute(rewards, np.arange(2), method, numerics=numerics)
        np.testing.assert_allclose(got, np.ravel(v[key]), atol=1e-6, err_msg=key)


@pytest.mark.parametrize("case", CASES)
def test_saw_vectors(vectors, case):
    v, rewards = vectors["saw"][case], np.array(vectors["inputs"][case]).reshape(8, 3)
    low, group = np.array(vectors["meta"]["reward_min"]), np.repeat([0, 1], 4)
    lengths = np.array(vectors["meta"]["lengths_tokens"]).ravel()
    close = {"atol": 1e-6, "rtol": 0}
    released = SAW(released=True)

    np.testing.assert_allclose(coefficient_of_variation(rewards, low), v["cv_paper"], **close)
    np.testing.assert_allclose(coefficient_of_variation(rewards, low, released=True), v["cv_released_code"], **close)
    np.testing.assert_allclose(coefficient_of_variation(rewards, low, delta=1e-4), v["cv_paper_delta_1e4"], **close)
    assert (coefficient_of_variation(rewards, low).sum() < 1e-8) == v["fallback"]
    assert (coefficient_of_variation(rewards, low, delta=1e-4).sum() < 1e-4) == v["fallback_delta_1e4"]
    for key, weighter, level in (
        ("weights_reward_mode", SAW(), "reward"),
        ("weights_advantage_mode", SAW(), "advantage"),
        ("weights_advantage_mode_delta_1e4", SAW(delta=1e-4), "advantage"),
        ("weights_released_code", released, "reward"),
        ("weights_released_code", released, "advantage"),
    ):
        np.testing.assert_allclose(weights_of(weighter, rewards, low=low, level=level), v[key], **close, err_msg=key)

    for key, estimator in (
        ("advantage_saw_grpo_released", combine_rewards(group_zscore, numerics="verl")),
        ("advantage_saw_gdpo_released_token_whitened", combine_advantages(group_zscore, whiten=True, numerics="verl")),
    ):
        weighting, _ = released(signals(rewards, group, low=low, level=estimator.level), {})
        np.testing.assert_allclose(
            estimator(rewards, group, weighting, lengths=lengths), np.ravel(v[key]), **close, err_msg=key
        )


def test_saw_two_reward_vectors(vectors):
    v, rewards = vectors["saw"]["two_reward_released_code"], np.array(vectors["inputs"]["base"]).reshape(8, 3)[:, :2]
    low, group = -np.array(v["shift"]), np.repeat([0, 1], 4)
    lengths = np.array(vectors["meta"]["lengths_tokens"]).ravel()
    np.testing.assert_allclose(coefficient_of_variation(rewards, low, released=True), v["cv"], atol=1e-6)
    for key, estimator in (
        ("advantage_reward_mode", combine_rewards(group_zscore, numerics="verl")),
        (
            "advantage_advantage_mode_token_whitened",
            combine_advantages(group_zscore, whiten=True, numerics="verl"),
        ),
    ):
        weighting, _ = SAW(released=True)(signals(rewards, group, low=low, level=estimator.level), {})
        np.testing.assert_allclose(weighting.weights, v["weights"], atol=1e-6)
        got = estimator(rewards, group, weighting, lengths=lengths)
        np.testing.assert_allclose(got, np.ravel(v[key]), atol=1e-6)


def test_saw_static_priorities_vectors(vectors):
    v, rewards = vectors["saw"]["with_static_priorities"], np.array(vectors["inputs"]["base"]).reshape(8, 3)
    low, preference = np.array(vectors["meta"]["reward_min"]), np.array(v["alpha"])
    got = weights_of(SAW(), rewards, low=low, preference=preference, level="reward")
    np.testing.assert_allclose(got, v["effective_weights_reward_mode"], atol=1e-6)


def test_saw_bernoulli_vectors(vectors):
    for key, v in vectors["saw"]["bernoulli_cv"].items():
        if isinstance(v, dict):
            ones, total = (int(part) for part in key.split("_of_"))
            binary = (np.arange(total) < ones).astype(float)[:, None]
            np.testing.assert_allclose(coefficient_of_variation(binary, np.zeros(1)), v["cv"], atol=1e-6)
            np.testing.assert_allclose(coefficient_of_variation(binary, np.zeros(1)), v["closed_form"], atol=2e-6)


def test_saw_shift_vectors(vectors):
    v, low = vectors["saw"]["no_shift_pathology"], np.array([-3.0])
    zero, negative = (
        np.array(vectors["inputs"][f"{name}_mean_objective"]).reshape(8, 3)[:, :1] for name in ("zero", "negative")
    )
    none = np.zeros(1)
    for key, cv in (
        ("zero_mean_raw_cv", coefficient_of_variation(zero, none, released=True)),
        ("zero_mean_shifted_cv", coefficient_of_variation(zero, low)),
        ("negative_mean_raw_cv_signed", coefficient_of_variation(negative, none)),
        ("negative_mean_raw_cv_abs", coefficient_of_variation(negative, none, released=True)),
        ("negative_mean_shifted_cv", coefficient_of_variation(negative, low)),
    ):
        np.testing.assert_allclose(cv, v[key], rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("case", CASES)
def test_dvao_weight_vectors(vectors, case):
    v, group = vectors["dvao"][case], np.repeat([0, 1], 4)
    raw = np.array(vectors["inputs"][case]).reshape(8, 3)
    unit = np.array(v["rewards_unit_interval"]).reshape(8, 3)
    low, high = np.array(vectors["meta"]["reward_min"]), np.array(vectors["meta"]["reward_max"])
    for got, key in (
        (weights_of(DVAOWeights(), unit, group), "dynamic_weights"),
        (weights_of(DVAOWeights(), raw, group), "dynamic_weights_raw_reward_scale"),
        (weights_of(DVAOWeights(unit_interval=True), raw, group, low=low, high=high), "dynamic_weights"),
    ):
        np.testing.assert_allclose(got, v[key], atol=1e-6, err_msg=key)


def test_dvao_preference_vectors(vectors):
    v, group = vectors["dvao"], np.repeat([0, 1], 4)
    unit = np.array(v["base"]["rewards_unit_interval"]).reshape(8, 3)
    weighted = weights_of(DVAOWeights(), unit, group, preference=np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(weighted, v["base_weights_0p5_0p3_0p2"]["dynamic_weights"], atol=1e-6)
    np.testing.assert_allclose(
        weights_of(DVAOWeights(), unit, group), v["base_sample_std_variant"]["dynamic_weights"], atol=1e-6
    )
