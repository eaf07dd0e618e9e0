"""Hypervolume: the published numbers, the two repaired defects, and where the factor acts."""

import json
from pathlib import Path

import numpy as np
import pytest
from properties import decide, json_round_trip, objectives, random_batch, signals

from llm_morl_agents.advantages import (
    batch_whitened,
    combine_advantages,
    combine_rewards,
    group_zscore,
    leave_one_out,
    mean_centred,
)
from llm_morl_agents.weighters import Hypervolume, Objectives, Probe, Weighting
from llm_morl_agents.weighters.hypervolume import archive_of, extension, step_factor
from llm_morl_env.metrics import hypervolume, nondominated

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
GROUP = np.repeat([0, 1], 4)


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())["hypervolume"]


def at(point, step=0, **extra):
    """Signals whose validation point is given."""
    point = None if point is None else np.array(point, dtype=float)
    k = 2 if point is None else len(point)
    return signals(np.full((8, k), 0.5), GROUP, step=step, validation=point, **extra)


def run(weighter, points, state=None):
    """The factor of each step, and the last state."""
    state = weighter.init(objectives(len(points[0]))) if state is None else state
    factors = []
    for step, point in enumerate(points):
        weighting, state = weighter(at(point, step), state)
        factors.append(float(weighting.scale))
    return factors, state


# ------------------------------------------------------------------------------------------------ reference numbers


def test_sequence_in_raw_units(vectors):
    """The point measured before a step is the one that the step before led to: its factor is that of the step."""
    v, sign = vectors["raw_units_sequence"], np.array([1, -1, 1])
    points = [sign * v["reference"], *(sign * step["point"] for step in v["steps"])]
    weighter = Hypervolume(raw_units=True)
    factors, state = run(weighter, points)
    used = [step["multiplier_used_this_step"] for step in v["steps"]]
    np.testing.assert_allclose(factors, [*used, v["steps"][-1]["next_multiplier"]], atol=1e-6)
    np.testing.assert_allclose(state["reference"], sign * v["reference"])
    assert hypervolume(state["archive"], state["reference"]) == pytest.approx(v["final_hv"], abs=1e-6)
    archive = np.empty((0, 3))
    for step in v["steps"]:
        growth = extension(archive, sign * step["point"], sign * v["reference"])
        assert growth == pytest.approx(step["delta_hv"], abs=1e-6)
        if step["added"]:
            archive = np.vstack([archive, sign * step["point"]])


def test_extensions(vectors):
    v = vectors["two_objective"]
    archive, reference = np.array(v["buffer"]), np.array(v["reference"], dtype=float)
    assert hypervolume(archive, reference) == pytest.approx(v["hv_buffer"], abs=1e-6)
    for name in ("new", "dominated", "duplicate"):
        expected = v["delta_hv" if name == "new" else f"delta_hv_{name}"]
        assert extension(archive, np.array(v[f"{name}_point"]), reference) == pytest.approx(expected, abs=1e-6)
    assert step_factor(v["delta_hv"]) == pytest.approx(v["multiplier"], abs=1e-6)
    v = vectors["three_objective_unit"]
    points = np.array(v["points"])
    for i, expected in enumerate(v["exclusive_contributions"]):
        assert extension(np.delete(points, i, axis=0), points[i], np.zeros(3)) == pytest.approx(expected, abs=1e-6)


def test_factor_table(vectors):
    for growth, factor in vectors["multiplier_table"]["table"]:
        assert step_factor(growth) == pytest.approx(factor, abs=1e-6)


def test_multiplier_is_removed_by_std_normalisation(vectors):
    """The defect of the released code, and the repair: multiply after normalisation."""
    v = vectors["multiplier_is_removed_by_std_normalisation"]
    family = json.loads(VECTORS.read_text())
    rewards, factor = np.reshape(family["inputs"]["base"], (8, 3)), v["multiplier"]
    plain, scaled = Weighting(np.ones(3)), Weighting(np.ones(3), scale=factor)
    grpo = combine_rewards(group_zscore, numerics="verl")
    change = np.abs(grpo(factor * rewards, GROUP, plain) - grpo(rewards, GROUP, plain)).max()
    assert change == pytest.approx(v["max_change_grpo_eps1e6"], abs=1e-9)
    whiten = combine_rewards(batch_whitened, numerics="verl")
    change = np.abs(whiten(factor * rewards, GROUP, plain) - whiten(rewards, GROUP, plain)).max()
    assert change == pytest.approx(v["max_change_global_whiten"], abs=1e-10)
    rloo = combine_rewards(leave_one_out)
    ratio = rloo(factor * rewards, GROUP, plain) / rloo(rewards, GROUP, plain)
    np.testing.assert_allclose(ratio, v["rloo_ratio"], atol=1e-6)
    expected = np.ravel(v["grpo_advantage_scaled_after_normalisation"])
    np.testing.assert_allclose(grpo(rewards, GROUP, scaled), expected, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_extension_is_the_difference_of_volumes(k):
    rng = np.random.default_rng(k)
    for _ in range(50):
        archive, reference = rng.uniform(-0.2, 1, (rng.integers(0, 6), k)), np.zeros(k)
        point = rng.uniform(-0.2, 1, k)
        both = hypervolume(np.vstack([archive, point]), reference)
        alone = hypervolume(archive, reference) if len(archive) else 0.0
        assert extension(archive, point, reference) == pytest.approx(both - alone, abs=1e-12)


def test_a_point_behind_the_reference_adds_exactly_nothing():
    archive, reference = np.array([[0.85, -600, 0.95], [0.88, -500, 1.0]]), np.array([0.8, -700, 0.9])
    assert extension(archive, np.array([0.95, -400, 0.5]), reference) == 0.0
    assert extension(archive, np.array([0.95, -400, 0.9]), reference) == 0.0
    assert extension(archive, archive[0], reference) == 0.0


@pytest.mark.parametrize(
    "estimator",
    [
        combine_rewards(group_zscore),
        combine_rewards(mean_centred),
        combine_rewards(batch_whitened),
        combine_advantages(group_zscore, whiten=True),
    ],
)
def test_the_factor_acts_after_normalisation(estimator):
    rewards, group = random_batch(0)
    state = {"factor": 1.75}
    weighting, _ = Hypervolume()(signals(rewards, group, level=estimator.level), state)
    plain = estimator(rewards, group, Weighting(np.ones(3)))
    np.testing.assert_allclose(estimator(rewards, group, weighting), 1.75 * plain, rtol=1e-12)
    assert np.abs(plain).max() > 0.1


def test_the_first_point_leaves_the_factor():
    """Also above a reference that is given, where it has a volume of its own."""
    for weighter in (Hypervolume(), Hypervolume(reference=(0.0, 0.0))):
        assert run(weighter, [[0.5, 0.5]])[0] == [1.0]
    factors, state = run(Hypervolume(reference=(0.0, 0.0)), [[0.5, 0.5], [0.6, 0.5]])
    assert factors == [1.0, pytest.approx(step_factor(0.05))]
    np.testing.assert_array_equal(state["archive"], [[0.6, 0.5]])


def test_bounds_give_the_unit():
    """Gains are the same whatever the unit of an objective; a temperature is a choice of that unit."""
    points, width = [[0.1, 0.2], [0.3, 0.4], [0.2, 0.9]], np.array([6.0, 100.0])
    low, high = np.array([-3.0, 50.0]), np.array([3.0, 150.0])

    def factors(weighter):
        state, out = weighter.init(Objectives(["a", "b"], low, high)), []
        for step, point in enumerate(points):
            weighting, state = weighter(at(low + width * point, step, low=low, high=high), state)
            out.append(float(weighting.scale))
        return out

    np.testing.assert_allclose(factors(Hypervolume()), run(Hypervolume(), points)[0], rtol=1e-9)
    np.testing.assert_allclose(factors(Hypervolume(raw_units=True)), factors(Hypervolume(temperature=1 / 600)))
    np.testing.assert_allclose(factors(Hypervolume(reference=tuple(low + 0.1 * width)))[1], step_factor(0.2 * 0.3))


def test_without_a_point_the_factor_stays():
    weighter = Hypervolume(every=2)
    factors, state = run(weighter, [[0.1, 0.1], [0.9, 0.9]])
    weighting, after = weighter(at(None, 2), state)
    assert float(weighting.scale) == factors[1] > 1
    assert after is state
    assert float(weighter(at(None), weighter.init(objectives(2)))[0].scale) == 1.0


def test_the_batch_as_source():
    weighter = Hypervolume(source="batch", reference=(0.0, 0.0))
    state = weighter.init(objectives(2))
    scales = []
    for rewards in ([[0.2, np.nan], [0.4, 0.5]], [[0.5, 0.5], [0.7, 0.5]], [[0.1, np.nan], [0.9, np.nan]]):
        weighting, state = weighter(signals(np.array(rewards), np.zeros(2, dtype=int)), state)
        scales.append(float(weighting.scale))
    expected = step_factor(0.3 * 0.5)
    np.testing.assert_allclose(scales, [1.0, expected, expected])  # the last batch says nothing of one objective
    weighting, after = weighter(signals(np.empty((0, 2)), np.empty(0, dtype=int)), state)
    assert after is state


def test_the_archive_holds_the_front_alone():
    rng = np.random.default_rng(0)
    _, state = run(Hypervolume(reference=(0, 0, 0)), rng.random((60, 3)))
    assert nondominated(state["archive"]).all()
    assert len(np.unique(state["archive"], axis=0)) == len(state["archive"]) < 60


def test_state_survives_json_before_any_growth():
    weighter = Hypervolume()
    _, state = run(weighter, [[0.5, 0.5]])
    assert state["archive"].shape == (0, 2)
    later, _ = run(weighter, [[0.7, 0.7]], state=json_round_trip(state))
    assert later == [pytest.approx(step_factor(0.04))]


def test_needs_follow_the_source():
    assert Hypervolume().needs == {"validation"}
    assert Hypervolume(source="batch").needs == frozenset()
    assert Hypervolume(every=5, problems=16).probe == Probe(every=5, problems=16)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"source": "train"}, r"Hypervolume\(source=\) must be one of"),
        ({"temperature": 0}, r"temperature=\) must be positive"),
        ({"temperature": np.inf}, r"temperature=\) must be positive"),
        ({"every": 0}, r"every=\) must be positive"),
        ({"problems": 0}, r"problems=\) must be positive"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        Hypervolume(**options)


def test_init_refuses():
    with pytest.raises(ValueError, match=r"reference=\) must have shape \(3\)"):
        Hypervolume(reference=(0, 0)).init(objectives(3))
    undeclared = Objectives(["a"], [0.0], [np.inf])
    with pytest.raises(ValueError, match="needs the declared bounds"):
        Hypervolume().init(undeclared)
    Hypervolume(raw_units=True).init(undeclared)


@pytest.mark.parametrize("k", [2, 5])
def test_small_gains_enter_the_archive(k):
    """What is growth and what is rounding does not depend on how many objectives multiply to a volume."""
    weighter, state = Hypervolume(source="batch", reference=(0,) * k), None
    for step, mean in enumerate((0.001, 0.002, 0.003)):
        _, state = decide(weighter, np.full((4, k), mean), state=state, step=step)
        np.testing.assert_allclose(archive_of(state, k), np.full((1, k), mean))


def test_rounding_is_no_growth_in_large_units():
    weighter, state, ones = Hypervolume(source="batch", raw_units=True, reference=(0, 0, 0)), None, np.ones(3)
    point, bounds = 1e9 * np.array([3.0, 2.0, 7.0]), {"low": 0 * ones, "high": 1e10 * ones}
    for step, rounding in enumerate((0.0, 2e-16, 4e-16)):
        rewards = np.tile(point * (1 + rounding * np.array([1.0, -1.0, 0.0])), (4, 1))
        weighting, state = decide(weighter, rewards, state=state, step=step, **bounds)
    assert weighting.scale == 0.5
    assert len(archive_of(state, 3)) == 1
