"""The agents learn: an identity task for each, and what SAW changes on an easy and a hard objective in conflict."""

import numpy as np
import pytest
from tiny_task import LETTERS, load, make_env

from llm_morl_agents import AGENTS
from llm_morl_agents.agents import GDPO
from llm_morl_agents.weighters import SAW, Static
from llm_morl_rewards import Problem, reward

SEEDS = (0, 1, 2)


def learn(agent, steps):
    """Mean rewards (steps, K) and weights (steps, K)."""
    rewards, weights = [], []
    agent.learn(steps, [lambda r: rewards.append(r.reward_mean), lambda r: weights.append(r.weight)])
    return np.array(rewards), np.array(weights)


def make(cls, directory, *, seed, env=(), **options):
    env = make_env(directory, num_envs=128, group_size=16, cap=2, **dict(env))
    return cls(env, load(directory), seed=seed, learning_rate=1e-2, micro_batches=1, **options)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", AGENTS)
def test_identity(policy_directory, name, seed):
    """Name the prompt's letter, and nothing else: from chance to both objectives above .9 (.97 was measured)."""
    rewards, _ = learn(make(AGENTS[name], policy_directory, seed=seed), 100)
    assert rewards[0, 0] < 0.2
    assert rewards[0, 1] < 0.75
    assert rewards[-10:].mean(axis=0).min() > 0.9


@reward(low=0.0, high=1.0)
def easy(problem, response):
    """Dense: begin with a letter of a, b, c, d; the earlier, the better. All other answers get .8."""
    return 1.0 - 0.02 * "abcd".index(response[0]) if response[:1] in set("abcd") else 0.8


@reward(low=0.0, high=1.0)
def hard(problem, response):
    """Sparse: begin with a letter of e, f, g, h, and go on with a letter of the half that the prompt asks for."""
    return float(response[:1] in set("efgh") and response[1:2] in set(problem.target))


def learn_conflict(directory, weighter, seed, steps=70):
    problems = [Problem("a?", LETTERS[:4]), Problem("b?", LETTERS[4:])]
    env = {"rewards": (easy, hard), "problems": problems}
    return learn(make(GDPO, directory, seed=seed, env=env, weighter=weighter), steps)


@pytest.mark.parametrize("seed", SEEDS)
def test_saw_lifts_the_hard_objective_where_equal_weights_do_not(policy_directory, seed):
    """Why, and by what margin.

    Both objectives depend on the first letter, in opposite ways: ``hard`` needs one of e-h, which costs ``easy`` a
    fifth at most. GDPO gives both unit variance. Among answers that begin with a letter, "begins with e-h" has a
    correlation of nearly -1 with ``easy`` but of only about .5 with ``hard``, as most such answers go on wrongly; and
    where a group has no success, ``hard`` is flat and ``easy`` decides alone. So under equal weights the first letter
    drifts to a-d before the second is learned, and ``hard`` falls from .1 to 0. SAW weighs by the coefficient of
    variation, at the start about .1 for ``easy`` (its mean is high) and 3 for ``hard`` (a rare success): ``hard``
    decides, and rises to 1.

    Measured over four seeds, at the end: .97 to 1.00 with SAW, .00 with equal weights.
    """
    equal, _ = learn_conflict(policy_directory, Static(), seed)
    saw, weights = learn_conflict(policy_directory, SAW(), seed)
    start = equal[0, 1]
    assert 0.02 < start < 0.25
    assert saw[0].tolist() == equal[0].tolist()  # the same start
    assert saw[-10:, 1].mean() > 0.9
    assert equal[-10:, 1].mean() < 0.02
    assert equal[-10:, 0].mean() > 0.95
    assert weights[:10, 1].mean() > 1.7
    np.testing.assert_allclose(weights.sum(axis=1), 2.0)


def test_fixed_weights_like_those_of_saw_lift_it_too(policy_directory):
    """The control: what SAW brings here is finding good weights, not changing them."""
    fixed, _ = learn_conflict(policy_directory, Static([0.1, 1.9]), SEEDS[0])
    assert fixed[-10:, 1].mean() > 0.9
