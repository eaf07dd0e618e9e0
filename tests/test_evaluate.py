"""Evaluation: which problems, which rewards, and what the result says."""

import numpy as np
import pytest
from tiny_task import PROBLEMS, correct, load, make_env, short

from llm_morl_agents.evaluate import Evaluation, evaluate_policy
from llm_morl_agents.policy import Sampling, draw_uniforms

SAMPLING = Sampling(max_new_tokens=3)


@pytest.fixture(scope="module")
def policy(policy_directory):
    return load(policy_directory)


def evaluate(policy, env, n_problems, *, split="eval", seed=0, **options):
    return evaluate_policy(
        policy, env, SAMPLING, n_problems=n_problems, split=split, generator=np.random.default_rng(seed), **options
    )


def expected_rewards(policy, problems, sampling, uniforms):
    """Row i: one response to problem i, generated and scored by hand."""
    prompt_ids = policy.encode_prompts([p.prompt for p in problems])
    texts = policy.generate(prompt_ids, np.arange(len(problems)), sampling, uniforms).texts
    return np.array([[correct(p, t), short(p, t)] for p, t in zip(problems, texts, strict=True)])


@pytest.mark.parametrize(("num_envs", "group_size"), [(32, 4), (3, 1), (2, 2), (12, 4)])
@pytest.mark.parametrize("n_problems", [1, 5, 8])
def test_row_i_is_problem_i_whatever_the_environments_shape(policy, policy_directory, num_envs, group_size, n_problems):
    env = make_env(policy_directory, num_envs=num_envs, group_size=group_size)
    result = evaluate(policy, env, n_problems)
    problems, uniforms = PROBLEMS[:n_problems], draw_uniforms(np.random.default_rng(0), n_problems, 3)
    sampled = expected_rewards(policy, problems, SAMPLING, uniforms)
    greedy = expected_rewards(policy, problems, Sampling(max_new_tokens=3, greedy=True), uniforms)
    np.testing.assert_allclose(result.sampled_rewards, sampled, rtol=1e-6)
    np.testing.assert_allclose(result.greedy_rewards, greedy, rtol=1e-6)


def test_the_split_is_taken_whole_where_it_is_small(policy, policy_directory):
    env = make_env(policy_directory, eval_problems=PROBLEMS[3:6])
    assert len(evaluate(policy, env, 100).sampled_rewards) == 3
    assert len(evaluate(policy, env, 100, split="train").sampled_rewards) == 8
    with pytest.raises(ValueError, match="n_problems must be at least 1, got 0"):
        evaluate(policy, env, 0)


def test_without_greedy_decoding(policy, policy_directory, monkeypatch):
    seen, generate = [], policy.generate
    monkeypatch.setattr(policy, "generate", lambda *a: seen.append(a[2].greedy) or generate(*a))
    result = evaluate(policy, make_env(policy_directory), 8, greedy=False)
    assert set(seen) == {False}
    assert np.isnan(result.greedy_rewards).all()
    assert result.greedy_rewards.shape == result.sampled_rewards.shape
    assert set(result.as_row()) == {f"sampled/{name}" for name in result.objectives}


def test_without_sampling(policy, policy_directory, monkeypatch):
    seen, generate = [], policy.generate
    monkeypatch.setattr(policy, "generate", lambda *a: seen.append(a[2].greedy) or generate(*a))
    env = make_env(policy_directory)
    result, both = evaluate(policy, env, 8, sampled=False), evaluate(policy, env, 8)
    assert seen[0] is True
    assert np.isnan(result.sampled_rewards).all()
    np.testing.assert_array_equal(result.greedy_rewards, both.greedy_rewards)
    assert set(result.as_row()) == {f"greedy/{name}" for name in result.objectives}
    with pytest.raises(ValueError, match="greedy=False and sampled=False leave nothing to measure"):
        evaluate(policy, env, 8, greedy=False, sampled=False)


def test_one_response_is_generated_for_a_problem_not_one_for_each_row(policy, policy_directory, monkeypatch):
    seen, generate = [], policy.generate
    monkeypatch.setattr(policy, "generate", lambda *a: seen.append(len(a[1])) or generate(*a))
    evaluate(policy, make_env(policy_directory, num_envs=32, group_size=8), 8)
    assert sum(seen) == 16


def test_what_an_evaluation_says():
    result = Evaluation(("format", "brevity"), np.array([[1.0, 0.0], [0.0, 0.5]]), np.array([[1.0, 0.25], [1.0, 0.75]]))
    assert result.greedy.tolist() == [0.5, 0.25]
    assert result.sampled.tolist() == [1.0, 0.5]
    np.testing.assert_allclose(result.sampled_standard_error, [0.0, 0.25])
    assert result.as_row() == {
        "greedy/format": 0.5,
        "greedy/brevity": 0.25,
        "sampled/format": 1.0,
        "sampled/brevity": 0.5,
    }
    assert str(result) == "format 0.500 (sampled 1.000), brevity 0.250 (sampled 0.500)"


def test_the_standard_error_of_one_problem_is_unknown():
    one = np.ones((1, 2))
    assert np.isnan(Evaluation(("a", "b"), one, one).sampled_standard_error).all()


def test_samples_of_a_problem_are_averaged(policy, policy_directory):
    env = make_env(policy_directory, num_envs=4, group_size=1)
    result = evaluate(policy, env, 3, samples=5)
    uniforms = draw_uniforms(np.random.default_rng(0), 15, 3)
    draws = [expected_rewards(policy, PROBLEMS[:3], SAMPLING, uniforms[i : i + 3]) for i in range(0, 15, 3)]
    np.testing.assert_allclose(result.sampled_rewards, np.mean(draws, axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.greedy_rewards, evaluate(policy, env, 3).greedy_rewards)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        evaluate(policy, env, 3, samples=0)


def test_what_does_not_apply_is_left_out_of_the_means():
    rewards = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan], [0.5, np.nan]])
    evaluation = Evaluation(("a", "b"), rewards, rewards)
    np.testing.assert_array_equal(evaluation.sampled, [0.5, np.nan])
    np.testing.assert_array_equal(evaluation.greedy, [0.5, np.nan])
    np.testing.assert_allclose(
        evaluation.sampled_standard_error, [np.std([1.0, 0.0, 0.5], ddof=1) / np.sqrt(3), np.nan]
    )
    assert set(evaluation.as_row()) == {"greedy/a", "sampled/a"}
