"""ContextFront: rewards of keys, and the front of means over prompts against brute force."""

import pickle

import numpy as np
import pytest
from fronts import in_order, linearly_supported, responses_of, scores_of

from llm_morl_env.metrics import pareto_front
from llm_morl_env.tasks.context_front import DEFAULT_KEYS, context_front_task


def means_over_prompts(task, responses):
    """Every mean of one score vector a prompt: all sums, without the shortcuts of the closed form."""
    sums = np.zeros((1, 3))
    for problem in task:
        scores = np.unique(scores_of(task, problem, responses), axis=0)
        sums = np.unique((sums[:, None] + scores).reshape(-1, 3).round(12), axis=0)
    return (sums / len(task)).round(9)  # equal means must be equal numbers


@pytest.mark.parametrize(
    "sizes",
    [
        {"letters": 3, "length": 4, "keys": ("bc", "ab")},
        {"letters": 3, "length": 3, "keys": ("bca", "aab", "cbc")},
        {"letters": 4, "length": 4, "keys": ("aaa",)},
        {"letters": 2, "length": 6, "keys": ("ba",)},
    ],
    ids=str,
)
def test_front_against_brute_force(sizes):
    task = context_front_task(**sizes)
    every = responses_of(sizes["letters"], sizes["length"], shorter=True)
    expected = pareto_front(means_over_prompts(task, every))
    np.testing.assert_allclose(in_order(task.pareto_front()), in_order(expected), atol=1e-8)


@pytest.mark.parametrize("key", DEFAULT_KEYS)
def test_front_of_each_default_key_against_all_5461_responses(key):
    task = context_front_task(keys=(key,))
    every = responses_of(4, 6, shorter=True)
    assert len(every) == 5461
    expected = pareto_front(scores_of(task, task[0], every))
    np.testing.assert_array_equal(in_order(task.pareto_front()), in_order(expected))


def test_defaults():
    task = context_front_task()
    front = task.pareto_front()
    assert front.shape == (110, 3)
    assert linearly_supported(front, divisions=200) == 13
    assert len(np.unique(front.round(9), axis=0)) == len(front)  # no point twice by rounding
    assert [problem.prompt for problem in task] == ["bcd?", "cab?", "daa?"]


def test_the_front_is_that_of_the_problems_shown():
    task = context_front_task()
    assert task[:1].pareto_front().tolist() == context_front_task(keys=DEFAULT_KEYS[:1]).pareto_front().tolist()
    assert pickle.loads(pickle.dumps(task)).pareto_front().tolist() == task.pareto_front().tolist()


def test_rewards():
    task = context_front_task()
    rewards = task.rewards([task[0]] * 6, ["bcd", "bcaa", "", "aaaaaa", "bcdaaaaaa", "cbd"])
    expected = [[1, 1 / 2, 0], [4 / 9, 1 / 3, 1 / 9], [0, 1, 0], [0, 0, 1], [1, 0, 1 / 4], [0, 1 / 2, 0]]
    np.testing.assert_allclose(rewards, expected)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"keys": ()}, "keys must be distinct and of one length"),
        ({"keys": ("ab", "ab")}, "keys must be distinct and of one length"),
        ({"keys": ("ab", "abc")}, "keys must be distinct and of one length"),
        ({"keys": ("",)}, "keys must be of 1..6 .length. letters of 'abcd'"),
        ({"keys": ("ae",)}, "keys must be of 1..6 .length. letters of 'abcd', got .'ae',."),
        ({"length": 2}, "keys must be of 1..2 .length. letters"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        context_front_task(**sizes)
