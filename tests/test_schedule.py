"""Schedule: its three shapes, and what it refuses."""

import numpy as np
import pytest
from properties import objectives, random_batch, signals

from llm_morl_agents.weighters import Schedule
from llm_morl_agents.weighters.schedule import progress


def test_shapes():
    assert [progress(step, 4, "linear") for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    np.testing.assert_allclose(
        [progress(step, 4, "cosine") for step in range(6)], [0, 0.5 - 0.125**0.5, 0.5, 0.5 + 0.125**0.5, 1, 1]
    )
    assert [progress(step, 4, "step") for step in range(6)] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("shape", ["linear", "cosine", "step"])
def test_the_weights_follow_the_step_alone(shape):
    weighter = Schedule(start=(1.0, 0.0, 0.2), end=(0.0, 2.0, 0.2), steps=10, shape=shape)
    rewards, group = random_batch(0)
    preference = np.array([1.0, 2.0, 3.0])
    for step in (0, 3, 10, 25):
        weighting, state = weighter(signals(rewards, group, step=step, preference=preference), {})
        done = progress(step, 10, shape)
        np.testing.assert_allclose(weighting.weights, [1 - done, 4 * done, 0.6], atol=1e-12)
        assert state == {}


def test_ones_where_an_end_is_left_out():
    np.testing.assert_array_equal(Schedule().weights(50, 3), np.ones(3))
    np.testing.assert_allclose(Schedule(end=[0, 3], steps=2).weights(1, 2), [0.5, 2.0])
    assert Schedule(end=np.array([0.0, 3.0])) == Schedule(end=[0, 3])


@pytest.mark.parametrize(
    "options",
    [
        {"start": (1.0, -1.0)},
        {"end": (0.0, 0.0)},
        {"start": (np.nan, 1.0)},
        {"steps": 0},
        {"steps": np.nan},
        {"shape": "exponential"},
    ],
)
def test_refuses(options):
    with pytest.raises(ValueError, match=r"Schedule\((start|end|steps|shape)="):
        Schedule(**options)


@pytest.mark.parametrize("option", ["start", "end"])
def test_one_weight_for_each_objective(option):
    weighter = Schedule(**{option: (1.0, 2.0)})
    with pytest.raises(ValueError, match=rf"Schedule\({option}=\) must have 3 entries"):
        weighter.init(objectives(3))
    with pytest.raises(ValueError, match="must have 3 entries"):
        weighter(signals(*random_batch(0)), {})
