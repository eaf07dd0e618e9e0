"""CountsFront: rewards of letters, and the front against brute force."""

import math

import gymnasium as gym
import numpy as np
import pytest
from fronts import brute_force, in_order, linearly_supported, responses_of

from llm_morl_env import make_env, make_vector_env
from llm_morl_env.tasks.counts_front import counts_front_task

SIZES = [
    {},
    {"objectives": 3},
    {"length": 4, "letters": 4, "objectives": 3, "power": 3.5},
    {"length": 5, "letters": 2, "power": 1.0},
    {"length": 5, "objectives": ("c", "a"), "power": 0.5},
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_front_against_brute_force(sizes):
    task = counts_front_task(**sizes)
    every = responses_of(sizes.get("letters", 3), task.max_response_tokens, shorter=True)
    front = task.pareto_front()
    np.testing.assert_array_equal(in_order(front), in_order(brute_force(task, every)))
    k = len(task.rewards)
    assert front.shape == (math.comb(task.max_response_tokens + k - 1, k - 1), k)
    assert front.dtype == np.float64


def test_front_at_a_size_without_enumeration():
    front = counts_front_task(length=40, objectives=3).pareto_front()
    assert front.shape == (math.comb(42, 2), 3)
    np.testing.assert_allclose(np.sqrt(front).sum(axis=1), 1.0)


@pytest.mark.parametrize(("objectives", "ends"), [(2, 2), (3, 3)])
def test_linear_weights_reach_the_ends_alone(objectives, ends):
    assert linearly_supported(counts_front_task(objectives=objectives).pareto_front(), divisions=60) == ends


def test_rewards_look_at_the_first_letters():
    task = counts_front_task(length=4)
    rewards = task.rewards([task[0]] * 5, ["aabb", "aabbaaaa", "a", "", "cc?x"])
    assert rewards.tolist() == [[0.25, 0.25], [0.25, 0.25], [0.0625, 0], [0, 0], [0, 0]]
    assert (task.rewards.low.tolist(), task.rewards.high.tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize("view", ["token", "text"])
def test_views_state_the_front_and_pay_its_points(view):
    env = make_env(task="countsfront", view=view, length=3)
    assert env.pareto_front().tolist() == counts_front_task(length=3).pareto_front().tolist()
    assert env.pareto_front() is not env.pareto_front()


def test_vector_view():
    envs = make_vector_env(4, task="countsfront", length=3, group_size=4)
    envs.reset(seed=0)
    rewards = envs.step(["bbb", "abb", "aab", "aaa"])[1]
    np.testing.assert_allclose(rewards, envs.pareto_front(), rtol=1e-6)


def test_masked_token_episodes_have_the_full_length():
    env = gym.make("CountsFront-MO-v0")
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, info = env.reset()
        ended = False
        while not ended:
            action = rng.choice(np.flatnonzero(info["action_mask"]))
            _, rewards, ended, _, info = env.step(action)
        assert len(info["response"]) == 6
        assert (rewards < 1.01).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"letters": 9}, "letters must lie in 2..8, got 9"),
        ({"objectives": 1}, r"objectives must be 2..3, .*got 1"),
        ({"objectives": 4}, r"objectives must be 2..3, .*got 4"),
        ({"objectives": -1}, r"objectives must be 2..3, .*got -1"),
        ({"objectives": ("a", "a")}, "objectives must be 2..3, or so many distinct letters"),
        ({"objectives": ("a", "d")}, "objectives must be 2..3, or so many distinct letters"),
        ({"objectives": ("a",)}, "objectives must be 2..3, or so many distinct letters"),
        ({"power": 0.0}, "power must be finite and above 0, got 0.0"),
        ({"power": float("inf")}, "power must be finite and above 0, got inf"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        counts_front_task(**sizes)
