"""Lagrangian: the published update, its fixed point, and how thresholds are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from properties import json_round_trip, objectives, signals

from llm_morl_agents.weighters import Lagrangian, Objectives
from llm_morl_agents.weighters.lagrangian import dual_ascent

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
NAMED = Objectives(["format", "correctness", "brevity"], [0, -3, 0], [1, 3, 1])


def batch(mean, **kwargs):
    """Signals of a batch with the given mean."""
    return signals(np.array([mean, mean], dtype=float), np.array([0, 0]), level="reward", **kwargs)


def test_vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    v = json.loads(VECTORS.read_text())["peers"]["lagrangian_dual_ascent"]
    got = dual_ascent(np.array(v["lam"]), np.array(v["constraint"]), np.array(v["mean_reward"]), learning_rate=v["lr"])
    np.testing.assert_allclose(got, v["lam_new"], atol=1e-6)
    weighter = Lagrangian(thresholds=(None, *v["constraint"]), learning_rate=v["lr"])
    state = {**weighter.init(objectives(3)), "multipliers": np.array([0.0, *v["lam"]])}
    weighting, state = weighter(batch([0.5, *v["mean_reward"]]), state)
    np.testing.assert_allclose(weighting.weights, [1.0, *v["lam_new"]], atol=1e-6)
    np.testing.assert_allclose(state["multipliers"], [0.0, *v["lam_new"]], atol=1e-6)


def test_a_multiplier_rises_until_the_threshold_and_falls_behind_it():
    weighter = Lagrangian(thresholds=(None, 0.6), learning_rate=0.5, maximum=0.25)
    state, seen = weighter.init(objectives(2)), []
    for brevity in (0.2, 0.2, 0.6, 0.7, 1.0, 1.0):
        weighting, state = weighter(batch([0.5, brevity]), json_round_trip(state))
        seen.append(weighting.weights[1])
        assert weighting.weights[0] == 1.0
    np.testing.assert_allclose(seen, [0.2, 0.25, 0.25, 0.2, 0.0, 0.0], atol=1e-12)


def test_dual_ascent_finds_the_price_of_a_constraint():
    """Max a subject to b >= 0.6 where the policy answers with a = 1 - b, b = multiplier / 2: the price is 1.2."""
    weighter = Lagrangian(thresholds=(None, 0.6), learning_rate=0.5)
    state, price = weighter.init(objectives(2)), 0.0
    for _ in range(100):
        weighting, state = weighter(batch([1 - price / 2, price / 2]), state)
        price = weighting.weights[1]
    assert price == pytest.approx(1.2, abs=1e-6)


@pytest.mark.parametrize(
    "thresholds",
    [
        (None, 1.5, 0.9),
        [None, 1.5, 0.9],
        {"correctness": 1.5, "brevity": 0.9},
        {1: 1.5, -1: 0.9},
        (("correctness", 1.5), (2, 0.9)),
    ],
)
def test_ways_to_name_thresholds(thresholds):
    weighter = Lagrangian(thresholds=thresholds, initial=0.3)
    state = weighter.init(NAMED)
    np.testing.assert_array_equal(state["thresholds"], [np.nan, 1.5, 0.9])
    np.testing.assert_array_equal(state["multipliers"], [0.0, 0.3, 0.3])
    assert hash(weighter) == hash(Lagrangian(thresholds=weighter.thresholds, initial=0.3))


def test_the_default_constrains_all_but_the_first_half_way():
    np.testing.assert_array_equal(Lagrangian().init(NAMED)["thresholds"], [np.nan, 0.0, 0.5])
    np.testing.assert_array_equal(Lagrangian().init(objectives(1))["thresholds"], [np.nan])
    unbounded_main = Objectives(["a", "b"], [-np.inf, 0], [np.inf, 1])
    np.testing.assert_array_equal(Lagrangian().init(unbounded_main)["thresholds"], [np.nan, 0.5])
    with pytest.raises(ValueError, match="give the thresholds"):
        Lagrangian().init(Objectives(["a", "b"], [0, -np.inf], [1, np.inf]))


def test_missing_rewards():
    weighter = Lagrangian(thresholds=(None, 0.9, 0.9), learning_rate=1.0, initial=0.5)
    rewards = np.array([[0.1, 0.4, np.nan], [0.1, np.nan, np.nan]])
    weighting, _ = weighter(signals(rewards, np.array([0, 0])), weighter.init(objectives(3)))
    np.testing.assert_allclose(weighting.weights, [1.0, 1.0, 0.5])
    empty = signals(np.empty((0, 3)), np.empty(0, dtype=int))
    np.testing.assert_allclose(weighter(empty, weighter.init(objectives(3)))[0].weights, [1.0, 0.5, 0.5])


def test_preference_multiplies_both_kinds():
    weighter = Lagrangian(thresholds=(None, 0.9), initial=0.5)
    weighting, _ = weighter(batch([0.5, 0.9], preference=np.array([2.0, 3.0])), weighter.init(objectives(2)))
    np.testing.assert_allclose(weighting.weights, [2.0, 1.5])


@pytest.mark.parametrize(
    ("thresholds", "match"),
    [
        ({"speed": 0.5}, r"Lagrangian\(thresholds=\) must name an objective"),
        ({3: 0.5}, "must name an objective"),
        ({"brevity": 0.5, 2: 0.6}, "two levels for objective 2"),
        ({"brevity": np.nan}, r"Lagrangian\(thresholds=\) must be numbers, got nan for 'brevity'"),
        ((None, 0.5), "must be 3 levels"),
        ((None, 0.5, ("brevity", 0.5)), "must be 3 levels"),
        ((), "must be 3 levels"),
        ((None, 3.5, 0.5), "must lie in the bounds"),
        ((None, 0.5, -0.1), "must lie in the bounds"),
        ((0.5, 0.5, 0.5), "leave an objective to maximise"),
    ],
)
def test_init_refuses(thresholds, match):
    with pytest.raises(ValueError, match=match):
        Lagrangian(thresholds=thresholds).init(NAMED)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.0},
        {"learning_rate": np.inf},
        {"maximum": 0.0},
        {"initial": -0.1},
        {"initial": np.nan},
        {"initial": 2.0, "maximum": 1.0},
    ],
)
def test_refuses(options):
    with pytest.raises(ValueError, match=r"Lagrangian\((learning_rate|maximum|initial)=\) must"):
        Lagrangian(**options)
