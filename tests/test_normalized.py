"""`NormalizeObjectives` against its formulas and MO-Gymnasium's wrapper, one objective at a time."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from mo_gymnasium.wrappers import MONormalizeReward
from paid_rows import PaidRows, played

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.testing import check_mo_env
from llm_morl_env.wrappers import NormalizeObjectives

ACTIONS = (0, 1, 1)


def rewards_of(env: gym.Env, episodes: int = 1) -> np.ndarray:
    return np.array([result[1] for _ in range(episodes) for result in played(env, ACTIONS)])


class Copies(PaidRows):
    """Its rewards may be written into."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward.copy(), *rest


def test_bounds_are_those_of_returns_else_of_steps() -> None:
    env = NormalizeObjectives(PaidRows())
    np.testing.assert_allclose(rewards_of(env), rewards_of(PaidRows()) / [6, 18], rtol=1e-6)
    np.testing.assert_allclose(env.return_space.high - env.return_space.low, 1, rtol=1e-6)
    np.testing.assert_allclose(env.reward_space.low, np.array([-1, -2]) / [6, 18], rtol=1e-6)

    class Undeclared(PaidRows):
        def __init__(self):
            super().__init__()
            del self.return_space

    np.testing.assert_array_equal(NormalizeObjectives(Undeclared()).scale, [2, 6])


def test_running_numbers_are_those_of_mo_gymnasium() -> None:
    class Endless(Copies):
        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            self.count %= 3
            return observation, reward, False, False, info

    theirs = Endless()
    for k in range(2):
        theirs = MONormalizeReward(theirs, k, gamma=0.9)
    ours = NormalizeObjectives(Endless(), "running", gamma=0.9)
    ours_seen, theirs_seen = ([result[1] for result in played(env, ACTIONS * 20)] for env in (ours, theirs))
    np.testing.assert_allclose(ours_seen, theirs_seen, rtol=1e-6)


def test_running_statistics_are_those_of_discounted_returns() -> None:
    env = NormalizeObjectives(PaidRows(), "running", gamma=0.5)
    plain, seen = rewards_of(PaidRows()).astype(float), []
    for row in plain:
        seen.append(0.5 * seen[-1] + row if seen else row)
    rewards_of(env, episodes=400)
    state = env.state_dict()
    np.testing.assert_allclose(state["mean"], np.mean(seen, axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state["var"], np.var(seen, axis=0), rtol=1e-3)
    np.testing.assert_allclose(rewards_of(env), plain / np.std(seen, axis=0), rtol=1e-2)


def test_scale_does_not_matter_in_the_long_run() -> None:
    class Small(PaidRows):
        TABLES = PaidRows.TABLES * np.float32(1e-2)

    large, small = (NormalizeObjectives(env(), "running") for env in (PaidRows, Small))
    np.testing.assert_allclose(rewards_of(small, 400)[-3:], rewards_of(large, 400)[-3:], rtol=0.05)


def test_an_episode_leaves_nothing_behind() -> None:
    """MO-Gymnasium's return goes on into the next one: from the last reward, or all of it after a truncation."""
    truncated, terminated = (
        NormalizeObjectives(PaidRows(truncates=truncates), "running") for truncates in (True, False)
    )
    np.testing.assert_array_equal(rewards_of(truncated, 3), rewards_of(terminated, 3))
    again = NormalizeObjectives(PaidRows(), "running")
    played(again, (0, 0))
    before = again.state_dict()
    played(again, (1,))
    first = PaidRows.TABLES[1][0]
    np.testing.assert_allclose(
        again.state_dict()["mean"], (before["mean"] * before["count"] + first) / (before["count"] + 1), rtol=1e-6
    )


def test_statistics_are_saved_and_loaded_as_arrays() -> None:
    first, second = (NormalizeObjectives(PaidRows(), "running") for _ in range(2))
    rewards_of(first, 5)
    state = first.state_dict()
    second.load_state_dict(json.loads(json.dumps({name: values.tolist() for name, values in state.items()})))
    for values in state.values():
        values[:] = 7.0
    np.testing.assert_array_equal(rewards_of(second, 2), rewards_of(first, 2))
    np.testing.assert_array_equal(rewards_of(pickle.loads(pickle.dumps(first))), rewards_of(first))


def test_statistics_can_be_frozen() -> None:
    env = NormalizeObjectives(PaidRows(), "running")
    rewards_of(env, 5)
    env.update = False
    before = env.state_dict()
    np.testing.assert_array_equal(rewards_of(env), rewards_of(env))
    assert all((env.state_dict()[name] == values).all() for name, values in before.items())


def test_an_objective_that_does_not_apply_leaves_its_statistics_alone() -> None:
    class Half(PaidRows):
        def step(self, action):
            *rest, info = super().step(action)
            return *rest, {**info, "objective_mask": np.array([True, False])}

    half, whole = NormalizeObjectives(Half(), "running"), NormalizeObjectives(PaidRows(), "running")
    rewards_of(half, 3), rewards_of(whole, 3)
    assert half.state_dict()["var"][0] == whole.state_dict()["var"][0]
    assert [half.state_dict()[name][1] for name in ("mean", "var", "count")] == [0, 1, 1e-4]


@pytest.mark.parametrize("by", ["bounds", "running"])
def test_what_the_environment_returned_is_left_alone(by: str) -> None:
    tables = PaidRows.TABLES.copy()
    env = NormalizeObjectives(PaidRows(), by)
    for _, reward, _, _, info in played(env, ACTIONS):
        assert list(info["reward_components"].values()) == reward.tolist()
        assert env.reward_space.contains(reward)
        reward[:] = 9
    env.scale[:] = 5
    np.testing.assert_array_equal(PaidRows.TABLES, tables)
    assert (env.scale != 5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "std"}, r"NormalizeObjectives\(by=\) must be one of \('bounds', 'running'\), got 'std'"),
        ({"gamma": 1.5}, r"NormalizeObjectives\(gamma=\) must lie in \[0, 1\], got 1.5"),
        ({"epsilon": 0.0}, r"NormalizeObjectives\(epsilon=\) must be finite and above 0, got 0.0"),
    ],
)
def test_arguments_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NormalizeObjectives(PaidRows(), **arguments)


def test_constant_objectives_have_no_width() -> None:
    env = PaidRows()
    env.return_space = Box(np.float32([0, 1]), np.float32([1, 1]))
    with pytest.raises(ValueError, match="needs finite bounds with low < high"):
        NormalizeObjectives(env)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"mean": [0, 0], "var": [1, 1]}, r"needs mean, var and count, got \['mean', 'var'\]"),
        ({"mean": [0], "var": [1, 1], "count": [1, 1]}, r"mean must be 2 finite numbers.*got \[0.0\]"),
        ({"mean": [0, 0], "var": [1, -1], "count": [1, 1]}, r"var must be .* not negative, got \[1.0, -1.0\]"),
    ],
)
def test_states_are_checked(state: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NormalizeObjectives(PaidRows(), "running").load_state_dict(state)


def test_keeps_the_contract() -> None:
    check_mo_env(lambda: NormalizeObjectives(gym.make("DentFront-MO-v0")), n_steps=20)
    env = NormalizeObjectives(gym.make("DentFront-MO-v0"), "running", gamma=0.5)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, NormalizeObjectives)
    assert (again.gamma, again.reward_space) == (0.5, env.reward_space)
