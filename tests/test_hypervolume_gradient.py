"""HypervolumeGradient: the derivative it claims to be, what happens off the front, and its normalisation."""

import numpy as np
import pytest
from properties import json_round_trip, objectives, random_batch, signals, weights_of

from llm_morl_agents.weighters import HypervolumeGradient, Objectives, Probe, ProportionalFair
from llm_morl_agents.weighters.hypervolume_gradient import box_gradient, hypervolume_gradient
from llm_morl_env.metrics import hypervolume, nondominated


def at(point, level="reward", **extra):
    """Signals of a batch whose mean is the point."""
    return signals(np.tile(np.array(point, dtype=float), (4, 1)), np.repeat([0, 1], 2), level=level, **extra)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_it_is_the_derivative(k):
    """A difference quotient is exact while the step crosses no coordinate of the archive."""
    rng, step, moved = np.random.default_rng(k), 1e-6, 0
    for _ in range(40):
        archive, point, reference = rng.random((rng.integers(0, 6), k)), rng.uniform(0.1, 1, k), np.zeros(k)
        volume = hypervolume(np.vstack([archive, point]), reference)
        quotient = [
            (hypervolume(np.vstack([archive, point + step * np.eye(k)[j]]), reference) - volume) / step
            for j in range(k)
        ]
        got = hypervolume_gradient(archive, point, reference)
        np.testing.assert_allclose(got, quotient, atol=1e-7)
        moved += bool(got.any() and (got < box_gradient(point, reference) - 1e-3).any())
    assert moved > 3 or k == 1  # the archive took something off the box


def test_the_right_derivative_at_a_tie():
    archive, reference = np.array([[0.5, 0.2], [0.2, 0.6]]), np.zeros(2)
    np.testing.assert_allclose(hypervolume_gradient(archive, archive[0], reference), [0.2, 0.3])
    np.testing.assert_allclose(hypervolume_gradient(archive, np.array([0.5, 0.1]), reference), [0.1, 0.0])
    np.testing.assert_array_equal(hypervolume_gradient(archive, np.array([0.1, 0.1]), reference), [0.0, 0.0])


def test_weights_without_an_archive_are_inverse_gaps():
    gaps = np.array([0.5, 0.2, 0.8])
    expected = (1 / gaps) / (1 / gaps).sum()
    for archive in (True, False):  # the first point meets an empty archive
        weighter = HypervolumeGradient(archive=archive)
        np.testing.assert_allclose(weighter(at(gaps), {})[0].weights, expected, rtol=1e-12)
        np.testing.assert_allclose(weighter(at(gaps, level="advantage"), {})[0].weights, 3 * expected, rtol=1e-12)
    referred = HypervolumeGradient(reference=(0.4, 0.1, 0.0), archive=False)(at(gaps), {})[0].weights
    np.testing.assert_allclose(referred, np.array([10, 10, 1.25]) / 21.25, rtol=1e-12)


def test_the_archive_turns_the_weights():
    """K = 2: where the front so far reaches higher, raising that coordinate adds less."""
    weighter, state = HypervolumeGradient(), {}
    for point, expected in (([0.2, 0.6], [0.6, 0.2]), ([0.5, 0.2], [0.2, 0.3]), ([0.1, 0.1], [0.1, 0.1])):
        weighting, state = weighter(at(point), state)
        np.testing.assert_allclose(weighting.weights, np.array(expected) / sum(expected), rtol=1e-9)
    np.testing.assert_allclose(state["archive"], [[0.2, 0.6], [0.5, 0.2]])  # the dominated point is not kept


def test_a_dominated_point_climbs_its_own_box():
    weighter = HypervolumeGradient()
    _, state = weighter(at([0.9, 0.9]), {})
    weighting, state = weighter(at([0.1, 0.4]), state)
    np.testing.assert_allclose(weighting.weights, [0.8, 0.2], rtol=1e-12)
    np.testing.assert_allclose(state["archive"], [[0.9, 0.9]])


def test_the_floor_bounds_the_weights():
    weights = HypervolumeGradient(floor=0.05, reference=(0.3, 0.0))(at([0.1, 0.5]), {})[0].weights
    np.testing.assert_allclose(weights, np.array([20, 2]) / 22, rtol=1e-12)
    np.testing.assert_allclose(HypervolumeGradient()(at([0.0, 0.0]), {})[0].weights, [0.5, 0.5])


def test_reward_level_is_the_derivative_by_the_reward():
    """The direction sum_k w_k grad r_k is that of ProportionalFair, in any unit of the rewards."""
    rewards, group = random_batch(0)
    low, width = np.array([0.0, -3.0, 1.0]), np.array([1.0, 6.0, 0.5])
    bounds = {"low": low, "high": low + width, "level": "reward"}
    raw = low + width * rewards
    ours = weights_of(HypervolumeGradient(archive=False), raw, group, **bounds)
    np.testing.assert_allclose(ours, weights_of(ProportionalFair(), raw, group, **bounds), rtol=1e-9)
    np.testing.assert_allclose(
        weights_of(HypervolumeGradient(raw_units=True, archive=False), raw, group, **bounds), ours, rtol=1e-9
    )
    assert ours.sum() == pytest.approx(1)


def test_preference_multiplies_afterwards():
    preference = np.array([2.0, 0.0])
    np.testing.assert_allclose(
        HypervolumeGradient()(at([0.5, 0.2], preference=preference), {})[0].weights, [4 / 7, 0.0], rtol=1e-12
    )


def test_validation_in_between_and_before():
    weighter = HypervolumeGradient(source="validation", every=3)
    state = weighter.init(objectives(2))
    np.testing.assert_array_equal(weighter(at([0.9, 0.1]), state)[0].weights, [0.5, 0.5])
    weighting, state = weighter(at([0.9, 0.1], validation=np.array([0.5, 0.2])), state)
    np.testing.assert_allclose(weighting.weights, [2 / 7, 5 / 7])
    again, after = weighter(at([0.1, 0.9]), json_round_trip(state))
    np.testing.assert_array_equal(again.weights, weighting.weights)
    assert after == json_round_trip(state)
    assert weighter.needs == {"validation"}
    assert weighter.probe == Probe(every=3)
    assert HypervolumeGradient().needs == frozenset()


def test_the_archive_holds_the_front_alone():
    state, rng = {}, np.random.default_rng(0)
    for point in rng.random((50, 3)):
        _, state = HypervolumeGradient()(at(point), state)
    assert nondominated(state["archive"]).all()
    assert len(state["archive"]) < 50
    assert "archive" not in HypervolumeGradient(archive=False)(at(rng.random(3)), {})[1]


@pytest.mark.parametrize("options", [{"floor": 0.0}, {"floor": np.inf}, {"source": "train"}])
def test_refuses(options):
    with pytest.raises(ValueError, match=r"HypervolumeGradient\((floor|source)=\) must be"):
        HypervolumeGradient(**options)


def test_init_refuses():
    with pytest.raises(ValueError, match="needs the declared bounds"):
        HypervolumeGradient().init(Objectives(["a"], [0.0], [np.inf]))
    with pytest.raises(ValueError, match="needs the declared lower bounds"):
        HypervolumeGradient(raw_units=True).init(Objectives(["a"], [-np.inf], [1.0]))
    with pytest.raises(ValueError, match=r"reference=\) must have shape \(2\)"):
        HypervolumeGradient(reference=(0.0,)).init(objectives(2))
    HypervolumeGradient(raw_units=True, reference=(0.0,)).init(Objectives(["a"], [-np.inf], [np.inf]))
