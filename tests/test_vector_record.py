"""`RecordVectorReturn` of batched environments: every autoreset mode against the single wrapper."""

import gymnasium as gym
import numpy as np
import pytest
from counting_game import counting_task
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv
from test_wrappers import Table

from llm_morl_env import make_vector_env
from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.envs.dialogue_vector import DialogueVectorEnv
from llm_morl_env.wrappers import RecordVectorReturn as Single
from llm_morl_env.wrappers.vector import RecordVectorReturn

SCRIPTS = [("3", "4", "done"), ("done", "", ""), ("3", "done", ""), ("x", "x", "x")]


class Late(Table):
    """Its rewards are twice as high from the second episode on."""

    def __init__(self):
        super().__init__()
        self.episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward * min(self.episodes, 2), *rest


def dialogues():
    return RecordVectorReturn(DialogueVectorEnv(counting_task(), num_envs=4, group_size=2), gamma=0.5)


def play(envs):
    """The infos of a batch of dialogues about problem 3."""
    envs.reset(options={"problem": [3, 3]})
    return [envs.step([script[turn] for script in SCRIPTS])[4] for turn in range(3)]


def test_dialogues_are_recorded_once_where_they_end():
    envs = dialogues()
    infos = play(envs)
    assert [info["_mo_episode"].tolist() for info in infos] == [
        [False, True, False, False],
        [False, False, True, False],
        [True, False, False, True],
    ]
    assert [info["mo_episode"]["l"].tolist() for info in infos] == [[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 3]]
    single = Single(DialogueEnv(counting_task()), gamma=0.5)
    for row, script in enumerate(SCRIPTS):
        single.reset(options={"problem": 3})
        *_, last = (single.step(response) for response in script[: (3, 1, 2, 3)[row]])
        expected, said = last[4]["mo_episode"], infos[(2, 0, 1, 2)[row]]["mo_episode"]
        for key in ("r", "dr", "l"):
            np.testing.assert_array_equal(said[key][row], expected[key])
        assert said["t"][row] >= 0
    assert envs.episode_count == 4
    assert list(envs.length_queue) == [1, 2, 3, 3]
    said["r"][:] = 9.0
    assert np.abs(np.array(envs.return_queue)).max() <= 1.0


def test_partial_resets_begin_anew():
    envs = dialogues()
    envs.reset(options={"problem": [3, 3]})
    envs.step(["done", "done", "3", "3"])
    mask = np.array([True, True, False, False])
    envs.reset(options={"problem": [3], "reset_mask": mask})
    *_, info = envs.step(["done", "done", "done", "done"])
    assert info["_mo_episode"].all()
    assert info["mo_episode"]["l"].tolist() == [1, 1, 2, 2]


def test_same_step_autoreset():
    envs = RecordVectorReturn(make_vector_env(4, task="dentfront", group_size=2), timed=False)
    envs.reset(seed=0)
    for response in ("a", "ab"):
        _, rewards, _, _, info = envs.step([response] * 4)
        np.testing.assert_array_equal(info["mo_episode"]["r"], rewards)
        assert info["mo_episode"]["l"].tolist() == [1] * 4
        assert "t" not in info["mo_episode"]
    assert envs.episode_count == 8


def test_next_step_autoreset_skips_the_reset_step():
    envs = MOSyncVectorEnv([Late, Late])
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    recorded = RecordVectorReturn(envs, gamma=0.5)
    recorded.reset(seed=0)
    infos = [recorded.step(np.zeros(2, np.int64))[4] for _ in range(7)]
    assert ["mo_episode" in info for info in infos] == [False, False, True, False, False, False, True]
    assert infos[2]["mo_episode"]["r"].tolist() == [[1.25, 0.75]] * 2
    assert infos[6]["mo_episode"]["r"].tolist() == [[2.5, 1.5]] * 2
    assert infos[6]["mo_episode"]["dr"].tolist() == [[2 * 1.0625, 2 * 0.3125]] * 2
    assert infos[6]["mo_episode"]["l"].tolist() == [3, 3]


def test_the_list_wrapper_of_gymnasium_takes_it_apart():
    listed = DictInfoToList(dialogues())
    listed.reset(options={"problem": [3, 3]})
    *_, infos = listed.step(["3", "done", "3", "x"])
    assert infos[1]["mo_episode"]["l"] == 1
    assert all("mo_episode" not in infos[row] for row in (0, 2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"gamma": -0.1}, "gamma="), ({"buffer_length": 0}, "buffer_length=")],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        RecordVectorReturn(dialogues().env, **change)


def test_needs_vector_rewards_and_a_known_autoreset_mode():
    with pytest.raises(TypeError, match="reward_space"):
        RecordVectorReturn(gym.make_vec("CartPole-v1"))
    envs = dialogues().env
    envs.metadata = {}
    with pytest.raises(ValueError, match="must say metadata\\['autoreset_mode'\\], got None"):
        RecordVectorReturn(envs)


def test_two_of_them_are_an_error():
    envs = RecordVectorReturn(dialogues())
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="already"):
        envs.step(["done"] * 4)
