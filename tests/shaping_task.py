"""A small task whose rewards are of every kind, one of them not always applicable, for tests of transforms."""

import numpy as np

from llm_morl_env.tasks.custom import text_task
from llm_morl_rewards import Problem, reward


@reward(low=0.0, high=1.0)
def easy(problem, response):
    return float("e" in response)


@reward(low=-1.0, high=1.0)
def hard(problem, response):
    return len(response) / 4 - 1


@reward(low=0.0, high=1.0, kind="batch", name="judge")
def judge(problems, responses):
    return np.array([len(r) / 8 for r in responses])


@reward(low=0.0, high=1.0, kind="group", name="rank")
def rank(problems, responses, group):
    """1 for the longest of its group."""
    lengths = np.array([len(r) for r in responses])
    return np.array([float(n == lengths[group == g].max()) for n, g in zip(lengths, group, strict=True)])


@reward(low=0.0, high=1.0, name="echo")
def echo(problem, response):
    """What a reward sees of the prompt."""
    return float(response == problem.prompt)


def make(*rewards, **kwargs):
    return text_task([Problem(f"say {i}", i) for i in range(5)], list(rewards), max_response_tokens=16, **kwargs)


def not_three(problem):
    return problem.target != 3


@reward(low=-2.0, high=2.0, applies=not_three)
def some(problem, response):
    return float(len(response) % 5 - 2)
