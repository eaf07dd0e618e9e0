from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from llm_morl_agents import load_policy
from llm_morl_agents.evaluate import evaluate_policy
from llm_morl_agents.fronts.baselines import GoldPolicy, LanguageModelPolicy, RandomPolicy, random_to_oracle_gap
from llm_morl_agents.policy import Sampling

DENT = "DentFront-MO-v0"
EASY = {"difficulty": "easy"}


def test_chance_on_letters_is_the_uniform_mean():
    """Among 3 letters and, at every place, the end of the answer: the share of "b" by enumeration of the process."""
    expected, alive = 0.0, 1.0
    env = gym.make(DENT)
    _, info = env.reset(seed=0)
    options = int(info["action_mask"].sum())
    for _ in range(6):
        expected += alive / options / 6
        alive *= 3 / options
    returns = RandomPolicy(DENT).returns([0] * 1500, split="eval", seed=0)
    assert returns.shape == (1500, 2)
    error = returns[:, 1].std() / np.sqrt(1500)
    assert returns[:, 1].mean() == pytest.approx(expected, abs=4 * error)


def test_an_episode_of_chance_depends_on_seed_and_place_alone():
    policy = RandomPolicy("ToolCall-MO-v0", EASY)
    four = policy.returns([0, 1, 2, 1], split="eval", seed=3)
    np.testing.assert_array_equal(policy.returns([0, 1], split="eval", seed=3), four[:2])
    assert not np.array_equal(policy.returns([0, 1, 2, 1], split="eval", seed=4), four)


@pytest.mark.parametrize("env_id", ["ToolCall-MO-v0", "ToolCall-MultiTurn-MO-v0", "SafeAssist-MO-v0"])
def test_gold_answers_beat_chance_in_every_objective_that_asks_for_content(env_id):
    problems = list(range(6))
    gold = GoldPolicy(env_id).returns(problems, split="eval", seed=0).mean(axis=0)
    chance = RandomPolicy(env_id).returns(problems, split="eval", seed=0).mean(axis=0)
    assert gold.sum() > chance.sum()
    assert gold[0] > chance[0]


def test_gold_answers_of_tool_calls_are_the_ideal_point():
    returns = GoldPolicy("ToolCall-MO-v0", EASY).returns(range(20), split="eval", seed=0)
    np.testing.assert_allclose(returns, np.tile([1.0, 3.0, 1.0], (20, 1)))


def test_a_language_model_earns_what_evaluate_policy_says():
    model = load_policy("tiny")
    sampling = Sampling(max_new_tokens=64)
    policy = LanguageModelPolicy(model, "ToolCall-MO-v0", EASY, sampling)
    returns = policy.returns(range(8), split="eval", seed=5)
    env = gym.make_vec("ToolCall-MO-v0", num_envs=8, **EASY)
    evaluation = evaluate_policy(
        model, env, sampling, n_problems=8, split="eval", generator=np.random.default_rng(5), greedy=False
    )
    np.testing.assert_array_equal(returns, evaluation.sampled_rewards)
    np.testing.assert_array_equal(policy.returns(range(8), split="eval", seed=5), returns)
    assert not np.array_equal(policy.returns(range(8), split="eval", seed=6), returns)


def test_a_greedy_language_model_draws_nothing():
    policy = LanguageModelPolicy("tiny", "ToolCall-MO-v0", EASY, Sampling(max_new_tokens=64, greedy=True))
    first, second = (policy.returns([3, 3, 0], split="eval", seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[1])


def test_a_noisy_reward_is_the_same_for_the_same_seed():
    noisy = {**EASY, "transforms": ["noisy(scale=0.5)"]}
    for policy in (GoldPolicy("ToolCall-MO-v0", noisy), RandomPolicy("ToolCall-MO-v0", noisy)):
        first, again, other = (policy.returns([0, 1, 2], split="eval", seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_the_gap_is_a_share():
    assert random_to_oracle_gap(0.2, random=0.2, oracle=0.6) == 0.0
    assert random_to_oracle_gap(0.6, random=0.2, oracle=0.6) == 1.0
    assert random_to_oracle_gap(0.1, random=0.2, oracle=0.6) < 0
    with pytest.raises(ValueError, match="above chance"):
        random_to_oracle_gap(0.5, random=0.6, oracle=0.6)
