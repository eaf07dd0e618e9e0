"""Brute force against the fronts that tasks state: every response enumerated, scored and filtered."""

from itertools import product

import numpy as np

from llm_morl_env.metrics import equally_spaced_weights, pareto_front


def responses_of(letters, length, *, shorter=False):
    """Every text of ``length`` letters; with ``shorter``, all shorter ones too."""
    lengths = range(length + 1) if shorter else [length]
    return ["".join(word) for n in lengths for word in product("abcdefgh"[:letters], repeat=n)]


def scores_of(task, problem, responses):
    """Float64 scores of the responses to a problem, (n, K)."""
    return task.rewards([problem] * len(responses), responses)


def brute_force(task, responses):
    """The front of a task of one problem."""
    return pareto_front(scores_of(task, task[0], responses))


def in_order(points):
    """Rows in lexicographic order, for comparison."""
    points = np.asarray(points)
    return points[np.lexsort(points.T[::-1])]


def linearly_supported(front, divisions=400):
    """Number of points that are the only best one under some linear weights on a grid."""
    utilities = (front @ equally_spaced_weights(front.shape[1], divisions=divisions).T).round(12)
    best = utilities == utilities.max(axis=0)
    return int(np.any(best & (best.sum(axis=0) == 1), axis=1).sum())
