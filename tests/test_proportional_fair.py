"""ProportionalFair: the gradient it claims to be, its balance, and what it refuses."""

import numpy as np
import pytest
from properties import decide, random_batch, signals, weights_of

from llm_morl_agents.advantages import combine_advantages, combine_rewards, group_zscore, mean_centred
from llm_morl_agents.weighters import SAW, Objectives, ProportionalFair, Weighting
from llm_morl_agents.weighters.proportional_fair import marginal_utility


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_marginal_utility_is_a_gradient(alpha):
    low, high, preference = np.array([0.0, -3.0, 1.0]), np.array([1.0, 3.0, 1.5]), np.array([1.0, 0.5, 2.0])
    mean = np.array([0.3, 1.2, 1.4])

    def utility(m):
        scaled = (m - low) / (high - low)
        return (preference * (np.log(scaled) if alpha == 1 else scaled ** (1 - alpha) / (1 - alpha))).sum()

    step = 1e-6 * np.eye(3)
    expected = [(utility(mean + step[k]) - utility(mean - step[k])) / 2e-6 for k in range(3)]
    np.testing.assert_allclose(marginal_utility(mean, low, high, preference, alpha=alpha), expected, rtol=1e-6)


def test_reward_level_climbs_the_log_hypervolume():
    """The advantage of Dr.GRPO is a multiple of sum_k (r_k - mean_g) / m_k."""
    rewards, group = random_batch(0)
    weighting, _ = ProportionalFair()(signals(rewards, group, level="reward"), {})
    got = combine_rewards(mean_centred)(rewards, group, weighting)
    expected = combine_rewards(mean_centred)(rewards / rewards.mean(axis=0), group, Weighting(np.ones(3)))
    np.testing.assert_allclose(got / np.abs(got).max(), expected / np.abs(expected).max(), atol=1e-12)


def test_both_levels_have_the_same_direction():
    """At advantage level the weights undo the z-score: the same centred sum, whatever the group's std."""
    rewards, group = random_batch(1)
    at_advantage, _ = ProportionalFair()(signals(rewards, group, level="advantage"), {})
    at_reward, _ = ProportionalFair()(signals(rewards, group, level="reward"), {})
    z_scored = combine_advantages(group_zscore)(rewards, group, at_advantage)
    centred = combine_rewards(mean_centred)(rewards, group, at_reward)
    np.testing.assert_allclose(z_scored / np.abs(z_scored).max(), centred / np.abs(centred).max(), atol=1e-12)
    assert at_advantage.weights.sum(axis=1).mean() == pytest.approx(3)


def test_a_hardly_varying_group_is_not_blown_up():
    rewards = np.array([[0, 0.50], [1, 0.50], [1, 0.51], [1, 0.50]])
    group = np.array([0, 0, 1, 1])
    advantages = combine_advantages(group_zscore, whiten=True)(
        rewards, group, ProportionalFair()(signals(rewards, group), {})[0]
    )
    assert np.abs(advantages[2:]).max() < 0.05 * np.abs(advantages[:2]).max()


def test_flat_objectives_get_no_weight():
    rewards = np.column_stack([np.ones(6), np.linspace(0, 1, 6)])
    np.testing.assert_array_equal(weights_of(ProportionalFair(), rewards)[:, 0], 0.0)


def test_the_running_mean():
    weighter = ProportionalFair(decay=0.75)
    first, second = np.array([[0.2, 0.4], [0.4, 0.8]]), np.array([[0.7, 0.6], [0.7, np.nan]])
    group = np.zeros(2, dtype=int)
    _, state = weighter(signals(first, group), {})
    np.testing.assert_allclose(state["mean"], [0.3, 0.6])
    _, state = weighter(signals(second, group), state)
    np.testing.assert_allclose(state["mean"], [0.4, 0.6])
    _, state = weighter(signals(np.full((2, 2), np.nan), group), state)
    np.testing.assert_allclose(state["mean"], [0.4, 0.6])


def test_the_floor_bounds_the_weight_of_an_objective_without_success():
    rewards = np.column_stack([np.zeros(4), np.full(4, 0.5)])
    weights = weights_of(ProportionalFair(floor=0.1), rewards, level="reward")
    np.testing.assert_allclose(weights, [10 / 12, 2 / 12])


@pytest.mark.parametrize("options", [{"alpha": -1}, {"alpha": np.inf}, {"decay": 1.0}, {"floor": 0.0}, {"floor": 2.0}])
def test_refuses(options):
    with pytest.raises(ValueError, match=r"ProportionalFair\((alpha|decay|floor)="):
        ProportionalFair(**options)


def test_needs_bounds():
    with pytest.raises(ValueError, match="needs the declared bounds"):
        ProportionalFair().init(Objectives(["a"], [0.0], [np.inf]))


def test_saw_on_one_group_climbs_the_same_utility():
    """With one group the batch's std is the group's: SAW's w_k z_k and ours are multiples of each other."""
    rewards, _ = random_batch(2)
    one = np.zeros(len(rewards), dtype=int)
    gdpo = combine_advantages(group_zscore, whiten=True)
    ours, saw = (gdpo(rewards, one, weighter(signals(rewards, one), {})[0]) for weighter in (ProportionalFair(), SAW()))
    np.testing.assert_allclose(ours, saw, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_an_empty_batch(decay):
    """It keeps the running mean, and moves nothing."""
    weighter, empty = ProportionalFair(decay=decay), np.zeros((0, 2))
    _, state = decide(weighter, np.array([[0.0, 0.5], [1.0, 1.0]]), level="reward")
    weighting, after = decide(weighter, empty, state=state, level="reward", step=1)
    assert np.isfinite(weighting.weights).all()
    assert after.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(after[name], value)
