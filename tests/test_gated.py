"""Gated: GDPO's conditioned reward at both levels, and how objectives are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from properties import json_round_trip, objectives, random_batch, signals

from llm_morl_agents.advantages import combine_advantages, combine_rewards, group_zscore, raw
from llm_morl_agents.weighters import Gated, Objectives, Weighting

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
NAMED = Objectives(["format", "correctness", "brevity"], [0, -3, 0], [1, 3, 1])


def rows(weighter, rewards, group, state=None, **kwargs):
    """Weights (N, K) as the estimator reads them."""
    weighting, _ = weighter(signals(rewards, group, **kwargs), state or {})
    return weighting.rows(group, rewards.shape[1])[0]


def test_vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    v = json.loads(VECTORS.read_text())["gdpo"]["conditioned_reward"]
    rewards, group = np.column_stack([v["hard"], v["easy"]]).astype(float), np.zeros(4, dtype=int)
    for threshold, key in ((v["threshold"], "conditioned"), (v["threshold_half"], "conditioned_half"), (None, None)):
        expected = v[key or "conditioned_half"]  # half-way is the default
        weights = rows(Gated(threshold=threshold), rewards, group, level="reward")
        np.testing.assert_allclose((weights * rewards)[:, 1], expected, atol=1e-6)
        np.testing.assert_array_equal(weights[:, 0], 1.0)


def test_reward_level_is_the_conditioned_reward():
    rewards, group = random_batch(0)
    conditioned = rewards.copy()
    conditioned[rewards[:, 1] < 0.7, 2] = 0.0
    weighter = Gated(easy=2, on=1, threshold=0.7)
    for base in (raw, group_zscore):
        estimator = combine_rewards(base)
        weighting, _ = weighter(signals(rewards, group, level="reward"), weighter.init(objectives(3)))
        expected = estimator(conditioned, group, Weighting(np.ones(3)))
        np.testing.assert_allclose(estimator(rewards, group, weighting), expected, atol=1e-12)


def test_advantage_level_gates_the_advantage():
    rewards, group = random_batch(1)
    z = group_zscore(rewards, group)
    z[rewards[:, 0] < 0.5, 1:] = 0.0
    weighting, _ = Gated()(signals(rewards, group), {})
    np.testing.assert_allclose(combine_advantages(group_zscore)(rewards, group, weighting), z.sum(axis=1), atol=1e-12)


def test_a_negative_floor_is_refused_at_reward_level():
    """Correctness in [-3, 3] behind a gate on the format: -3 would become 0 where the format is broken."""
    rewards, group = random_batch(0)
    bounds = {"low": NAMED.low, "high": NAMED.high}
    with pytest.raises(ValueError, match=r"objective 1 may fall to -3.0: .*combine advantages instead \(gdpo\)"):
        rows(Gated(), rewards, group, level="reward", **bounds)
    rows(Gated(), rewards, group, level="advantage", **bounds)
    rows(Gated(on=1), rewards, group, level="reward", **bounds)  # as the hard objective it may be negative
    rows(Gated(), rewards, group, level="reward", low=np.array([0, -np.inf, 0]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"easy": [1, 2], "on": 0, "threshold": 0.5}),
        ({"on": "correctness"}, {"easy": [0, 2], "on": 1, "threshold": 0.0}),
        ({"easy": "brevity", "on": 1, "threshold": 3}, {"easy": [2], "on": 1, "threshold": 3.0}),
        ({"easy": ["brevity", 0, -1], "on": -2}, {"easy": [0, 2], "on": 1, "threshold": 0.0}),
    ],
)
def test_names_are_resolved(options, expected):
    weighter = Gated(**options)
    assert weighter.init(NAMED) == expected
    assert hash(weighter) == hash(Gated(**options))
    rewards, group = random_batch(2)
    np.testing.assert_array_equal(
        rows(weighter, rewards, group, weighter.init(NAMED)),
        rows(weighter, rewards, group, json_round_trip(weighter.init(NAMED))),
    )


def test_rounding_of_float32_does_not_close_the_gate():
    rewards = np.array([[np.float32(0.9), 1.0], [0.8999, 1.0]], dtype=np.float64)
    np.testing.assert_array_equal(rows(Gated(threshold=0.9), rewards, np.zeros(2, dtype=int))[:, 1], [1.0, 0.0])
    high = np.full(2, 1e10)
    weights = rows(Gated(threshold=0.9e10), 1e10 * rewards, np.zeros(2, dtype=int), high=high)
    np.testing.assert_array_equal(weights[:, 1], [1.0, 0.0])


def test_a_missing_hard_reward_closes_nothing():
    rewards = np.array([[np.nan, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(rows(Gated(), rewards, np.zeros(2, dtype=int)), [[1, 1], [1, 0]])


@pytest.mark.parametrize("group", [[4, 1, 3], [4, 1, 4]])
def test_each_response_has_its_own_gate(group):
    rewards = np.array([[0.9, 1.0], [0.1, 1.0], [0.2, 1.0]])
    np.testing.assert_array_equal(rows(Gated(), rewards, np.array(group))[:, 1], [1.0, 0.0, 0.0])


def test_refuses():
    with pytest.raises(ValueError, match=r"Gated\(threshold=\) must be finite"):
        Gated(threshold=np.inf)
    for options, match in (
        ({"on": "speed"}, r"Gated\(on=\) must name an objective"),
        ({"easy": "speed"}, r"Gated\(easy=\) must name an objective"),
        ({"easy": ("format", "brevity")}, r"must not hold the objective of on=0"),
    ):
        with pytest.raises(ValueError, match=match):
            Gated(**options).init(NAMED)
    with pytest.raises(ValueError, match="needs the bounds of 'a'"):
        Gated().init(Objectives(["a", "b"], [-np.inf, 0], [np.inf, 1]))
