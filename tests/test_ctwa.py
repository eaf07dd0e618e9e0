"""CTWA: reference numbers, the running mean, the gate, and what it refuses."""

import json

import numpy as np
import pytest
from properties import decide, random_batch, signals
from test_method_vectors import TWO_GROUPS, VECTORS

from llm_morl_agents.advantages import compute_advantages
from llm_morl_agents.bases import Numerics
from llm_morl_agents.weighters import CTWA, Objectives
from llm_morl_agents.weighters.ctwa import advantage_covariance

SAMPLE = Numerics(ddof=1, whiten_ddof=1)


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not at hand")
def test_vectors():
    everything = json.loads(VECTORS.read_text())
    v = everything["peers"]["ctwa_first_update"]
    rewards = np.reshape(everything["inputs"]["base"], (8, 3))
    weighter = CTWA(targets=v["targets"], learning_rate=v["lambda_lr"])
    first, state = decide(weighter, rewards, TWO_GROUPS, level="reward")
    np.testing.assert_allclose(first.weights, 1 / 3)
    np.testing.assert_allclose(state["covariance"], v["covariance"], atol=1e-6)
    second, _ = decide(weighter, rewards, TWO_GROUPS, level="reward", state=state, step=1)
    np.testing.assert_allclose(second.weights, v["weights"], atol=1e-6)


@pytest.mark.parametrize(("level", "method"), [("reward", "grpo"), ("advantage", "gdpo")])
def test_the_covariance_is_that_of_the_level_s_advantage_under_the_current_weights(level, method):
    weighter, state, preference = CTWA(targets=[0.9, 0.5, 0.0], learning_rate=1.0), None, np.array([1.0, 0.5, 2.0])
    running = None
    for step in range(3):
        rewards, group = random_batch(step)
        weighting, state = decide(weighter, rewards, group, level=level, state=state, step=step, preference=preference)
        advantage = compute_advantages(rewards, group, method=method, weights=weighting.weights, numerics=SAMPLE)
        inside = [group == label for label in np.unique(group)]
        seen = np.mean([[np.cov(r, advantage[g], ddof=0)[0, 1] for r in rewards[g].T] for g in inside], axis=0)
        running = seen if running is None else 0.9 * running + 0.1 * seen
        np.testing.assert_allclose(state["covariance"], running, atol=1e-12)


def test_weights_only_grow_and_by_the_shortfall():
    weighter, state = CTWA(targets=[0.5, 0.5, -1.0], learning_rate=0.3), None
    log_weights = np.zeros(3)
    for step in range(4):
        weighting, state = decide(weighter, *random_batch(step), state=state, step=step)
        np.testing.assert_allclose(weighting.weights, np.exp(log_weights))
        log_weights = log_weights + 0.3 * np.maximum(0, np.array([0.5, 0.5, -1.0]) - state["covariance"])
    assert (log_weights[:2] > 0).all()
    assert log_weights[2] == 0.0  # always above its target


def test_the_gate_stops_what_is_reached():
    rewards, group = random_batch(0)
    mean = rewards.mean(axis=0)
    _, free = decide(CTWA(targets=[1.0] * 3), rewards, group)
    _, gated = decide(CTWA(targets=[1.0] * 3, gate=[mean[0] - 0.01, mean[1] + 0.01, 2.0]), rewards, group)
    assert gated["log_weights"][0] == 0.0
    np.testing.assert_array_equal(gated["log_weights"][1:], free["log_weights"][1:])
    assert (free["log_weights"] > 0).all()


def test_default_targets_scale_with_width_and_number():
    flat, group = np.zeros((4, 4)), np.zeros(4, dtype=int)
    bounds = {"low": np.array([0.0, 0.0, -3.0, 0.0]), "high": np.array([1.0, 2.0, 3.0, 1e-6])}
    _, state = decide(CTWA(learning_rate=1.0), flat, group, **bounds)
    np.testing.assert_allclose(state["log_weights"], 0.1 * np.array([1.0, 2.0, 6.0, 1e-6]) / 2)


def test_unrelated_objectives_of_the_assumed_spread_reach_the_default_targets():
    """The reasoning behind the default: std 0.1 of the width, no correlation."""
    rng, width = np.random.default_rng(0), np.array([1.0, 4.0, 0.5])
    unrelated = rng.standard_normal((4000, 3))
    unrelated = np.linalg.qr(unrelated - unrelated.mean(axis=0))[0] * np.sqrt(4000)
    rewards = width * (0.5 + 0.1 * unrelated)
    _, state = decide(CTWA(), rewards, preference=1 / width, level="reward", low=-width, high=2 * width)
    np.testing.assert_allclose(state["covariance"], 0.1 * width / np.sqrt(3), rtol=1e-3)


def test_an_objective_without_rewards_keeps_its_memory():
    weighter = CTWA(targets=[1.0, 1.0, 1.0])
    _, before = decide(weighter, *random_batch(0))
    rewards, group = random_batch(1)
    rewards[:, 1] = np.nan
    _, after = decide(weighter, rewards, group, state=before, step=1)
    assert after["covariance"][1] == before["covariance"][1]
    assert after["log_weights"][1] == before["log_weights"][1]
    assert (after["log_weights"] > before["log_weights"])[[0, 2]].all()


def test_a_late_objective_starts_its_mean_with_its_first_batch():
    weighter, (rewards, group) = CTWA(targets=[1.0, 1.0, 1.0]), random_batch(0)
    missing = rewards.copy()
    missing[:, 1] = np.nan
    _, state = decide(weighter, missing, group)
    assert np.asarray(state["started"]).tolist() == [True, False, True]
    _, late = decide(weighter, rewards, group, state=state | {"log_weights": np.zeros(3)}, step=1)
    _, fresh = decide(weighter, rewards, group)
    assert late["covariance"][1] == fresh["covariance"][1]


def test_opposed_rewards_leave_no_residue():
    x = np.random.default_rng(0).random(12)
    _, state = decide(CTWA(targets=[0.1, 0.1]), np.column_stack([x, -x]), np.repeat([0, 1], 6), low=-np.ones(2))
    np.testing.assert_array_equal(state["covariance"], 0.0)


def test_covariance_leaves_groups_of_one_out():
    rewards, advantages = np.array([[0.0], [2.0], [9.0]]), np.array([-1.0, 1.0, 5.0])
    np.testing.assert_array_equal(advantage_covariance(rewards, np.array([0, 0, 1]), advantages), [1.0])
    assert np.isnan(advantage_covariance(rewards[2:], np.array([1]), advantages[2:])).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tau": 0.0}, r"CTWA\(tau=\) must lie in \(0, 1\]"),
        ({"tau": 1.1}, r"CTWA\(tau=\) must lie in \(0, 1\]"),
        ({"learning_rate": 0.0}, r"CTWA\(learning_rate=\) must be positive"),
        ({"learning_rate": np.inf}, r"CTWA\(learning_rate=\) must be positive"),
        ({"targets": [np.nan]}, r"CTWA\(targets=\): nan is not allowed"),
        ({"gate": [[1.0]]}, r"CTWA\(gate=\) must have shape"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        CTWA(**options)


def test_needs_one_target_for_each_objective_or_bounds():
    undeclared = Objectives(["a", "b"], [0.0, 0.0], [1.0, np.inf])
    with pytest.raises(ValueError, match=r"CTWA\(targets=None\) needs the declared bounds"):
        CTWA().init(undeclared)
    CTWA(targets=[0.1, 0.1]).init(undeclared)
    for name in ("targets", "gate"):
        with pytest.raises(ValueError, match=rf"CTWA\({name}=\) must have 2 entries, one for each objective"):
            CTWA(**{name: [0.1, 0.1, 0.1]}).init(undeclared)
    with pytest.raises(ValueError, match="must have 3 entries"):
        CTWA(targets=[0.1])(signals(*random_batch(0)), {})
