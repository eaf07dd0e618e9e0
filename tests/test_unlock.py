"""The unlocking task: its rewards, and its front against all responses there are."""

from itertools import product
from math import comb

import numpy as np
import pytest

from llm_morl_env import registration
from llm_morl_env.metrics import nondominated
from llm_morl_env.tasks.letters import LETTERS
from llm_morl_env.tasks.unlock import unlock_task


def front_by_enumeration(task, letters, length):
    """Every response to every problem, the means of all combinations, and what of them nothing dominates."""
    responses = ["".join(r) for n in range(length + 1) for r in product(LETTERS[:letters], repeat=n)]
    per_problem = [np.unique(task.rewards([p] * len(responses), responses), axis=0) for p in task]
    means = np.array([np.mean(rows, axis=0) for rows in product(*per_problem)])
    means = np.unique(means.round(12), axis=0)
    return means[nondominated(means)]


@pytest.mark.parametrize(
    ("letters", "stages", "words"),
    [(2, 2, ("ab", "ba")), (3, 2, ("caab", "abca", "bcab")), (2, 3, ("aba", "bab")), (2, 1, ("ab",))],
)
def test_front_is_that_of_all_responses(letters, stages, words):
    task = unlock_task(letters=letters, stages=stages, words=words)
    expected = front_by_enumeration(task, letters, len(words[0]))
    got = task.pareto_front()
    assert len(got) == comb(len(words) + stages, stages)
    np.testing.assert_allclose(got, expected[np.lexsort(expected.T[::-1])], atol=1e-12)


def test_the_front_is_flat():
    front = unlock_task().pareto_front()
    np.testing.assert_allclose(front @ [1 / 3, 1 / 3, 1 / 3, 1.0], 1.0)


def test_a_stage_counts_only_after_the_one_before():
    task = unlock_task()
    word = task[0].target
    scored = task.score([task[0]] * 4, [word, word[:1], "b" + word[1:], ""])
    np.testing.assert_allclose(scored, [[1, 1, 1, 0], [1, 0, 0, 2 / 3], [0, 0, 0, 0], [0, 0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"letters": 3}, "words must be 1..3"),
        ({"words": ()}, "words must be 1..4"),
        ({"words": ("ab", "abc")}, "of one length"),
        ({"stages": 2}, "divide the words' length 3"),
        ({"words": ("ab", "ce"), "stages": 1}, "of the letters 'abcd'"),
        ({"stages": 0}, "at least 1"),
        ({"words": ("aabb", "aacc"), "stages": 2}, "differ in their first 2 letters"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        unlock_task(**options)


def test_registered():
    assert registration.IDS["Unlock-MO-v0"] == "unlock"
