"""`ClipObjectives` against ``numpy.clip`` and MO-Gymnasium's wrapper, which writes into what it is given."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from mo_gymnasium.wrappers import MOClipReward
from paid_rows import PaidRows, played

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.testing import check_mo_env
from llm_morl_env.wrappers import ClipObjectives


def rewards_of(env: gym.Env, actions: tuple[int, ...] = (0, 1, 0)) -> np.ndarray:
    return np.array([result[1] for result in played(env, actions)])


def test_each_objective_has_its_own_bounds() -> None:
    plain = rewards_of(PaidRows())
    np.testing.assert_array_equal(
        rewards_of(ClipObjectives(PaidRows(), [-0.5, 0.0], [0.5, 3.0])), np.clip(plain, [-0.5, 0], [0.5, 3])
    )
    np.testing.assert_array_equal(
        rewards_of(ClipObjectives(PaidRows(), high=0.25, objectives=["care"])), np.clip(plain, None, [np.inf, 0.25])
    )
    np.testing.assert_array_equal(rewards_of(ClipObjectives(PaidRows())), plain)


def test_numbers_are_those_of_mo_gymnasium() -> None:
    class Copies(PaidRows):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, reward.copy(), *rest

    theirs = MOClipReward(MOClipReward(Copies(), 0, -0.5, 0.25), 1, -1, 1)
    ours = ClipObjectives(Copies(), [-0.5, -1], [0.25, 1])
    np.testing.assert_array_equal(rewards_of(ours), rewards_of(theirs))


def test_what_the_environment_returned_is_left_alone() -> None:
    tables = PaidRows.TABLES.copy()
    env = ClipObjectives(PaidRows(), -0.1, 0.1)
    for result in played(env, (0, 1, 1)):
        assert not np.shares_memory(result[1], PaidRows.TABLES)
        result[1][:] = 9
    np.testing.assert_array_equal(PaidRows.TABLES, tables)


def test_a_reward_inside_the_bounds_is_a_copy_too() -> None:
    assert not np.shares_memory(played(ClipObjectives(PaidRows()), (0,))[0][1], PaidRows.TABLES)


def test_bounds_and_components_are_the_clipped_ones() -> None:
    env = ClipObjectives(PaidRows(), low=0.0, objectives=[1])
    assert (env.reward_space.low.tolist(), env.reward_space.high.tolist()) == ([-1, 0], [1, 4])
    assert env.return_space is None
    assert env.unwrapped.reward_space.low.tolist() == [-1, -2]
    assert played(env, (0,))[0][4]["reward_components"] == {"speed": 1.0, "care": 0.0}


def test_losses_that_are_clipped_may_leave_the_bounds_of_the_return() -> None:
    """Why the wrapper declares no bounds of returns."""

    class Balanced(PaidRows):
        TABLES = np.array([[[1, 0], [-1, 0], [1, 0]]] * 2, np.float32)

    returned = rewards_of(ClipObjectives(Balanced(), low=0.0)).sum(axis=0)
    assert returned[0] > rewards_of(Balanced()).sum(axis=0)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1.0, "high": 0.0}, r"ClipObjectives\(low=\) must not exceed high, got 1.0 and 0.0"),
        ({"low": [0.0]}, r"ClipObjectives\(low=\) must be a number or 2 numbers, none of them NaN, got \[0.0\]"),
        ({"high": float("nan")}, r"ClipObjectives\(high=\) must be .* none of them NaN, got nan"),
        ({"objectives": ["taste"]}, r"ClipObjectives\(objectives=\) must be one of \('speed', 'care'\).*got 'taste'"),
    ],
)
def test_arguments_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipObjectives(PaidRows(), **arguments)


def test_keeps_the_contract() -> None:
    """Pickling, fresh objects, and writing into what was returned among it; the spec as JSON below."""
    check_mo_env(lambda: ClipObjectives(gym.make("DentFront-MO-v0"), 0.1, 0.5, [0]), n_steps=20)
    env = ClipObjectives(gym.make("DentFront-MO-v0"), 0.0, [0.5], [0])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.reward_space == env.reward_space
    assert pickle.loads(pickle.dumps(env)).reward_space == env.reward_space
