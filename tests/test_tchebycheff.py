"""Tchebycheff: the published numbers, what no weighted sum can do, and the ideal at both levels."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from properties import json_round_trip, objectives, random_batch, signals

from llm_morl_agents.advantages import combine_advantages, combine_rewards, group_zscore
from llm_morl_agents.weighters import (
    Objectives,
    SmoothTchebycheff,
    Tchebycheff,
    WeightedTchebycheff,
    Weighting,
)

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
PAIR = np.zeros(2, dtype=int)


def decide(weighter, rewards, group=None, state=None, **kwargs):
    """Weighting and state at reward level."""
    group = np.zeros(len(rewards), dtype=int) if group is None else group
    return weighter(signals(rewards, group, level="reward", **kwargs), state or {})


def scores(weighting, rewards):
    """What the combiner makes of rewards in one group."""
    weights, _ = weighting.rows(np.zeros(len(rewards), dtype=int), rewards.shape[1])
    return weighting.combiner(np.nan_to_num(rewards), weights)


def test_vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    v = json.loads(VECTORS.read_text())["peers"]["tchebycheff"]
    rewards, weights = np.reshape(v["rewards"], (8, 3)), np.tile(v["weights"], (8, 1))
    ideal = tuple(v["ideal"])
    for key, combiner, weighter in (
        ("weighted", WeightedTchebycheff(ideal), Tchebycheff(rho=0.0)),
        ("augmented_rho_0p05", WeightedTchebycheff(ideal, rho=0.05), Tchebycheff()),
        ("smooth_mu_0p1", SmoothTchebycheff(ideal, mu=0.1), Tchebycheff(mu=0.1)),
    ):
        np.testing.assert_allclose(combiner(rewards, weights), np.ravel(v[key]), atol=1e-6, err_msg=key)
        weighting, _ = decide(weighter, rewards, preference=np.array(v["weights"]))
        assert weighting.combiner == combiner
        np.testing.assert_allclose(scores(weighting, rewards), np.ravel(v[key]), atol=1e-6, err_msg=key)


def test_the_middle_of_a_convex_gap_is_best():
    """No weighted sum prefers (0.4, 0.4) to both ends; Tchebycheff does, under GRPO."""
    rewards, group = np.array([[1.0, 0.0], [0.4, 0.4], [0.0, 1.0]]), np.zeros(3, dtype=int)
    grpo = combine_rewards(group_zscore)
    assert np.argmax(grpo(rewards, group, Weighting(np.ones(2)))) != 1
    for weighter in (Tchebycheff(), Tchebycheff(rho=0.0), Tchebycheff(mu=0.05)):
        assert np.argmax(grpo(rewards, group, decide(weighter, rewards)[0])) == 1


@pytest.mark.parametrize("mu", [1e-3, 0.1, 1.0])
def test_smooth_lies_below_hard_by_at_most_mu_log_k(mu):
    rng = np.random.default_rng(0)
    values, weights = rng.random((50, 3)), np.tile([0.5, 0.3, 0.2], (50, 1))
    gap = WeightedTchebycheff((1.0,) * 3)(values, weights) - SmoothTchebycheff((1.0,) * 3, mu)(values, weights)
    assert (gap >= -1e-12).all()
    assert (gap <= mu * np.log(3) + 1e-12).all()
    assert gap.max() > 0


def test_extreme_gaps_stay_finite():
    values = np.array([[-1e6, 0.0], [1e6, 1e6]])
    got = SmoothTchebycheff((1.0, 1.0), mu=1e-3)(values, np.ones((2, 2)))
    np.testing.assert_allclose(got, [-1e6 - 1, 1e6 - 1 - 1e-3 * np.log(2)], rtol=1e-12)


@pytest.mark.parametrize("combiner", [WeightedTchebycheff((1.0, 1.0), rho=0.1), SmoothTchebycheff((1.0, 1.0), mu=0.1)])
def test_weight_zero_leaves_an_objective_out(combiner):
    values, weights = np.array([[0.8, -5.0]]), np.array([[1.0, 0.0]])
    alone = type(combiner)((1.0,), *list(vars(combiner).values())[1:])
    np.testing.assert_allclose(combiner(values, weights), alone(values[:, :1], weights[:, :1]), rtol=1e-12)
    np.testing.assert_array_equal(combiner(values, 0 * weights), [0.0])
    assert pickle.loads(pickle.dumps(combiner)) == combiner


def test_bounds_put_objectives_on_one_scale():
    rewards, group = random_batch(0)
    low, width = np.array([0.0, -3.0, 10.0]), np.array([1.0, 6.0, 0.5])
    grpo = combine_rewards(group_zscore)
    unit, _ = decide(Tchebycheff(), rewards, group)
    scaled, _ = decide(Tchebycheff(), low + width * rewards, group, low=low, high=low + width)
    np.testing.assert_allclose(
        grpo(low + width * rewards, group, scaled), grpo(rewards, group, unit), rtol=1e-9, atol=1e-12
    )


def test_running_maximum_where_no_bound_is_declared():
    weighter, high = Tchebycheff(rho=0.0), np.array([1.0, np.inf, np.inf])
    state = weighter.init(Objectives(["a", "b", "c"], np.zeros(3), high))
    ideals = []
    for rewards in ([[0.2, 5.0, np.nan]], [[0.9, 3.0, np.nan]], [[0.1, 7.0, -2.0]]):
        state = json_round_trip(state)
        weighting, state = decide(weighter, np.array(rewards), state=state, high=high)
        ideals.append(weighting.combiner.ideal)
    assert ideals == [(1.0, 5.0, 0.0), (1.0, 5.0, 0.0), (1.0, 7.0, -2.0)]
    np.testing.assert_array_equal(state["best"], [0.9, 7.0, -2.0])
    assert Tchebycheff().init(objectives(3)) == {}


def test_a_given_ideal_is_in_the_units_of_the_rewards():
    rewards = np.array([[0.5, 30.0]])
    weighting, _ = decide(Tchebycheff(ideal=[1, 50], rho=0.0), rewards, high=np.array([1.0, 100.0]))
    np.testing.assert_allclose(scores(weighting, rewards), [-0.5])
    weighting, _ = decide(Tchebycheff(ideal=(0.6, 100.0), rho=0.0), rewards, high=np.array([1.0, 100.0]))
    np.testing.assert_allclose(scores(weighting, rewards), [-0.7])


def test_missing_rewards_do_not_lag():
    rewards = np.array([[0.9, np.nan], [0.5, 0.5]])
    weighting, _ = decide(Tchebycheff(rho=0.0), rewards)
    np.testing.assert_allclose(scores(weighting, rewards), [-0.1, -0.5])
    # Every response a group of its own: rows are read per group.
    weighting, _ = decide(Tchebycheff(rho=0.0), rewards, np.array([7, 3]))
    np.testing.assert_array_equal(weighting.rows(np.array([7, 3]), 2)[0], [[1, 0], [1, 1]])


def test_at_advantage_level_the_worst_z_score_decides():
    rewards, group = random_batch(1)
    preference = np.array([1.0, 0.5, 2.0])
    z = group_zscore(rewards, group)
    weighting, state = Tchebycheff(rho=0.0)(signals(rewards, group, preference=preference), {})
    got = combine_advantages(group_zscore)(rewards, group, weighting)
    np.testing.assert_allclose(got, (preference * z).min(axis=1), rtol=1e-12)
    assert state == {}


def test_at_advantage_level_a_flat_objective_caps_nothing():
    rewards = np.array([[0.0, 1.0], [1.0, 1.0]])
    weighting, _ = Tchebycheff(rho=0.0)(signals(rewards, PAIR), {})
    np.testing.assert_allclose(combine_advantages(group_zscore)(rewards, PAIR, weighting), [-1.0, 1.0])


def test_an_ideal_means_nothing_at_advantage_level():
    with pytest.raises(ValueError, match=r"combine rewards instead \(grpo, rloo\)"):
        Tchebycheff(ideal=(1.0, 1.0))(signals(np.zeros((2, 2)), PAIR), {})


@pytest.mark.parametrize(
    "options", [{"rho": -0.1}, {"rho": np.inf}, {"mu": 0.0}, {"mu": np.nan}, {"ideal": (1.0, np.inf)}, {"ideal": 1.0}]
)
def test_refuses(options):
    with pytest.raises(ValueError, match=r"Tchebycheff\((ideal|rho|mu)="):
        Tchebycheff(**options)


def test_the_ideal_needs_one_entry_for_each_objective():
    with pytest.raises(ValueError, match="must have 3 entries"):
        Tchebycheff(ideal=(1.0, 1.0)).init(objectives(3))
    with pytest.raises(ValueError, match="must have 3 entries"):
        decide(Tchebycheff(ideal=(1.0, 1.0)), np.zeros((2, 3)))
