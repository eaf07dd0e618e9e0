"""DentFront: the dented objective, and the front against brute force."""

import numpy as np
import pytest
from fronts import brute_force, in_order, linearly_supported, responses_of

from llm_morl_env.metrics import hypervolume
from llm_morl_env.tasks.dent_front import MAX_AMPLITUDE, dent_front_task


@pytest.mark.parametrize(
    "sizes",
    [{}, {"length": 7}, {"length": 8, "letters": 2, "amplitude": 0.159}, {"length": 4, "letters": 4, "amplitude": 0.0}],
    ids=str,
)
def test_front_against_brute_force(sizes):
    task = dent_front_task(**sizes)
    every = responses_of(sizes.get("letters", 3), task.max_response_tokens, shorter=True)
    front = task.pareto_front()
    assert front.shape == (task.max_response_tokens + 1, 2)
    np.testing.assert_array_equal(in_order(front), in_order(brute_force(task, every)))


def test_linear_weights_reach_four_of_seven():
    front = dent_front_task().pareto_front()
    assert linearly_supported(front) == 4
    # The ends and the bulge; what remains is the dent, a concave stretch.
    supported = front[[0, 1, 2, 6]]
    assert hypervolume(supported, -0.05) / hypervolume(front, -0.05) == pytest.approx(0.846, abs=5e-4)


def test_bounds_hold_over_the_whole_range():
    for amplitude in np.linspace(0, np.nextafter(MAX_AMPLITUDE, 0), 7):
        front = dent_front_task(length=101, amplitude=float(amplitude)).pareto_front()
        assert front.min() == 0.0
        assert front.max() == 1.0
        assert (np.diff(front[:, 0]) > 0).all()


def test_rewards_look_at_the_first_letters():
    task = dent_front_task(length=4)
    rewards = task.rewards([task[0]] * 4, ["abbb", "abbbaaa", "", "aabb"])
    np.testing.assert_allclose(rewards, [[0.37, 0.75], [0.37, 0.75], [0, 0], [0.5, 0.5]])


@pytest.mark.parametrize("amplitude", [-0.1, 0.16, float("nan")])
def test_wrong_amplitudes_are_named(amplitude):
    with pytest.raises(ValueError, match=rf"amplitude must lie in \[0, 1/\(2 pi\)\), got {amplitude}"):
        dent_front_task(amplitude=amplitude)
