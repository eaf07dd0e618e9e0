"""Rollout: random streams, grouping of prompts, what reaches the policy and the environment."""

import itertools

import numpy as np
import pytest
from tiny_task import LETTERS, PROBLEMS, correct, load, make_env, short

from llm_morl_agents.policy import Sampling
from llm_morl_agents.rollout import STREAMS, derived_seed, prompts_by_group, rollout, stream


@pytest.fixture(scope="module")
def policy(policy_directory):
    return load(policy_directory)


def test_streams_are_functions_of_their_name_and_position():
    draws = set()
    for seed, name, *position in itertools.product((0, 1), STREAMS, (0, 1), (0, 1)):
        value = stream(seed, name, *position).random(4)
        np.testing.assert_array_equal(value, stream(seed, name, *position).random(4))
        draws.add(tuple(value))
    assert len(draws) == 2 * len(STREAMS) * 4


def test_derived_seeds_differ_and_suit_an_environment():
    seeds = {derived_seed(s, "rollout", step, attempt) for s in range(3) for step in range(50) for attempt in range(3)}
    assert len(seeds) == 450
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_prompts_by_group_of_interleaved_ragged_groups():
    distinct, index, first = prompts_by_group(["b", "a", "b", "c", "a", "b"], np.array([4, 9, 4, 2, 9, 4]))
    assert distinct == ["c", "b", "a"]
    np.testing.assert_array_equal(index, [1, 2, 1, 0, 2, 1])
    np.testing.assert_array_equal(first, [3, 0, 1])


def test_prompts_by_group_refuses_two_prompts_in_a_group():
    with pytest.raises(ValueError, match="rows 0 and 2 are one group but differ in prompt"):
        prompts_by_group(["a", "b", "c"], np.array([0, 1, 0]))


def test_rollout_scores_what_was_generated(policy, policy_directory):
    env = make_env(policy_directory, num_envs=12, group_size=3)
    sampling = Sampling(max_new_tokens=3)
    batch = rollout(policy, env, sampling, env_seed=5, generator=np.random.default_rng(0))
    prompts, info = env.reset(seed=5, options={"split": "train"})
    np.testing.assert_array_equal(batch.group, info["group"])
    assert len(batch.prompt_ids) == 4
    assert batch.rewards.dtype == np.float64
    by_prompt = {problem.prompt: problem for problem in PROBLEMS}
    for row, prompt in enumerate(prompts):
        assert batch.prompt_ids[batch.prompt_index[row]] == tuple(policy.encode_prompts([prompt])[0])
        text = policy.decode(batch.response_ids[row][batch.response_mask[row]].tolist())
        expected = [correct(by_prompt[prompt], text), short(by_prompt[prompt], text)]
        np.testing.assert_allclose(batch.rewards[row], expected, rtol=1e-6)


def test_rollout_is_reproducible(policy, policy_directory):
    env = make_env(policy_directory, num_envs=8, group_size=2)

    def draw(env_seed, seed):
        return rollout(
            policy, env, Sampling(max_new_tokens=3), env_seed=env_seed, generator=np.random.default_rng(seed)
        )

    first, again, other_samples, other_problems = draw(1, 1), draw(1, 1), draw(1, 2), draw(2, 1)
    np.testing.assert_array_equal(first.response_ids, again.response_ids)
    np.testing.assert_array_equal(first.behaviour_logprobs, again.behaviour_logprobs)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    assert first.prompt_ids == other_samples.prompt_ids
    assert not np.array_equal(first.response_ids, other_samples.response_ids)
    assert first.prompt_ids != other_problems.prompt_ids


def test_rollout_draws_from_the_split(policy, policy_directory):
    env = make_env(policy_directory, num_envs=4, group_size=2, eval_problems=PROBLEMS[:1])
    batch = rollout(
        policy, env, Sampling(max_new_tokens=2), env_seed=0, generator=np.random.default_rng(0), split="eval"
    )
    assert set(batch.prompt_ids) == {tuple(policy.encode_prompts([f"{LETTERS[0]}?"])[0])}
