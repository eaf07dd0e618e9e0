"""LengthTrap: its rewards and front, and that normalised objectives fall into it while sums do not."""

import numpy as np
import pytest
import torch
from fronts import in_order, responses_of, scores_of

from llm_morl_agents import AGENTS, load_policy
from llm_morl_env import make_vector_env
from llm_morl_env.metrics import pareto_front
from llm_morl_env.tasks.length_trap import length_trap_task

torch.set_num_threads(1)


def test_rewards():
    task = length_trap_task(unanswerable=1)
    assert [problem.prompt for problem in task] == ["a?", "b?", "c?", "d?"]
    rewards = task.rewards([task[1]] * 5, ["ab", "b", "aaaaaaab", "ba", ""])
    assert rewards.tolist() == [[1, 1 - 2 / 32], [0, 1 - 1 / 32], [1, 0.75], [0, 1 - 2 / 32], [0, 1]]
    assert task.rewards([task[3]], ["ad"]).tolist() == [[0, 1 - 2 / 32]]


@pytest.mark.parametrize(
    "sizes", [{"length": 4}, {"letters": 2, "length": 5, "thought": 3, "unanswerable": 1, "cost": 1.0}], ids=str
)
def test_front_against_brute_force(sizes):
    task = length_trap_task(**sizes)
    every = responses_of(task.grammar.letters, task.max_response_tokens, shorter=True)
    sums = np.zeros((1, 2))
    for problem in task:
        sums = np.unique((sums[:, None] + scores_of(task, problem, every)).reshape(-1, 2).round(12), axis=0)
    expected = pareto_front((sums / len(task)).round(9))
    np.testing.assert_allclose(in_order(task.pareto_front()), in_order(expected), atol=1e-8)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "low", "high"), [("gdpo", 0.0, 0.01), ("grpo", 0.6, 1.0), ("dvao", 0.6, 1.0), ("dr_grpo", 0.6, 1.0)]
)
def test_normalised_objectives_fall_into_the_trap(name, low, high, seed):
    """Accuracy after 60 steps from 0.17. Over 5 seeds and 150 steps: GDPO 0.00, GRPO and DVAO 1.00, Dr. GRPO 0.96."""
    envs = make_vector_env(128, task="lengthtrap", group_size=16)
    policy = load_policy("scratch", tokenizer=envs.task.tokenizer, seed=seed)
    agent = AGENTS[name](envs, policy, seed=seed, learning_rate=1e-2, micro_batches=1)
    accuracy = []
    agent.learn(60, [lambda report: accuracy.append(report.reward_mean[0])])
    assert 0.1 < accuracy[0] < 0.25
    assert low <= np.mean(accuracy[-5:]) <= high


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"letters": 9}, "letters must lie in 2..8, got 9"),
        ({"unanswerable": 6}, "unanswerable must lie in 0..5, got 6"),
        ({"thought": 8}, "thought must lie in 0..7, got 8"),
        ({"cost": 0.0}, r"cost must lie in \(0, 1\], got 0.0"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        length_trap_task(**sizes)
