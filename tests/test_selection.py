"""Objectives by name, rows per response, missing rewards kept from combiners."""

import numpy as np
import pytest
from properties import random_batch, signals

from llm_morl_agents.weighters import Weighting
from llm_morl_agents.weighters.selection import index_of, per_response, where_present

NAMES = ("format", "correctness", "brevity")


def test_index_of():
    assert [index_of(objective, NAMES, "on") for objective in ("brevity", 0, -1, -3)] == [2, 0, 2, 0]


@pytest.mark.parametrize("objective", ["speed", 3, -4, True, 1.0, None])
def test_index_of_refuses(objective):
    with pytest.raises(ValueError, match=r"Gated\(on=\) must name an objective of \('format', 'correctness', 'brevity"):
        index_of(objective, NAMES, "Gated(on=)")


@pytest.mark.parametrize("group", [[5, 2, 5], [5, 2, 9], [9, 2, 5], [0, 1, 2]])
def test_per_response_survives_the_reading_per_group(group):
    weights, group = np.arange(6.0).reshape(3, 2), np.array(group)
    read, _ = Weighting(per_response(weights, group)).rows(group, 2)
    np.testing.assert_array_equal(read, weights)


def test_where_present():
    rewards, group = random_batch(0)
    weights = np.array([1.0, 2.0, 3.0])
    assert where_present(weights, signals(rewards, group)) is weights
    rewards[0] = np.nan  # takes no part anyway
    assert where_present(weights, signals(rewards, group)) is weights
    rewards[1, 2] = np.nan
    expected = np.tile(weights, (len(rewards), 1))
    expected[0], expected[1, 2] = 0.0, 0.0
    np.testing.assert_array_equal(where_present(weights, signals(rewards, group)), expected)
    each = np.arange(len(rewards))[::-1]
    read, _ = Weighting(where_present(weights, signals(rewards, each))).rows(each, 3)
    np.testing.assert_array_equal(read, expected)
