"""`RecordVectorReturn` of single environments."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from counting_game import counting_task
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import RecordEpisodeStatistics
from mo_gymnasium.wrappers import MORecordEpisodeStatistics
from test_wrappers import Table

from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.testing import check_mo_env
from llm_morl_env.wrappers import RecordVectorReturn, ScalarizedReward


def run(env):
    """The infos of an episode."""
    env.reset(seed=0)
    infos, over = [], False
    while not over:
        _, _, terminated, truncated, info = env.step(0)
        infos.append(info)
        over = terminated or truncated
    return infos


@pytest.mark.parametrize("truncates", [False, True])
def test_the_last_info_says_what_the_episode_earned(truncates):
    env = RecordVectorReturn(Table(truncates), gamma=0.5)
    for _ in range(2):  # nothing is carried over
        *before, last = run(env)
        assert all("mo_episode" not in info for info in before)
        said = last["mo_episode"]
        assert said["r"].tolist() == [1.25, 0.75]
        assert said["dr"].tolist() == [1.0 + 0.25 * 0.25, 0.5 * 0.5 + 0.25 * 0.25]
        assert said["r"].dtype == said["dr"].dtype == np.float64
        assert said["l"] == 3
        assert 0 <= said["t"] < 60
        assert last["count"] == 3


def test_numbers_of_mo_gymnasium_beside_each_other():
    ours, theirs = RecordVectorReturn(Table(), 0.9), MORecordEpisodeStatistics(Table(), 0.9)
    mine, other = run(ours)[-1]["mo_episode"], run(theirs)[-1]["episode"]
    for key in ("r", "dr", "l"):
        np.testing.assert_allclose(mine[key], other[key], rtol=1e-6)


def test_gymnasiums_own_statistics_keep_their_place():
    info = run(RecordEpisodeStatistics(ScalarizedReward(RecordVectorReturn(Table()))))[-1]
    assert info["episode"]["r"] == pytest.approx(2.0)
    assert info["mo_episode"]["r"].tolist() == [1.25, 0.75]


def test_an_unfinished_episode_is_forgotten():
    env = RecordVectorReturn(Table())
    env.reset()
    env.step(0)
    assert run(env)[-1]["mo_episode"]["l"] == 3
    assert env.episode_count == 1


def test_queues_hold_the_last_episodes_and_share_nothing():
    env = RecordVectorReturn(Table(), buffer_length=2)
    for _ in range(3):
        said = run(env)[-1]["mo_episode"]
        said["r"][:], said["dr"][:] = 7.0, 7.0
    assert env.episode_count == 3
    assert [value.tolist() for value in env.return_queue] == [[1.25, 0.75]] * 2
    assert [value.tolist() for value in env.discounted_return_queue] == [[1.25, 0.75]] * 2
    assert list(env.length_queue) == [3, 3]
    assert len(env.time_queue) == 2
    assert env.return_queue[0] is not env.return_queue[1]


def test_the_environments_info_and_table_are_left_alone():
    table = Table.REWARDS.copy()

    class Keeper(Table):
        def step(self, action):
            *rest, self.kept = super().step(action)
            return *rest, self.kept

    env = RecordVectorReturn(Keeper())
    run(env)
    assert set(env.unwrapped.kept) == {"count"}
    np.testing.assert_array_equal(Table.REWARDS, table)


def test_a_dialogue_adds_up_to_its_value():
    env = RecordVectorReturn(DialogueEnv(counting_task()))
    env.reset(options={"problem": 3})
    for response in ("3", "4", "done"):
        *_, info = env.step(response)
    value = env.unwrapped.task.score([env.unwrapped.task[3]], [info["dialogue"]])[0]
    np.testing.assert_allclose(info["mo_episode"]["r"], value, atol=1e-7)
    assert info["mo_episode"]["l"] == 3


@pytest.mark.parametrize("view", ["token", "text"])
def test_keeps_the_contract(view):
    def make():
        return RecordVectorReturn(gym.make("DentFront-MO-v0", view=view), gamma=0.9, timed=False)

    check_mo_env(make, n_steps=40)


def test_keeps_the_contract_on_dialogues():
    check_mo_env(lambda: RecordVectorReturn(DialogueEnv(counting_task()), timed=False), n_steps=40)


def test_spec_and_pickle_round_trip():
    env = RecordVectorReturn(gym.make("DentFront-MO-v0", view="text"), 0.5, buffer_length=3, timed=False)
    assert json.loads(env.spec.to_json())["additional_wrappers"][-1]["kwargs"] == {
        "gamma": 0.5,
        "buffer_length": 3,
        "timed": False,
    }
    again = gym.make(EnvSpec.from_json(env.spec.to_json()), disable_env_checker=True)
    assert isinstance(again, RecordVectorReturn)
    env.reset(seed=1)
    copied = pickle.loads(pickle.dumps(env))
    again.reset(seed=1)
    infos = [made.step("ab")[-1]["mo_episode"]["r"].tolist() for made in (env, copied, again)]
    assert infos[0] == infos[1] == infos[2]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gamma": 1.5}, r"RecordVectorReturn\(gamma=\) must lie in \[0, 1\], got 1.5"),
        ({"gamma": float("nan")}, r"gamma=\) must lie in"),
        ({"buffer_length": 0}, r"buffer_length=\) must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RecordVectorReturn(Table(), **kwargs)


def test_two_of_them_are_an_error():
    with pytest.raises(ValueError, match="has the key 'mo_episode' already"):
        run(RecordVectorReturn(RecordVectorReturn(Table())))


def test_needs_a_vector_reward():
    with pytest.raises(TypeError, match=r"RecordVectorReturn\(env=\) needs unwrapped.reward_space"):
        RecordVectorReturn(gym.make("CartPole-v1"))
