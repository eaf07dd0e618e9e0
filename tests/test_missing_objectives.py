"""Objectives that some problems lack: what weighters, their states and reports make of NaN."""

import json

import numpy as np
import pytest
from properties import decide, measured, objectives, random_batch, rows_of_weights
from test_weighters import ARMS, LEVELS, ONE_LEVEL

from llm_morl_agents.diagnostics import within_group_std, zero_variance_share
from llm_morl_agents.weighters.gradient import mirror_step, mirror_step_among
from llm_morl_agents.weighters.selection import present_objectives, shares_among

every_arm_and_level = pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name in ARMS for level in LEVELS if ONE_LEVEL.get(name, level) == level]
)
#: Rows whose ratio of two weights depends on the mass of all, or on more than the two: by design, with the reason.
JOINT = {
    "saw-floor": "bounds are shares of the sum",
    "floored": "mixed with even weights of the same sum",
    "floored-groups": "mixed with even weights of the same sum",
    "nested": "mixed with even weights of the same sum",
    "clipped": "bounds are shares of the sum",
    "clipped-groups": "bounds are shares of the sum",
    "gradient-jvp": "the floor is a share of the sum",
    "hypervolume_gradient": "a gradient by all objectives; a batch without one has no point",
    "hypervolume_gradient-box": "a gradient by all objectives; a batch without one has no point",
    "random": "draws for each objective",
    "gradient_combiner": "pulls towards a direction for all",
    "gradient_combiner-mgda": "the shortest of all sums",
    "gradient_combiner-gapo": "the shortest of all sums",
}
#: Rows whose memory of an objective moves without a batch that has it.
KEPT_OTHERWISE = {
    "hypervolume": "validation has problems of its own",
    "hypervolume_gradient-validation": "validation has problems of its own",
    "gradient-realised": "two measurements to an update, and the first had it",
}


def mixture(seed, lacking=(2,)):
    """Rewards (N, 3) and groups, of which about half lack the objectives ``lacking``, and those rows, bool (N,)."""
    rewards, group = random_batch(seed, groups=8)
    rows = np.isin(group, np.unique(group)[::2])
    rewards[np.ix_(rows, list(lacking))] = np.nan
    return rewards, group, rows


def finite(weighting, state):
    assert np.isfinite(weighting.weights).all()
    assert np.isfinite(weighting.scale).all()
    for name, value in state.items():
        assert np.isfinite(np.asarray(value, dtype=np.float64)[~np.isnan(np.asarray(value, dtype=np.float64))]).all()
        if name.rpartition("/")[2] != "thresholds":  # NaN marks a main objective
            assert not np.isnan(np.asarray(value, dtype=np.float64)).any(), name


def without(signals, k):
    """Optional signals in which objective k was not there."""
    found = {}
    for name, value in signals.items():
        found[name] = value.copy()
        if name == "gramian":
            found[name][k], found[name][:, k] = np.nan, np.nan
        elif name != "validation":
            found[name][k] = np.nan
    return found


# ------------------------------------------------------------------------------------------- every row of the table


@every_arm_and_level
def test_decisions_and_states_are_finite(name, level):
    """Missing by groups, by entries at random, wholly from a batch, and from everything."""
    weighter, state = ARMS[name], None
    batches = [mixture(1)[:2], random_batch(2), random_batch(3), random_batch(4), random_batch(5)]
    batches[1][0][np.random.default_rng(0).random(batches[1][0].shape) < 0.4] = np.nan
    batches[2][0][:, 1] = np.nan
    batches[3][0][:] = np.nan
    for step, (rewards, group) in enumerate(batches):
        given = measured(weighter.needs, 3, step)
        for k in np.flatnonzero(np.isnan(rewards).all(axis=0)):
            given = without(given, k)
        weighting, state = decide(weighter, rewards, group, level=level, state=state, step=step, **given)
        finite(weighting, state)
        rows_of_weights(weighting, rewards, group)


@every_arm_and_level
def test_rows_without_an_objective_leave_the_others_ratio(name, level):
    """Of a mixture of two tasks without a common objective, the first one's weights are those of it alone."""
    if name in JOINT or (name.startswith(("ctwa", "corr")) and level == "advantage"):
        pytest.skip("weights of several objectives or the whole batch hang together")
    weighter = ARMS[name]
    rewards, group, others = mixture(6, lacking=(0, 1))
    rewards[~others, 2] = np.nan
    both, _ = decide(weighter, rewards, group, level=level)
    alone, _ = decide(weighter, rewards[~others], group[~others], level=level)
    got = rows_of_weights(both, rewards, group)[0][~others][:, :2]
    expected = rows_of_weights(alone, rewards[~others], group[~others])[0][:, :2]
    got, expected = (np.where(np.isnan(rewards[~others][:, :2]), 0, w) for w in (got, expected))
    totals = [w.sum(axis=1, keepdims=True) for w in (got, expected)]
    np.testing.assert_array_equal(totals[0] > 0, totals[1] > 0)
    shares = [w / np.where(t > 0, t, 1) for w, t in zip((got, expected), totals, strict=True)]
    np.testing.assert_allclose(*shares, rtol=1e-9, atol=1e-12)


@every_arm_and_level
def test_an_absent_objective_keeps_its_state(name, level):
    """What the state holds of it after a batch without it is what it held before; and the others go on."""
    if name in KEPT_OTHERWISE:
        pytest.skip(KEPT_OTHERWISE[name])
    weighter = ARMS[name]
    _, before = decide(weighter, *random_batch(1), level=level)
    rewards, group = random_batch(2)
    rewards[:, 2] = np.nan
    given = without(measured(weighter.needs, 3, 1), 2)
    weighting, after = decide(weighter, rewards, group, level=level, state=before, step=1, **given)
    finite(weighting, after)
    for key, value in before.items():
        if np.shape(value) == (3,) and not key.endswith("total"):
            np.testing.assert_allclose(after[key][2], value[2], rtol=1e-12, err_msg=key)
    if name.startswith("hypervolume"):
        assert json.dumps(after, default=np.ndarray.tolist) == json.dumps(before, default=np.ndarray.tolist)


@every_arm_and_level
def test_an_absent_objective_leaves_the_ratio_of_the_others(name, level):
    """First step: the weights of the others are, up to a factor, those of a task that does not have the objective."""
    if name in JOINT or name in {"saw-offset", "frozen", "replay", "static-weights", "ctwa-targets"}:
        pytest.skip("options for each objective, or weights that hang together")
    weighter = ARMS[name]
    rewards, group = random_batch(7)
    given = measured(weighter.needs, 3)
    fewer = {key: value[np.ix_(*[[0, 1]] * value.ndim)] for key, value in given.items()}
    if "influence" in fewer:
        fewer["influence"] = fewer["gramian"].sum(axis=1) if "gramian" in fewer else fewer["influence"]
    expected, _ = decide(weighter, rewards[:, :2], group, level=level, **fewer)
    rewards[:, 2] = np.nan
    got, _ = decide(weighter, rewards, group, level=level, **without(given, 2))
    got = rows_of_weights(got, rewards, group)[0][:, :2]
    expected = rows_of_weights(expected, rewards[:, :2], group)[0]
    totals = [w.sum(axis=1, keepdims=True) for w in (got, expected)]
    shares = [w / np.where(t > 0, t, 1) for w, t in zip((got, expected), totals, strict=True)]
    np.testing.assert_allclose(*shares, rtol=1e-9, atol=1e-12)


def test_the_mean_weight_of_the_others_stays():
    rewards, group = random_batch(3)
    rewards[:, 2] = np.nan
    for name in ("saw", "saw-released", "encore", "saw-ema"):
        weighting, _ = decide(ARMS[name], rewards, group)
        np.testing.assert_allclose(weighting.weights.mean(), 1.0, rtol=1e-6)
        np.testing.assert_allclose(weighting.weights[2], 1.0, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------- helpers


def test_present_objectives():
    rewards = np.array([[0.0, np.nan, 1.0], [np.nan, np.nan, 1.0]])
    np.testing.assert_array_equal(present_objectives(rewards), [True, False, True])
    np.testing.assert_array_equal(present_objectives(np.zeros((0, 2))), [True, True])


def test_shares_among():
    every = np.ones(3, bool)
    np.testing.assert_array_equal(shares_among(np.array([1.0, 2.0, 1.0]), every), [0.25, 0.5, 0.25])
    held = shares_among(np.array([1.0, 3.0, np.nan]), np.array([True, True, False]), np.array([0.1, 0.1, 0.8]))
    np.testing.assert_allclose(held, [0.05, 0.15, 0.8])


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_mirror_step_among(floor):
    log_share, exponent = np.log([0.1, 0.1, 0.8]), np.array([3.0, -1.0, 50.0])
    moved = np.exp(mirror_step_among(log_share, exponent, np.array([True, True, False]), floor=floor))
    np.testing.assert_allclose([moved.sum(), moved[2]], [1.0, 0.8])
    assert (moved >= floor - 1e-9).all()
    if not floor:
        np.testing.assert_allclose(np.log(moved[0] / moved[1]), 4.0)
    none = mirror_step_among(log_share, exponent, np.zeros(3, bool), floor=floor)
    np.testing.assert_array_equal(none, log_share)
    every = mirror_step_among(log_share, exponent, np.ones(3, bool), floor=floor)
    np.testing.assert_array_equal(every, mirror_step(log_share, exponent, floor=floor))


def test_an_average_of_measurements_is_over_those_that_had_the_objective():
    weighter = ARMS["gradient-realised"]  # two measurements to an update
    rewards, group = random_batch(1)
    gains = ([0.3, -0.1, np.nan], [0.1, 0.1, 0.4])
    state = weighter.init(objectives(3))
    for step, gain in enumerate(gains):
        _, state = decide(weighter, rewards, group, state=state, step=step, realised=np.array(gain))
        assert ("counts" in state) == (step == 0)
    rate = weighter.eta / weighter.mu
    expected = mirror_step(np.log(np.full(3, 1 / 3)), rate * np.array([0.2, 0.0, 0.4]))
    np.testing.assert_allclose(state["log_share"], expected)


def test_reports_leave_out_groups_without_the_objective():
    rewards = np.array([[0.0, np.nan, np.nan], [2.0, np.nan, np.nan], [1.0, 0.0, np.nan], [1.0, 1.0, np.nan]])
    group = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(within_group_std(rewards, group), [0.5, 0.5, np.nan])
    np.testing.assert_array_equal(zero_variance_share(rewards, group), [0.5, 0.0, np.nan])
