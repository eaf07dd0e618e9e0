"""The batch of single environments: rows are those of environments stepped one by one, in every autoreset mode."""

import pickle
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers import TimeLimit
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv as TheirSyncVectorEnv

from llm_morl_env import make_env
from llm_morl_env.envs.step_vector import MOSyncVectorEnv
from llm_morl_env.values import difference, share_memory

MODES = list(AutoresetMode)
N = 3
#: Short episodes, so that rows end at different steps.
EMBED = partial(
    make_env, task="toolcall", difficulty="easy", max_response_tokens=7, obs_mode="embed", language_model="tiny"
)
#: What the batches are made of: letters alone; a model that reads in one batch; dialogues; wrapped, row by row.
MAKERS = {
    "letters": partial(make_env, task="dentfront", obs_mode="onehot"),
    "embed": EMBED,
    "dialogue": partial(
        make_env, task="toolcall-multiturn", max_response_tokens=4, obs_mode="embed", language_model="tiny"
    ),
    "index": partial(make_env, task="toolcall", max_response_tokens=7, view="index", language_model="tiny", k=4),
    "certain": partial(make_env, task="toolcall", view="index", language_model="tiny", k=4, certainty=0.9),
    "wrapped": lambda: TimeLimit(EMBED(), 99),
    "text": partial(make_env, task="toolcall", view="text"),
}


class OneByOne:
    """What a batch must return, by the definition of the modes, from environments that are stepped alone."""

    def __init__(self, make, mode):
        self.envs, self.mode = [make() for _ in range(N)], mode
        self.over = [False] * N

    def reset(self, seed, rows=range(N)):
        for row in rows:
            self.over[row] = False
        return {row: self.envs[row].reset(seed=seed + row) for row in rows}

    def step(self, actions):
        returned = []
        for row, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            final = None
            if self.over[row] and self.mode is AutoresetMode.NEXT_STEP:
                observation, info = env.reset()
                rewards, ended = np.zeros(env.unwrapped.reward_dim, np.float32), False
            else:
                observation, rewards, ended, _, info = env.step(action)
                if ended and self.mode is AutoresetMode.SAME_STEP:
                    final = observation, info
                    observation, info = env.reset()
            self.over[row] = ended
            returned.append((observation, rewards, ended, info, final))
        return returned


def same_observation(one, other):
    if isinstance(one, np.ndarray) and one.dtype == np.float32:  # the model's rounding depends on the batch
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
    else:
        assert difference(one, other, "observation") is None


def same_info(batch, row, info):
    """Row of a batch's info against that of one environment."""
    for key, value in info.items():
        assert batch[f"_{key}"][row], key
        if isinstance(value, dict):
            same_info(batch[key], row, value)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            np.testing.assert_allclose(batch[key][row], value, rtol=1e-5, atol=1e-4)
        else:
            assert np.array_equal(batch[key][row], value), key


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("maker", MAKERS)
def test_rows_are_environments_stepped_one_by_one(maker, mode):
    make = MAKERS[maker]
    envs, alone = MOSyncVectorEnv([make] * N, autoreset_mode=mode), OneByOne(make, mode)
    assert (envs._reader is not None) == (maker in ("embed", "dialogue", "index", "certain"))
    expected = alone.reset(5)
    observations, infos = envs.reset(seed=5)
    assert observations in envs.observation_space
    for row in range(N):
        same_observation(observations[row], expected[row][0])
        same_info(infos, row, expected[row][1])
    rng, n_ended, masks = np.random.default_rng(0), 0, infos.get("action_mask")
    for number in range(25 if maker != "text" else 3):
        actions = envs.action_space.sample() if masks is None else [rng.choice(np.flatnonzero(m)) for m in masks]
        expected = alone.step(actions)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert observations in envs.observation_space
        assert rewards.dtype == np.float32
        assert rewards.shape == (N, envs.reward_dim)
        assert terminated.dtype == truncated.dtype == np.bool_
        assert not truncated.any()
        for row, (observation, reward, ended, info, final) in enumerate(expected):
            same_observation(observations[row], observation)
            np.testing.assert_array_equal(rewards[row], reward)
            assert terminated[row] == ended
            same_info(infos, row, info)
            assert bool(infos.get("_final_obs", np.zeros(N))[row]) == (final is not None)
            if final is not None:
                same_observation(infos["final_obs"][row], final[0])
                same_info(infos["final_info"], row, final[1])
        masks, n_ended = infos.get("action_mask"), n_ended + int(terminated.sum())
        if mode is AutoresetMode.DISABLED and terminated.any():
            if number % 2:
                observations, infos = envs.reset(seed=number, options={"reset_mask": terminated})
                fresh = alone.reset(number, np.flatnonzero(terminated).tolist())
            else:
                observations, infos = envs.reset(seed=number)
                fresh = alone.reset(number)
            for row in range(N):
                if row in fresh:
                    same_observation(observations[row], fresh[row][0])
                    same_info(infos, row, fresh[row][1])
                else:
                    same_observation(observations[row], expected[row][0])
                    assert not infos["_problem"][row]
            if masks is not None:
                masks = np.stack(envs.call("action_masks"))
    assert n_ended >= 3
    envs.close()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_what_it_declares(mode):
    envs = MOSyncVectorEnv([MAKERS["letters"]] * 2, autoreset_mode=mode.value)
    one = envs.envs[0]
    assert envs.metadata["autoreset_mode"] is mode
    assert "autoreset_mode" not in type(one).metadata
    assert envs.metadata["render_modes"] == ["ansi", "human"]
    assert envs.reward_space == one.reward_space
    assert envs.return_space == one.return_space
    assert envs.reward_dim == one.reward_dim
    assert envs.objective_names == one.objective_names
    assert envs.single_action_space == one.action_space
    assert envs.observation_space.shape == (2, *one.observation_space.shape)
    assert envs.action_masks().shape == (2, one.action_space.n) if envs.reset(seed=0) else None
    assert envs.np_random_seed == (0, 1)
    envs.set_attr("mark", [1, 2])
    assert envs.get_attr("mark") == (1, 2)


def test_nothing_is_shared_between_calls():
    envs = MOSyncVectorEnv([EMBED] * 2, autoreset_mode="SameStep")
    kept = [envs.reset(seed=0)[0]]
    for _ in range(9):
        observations, rewards, terminated, _, infos = envs.step([9, 9])
        kept += [observations, rewards, terminated, infos["action_mask"], infos.get("final_obs", [rewards * 0])[0]]
    assert not any(share_memory(one, other) for i, one in enumerate(kept) for other in kept[:i])


def test_one_batch_is_read_for_all_rows(monkeypatch):
    envs = MOSyncVectorEnv([EMBED] * 4)
    sizes = []
    session = envs._reader._session
    read = session.read
    monkeypatch.setattr(session, "read", lambda rows, *rest: (sizes.append(len(rows)), read(rows, *rest))[1])
    envs.reset(seed=0)
    for _ in range(8):
        envs.step([9] * 4)
    assert sizes == [4] * 9
    assert all(env._reader is None for env in envs.envs)


def test_a_wide_batch_reads_as_one_environment_does_up_to_rounding():
    """Rows of different lengths, a model's matrix products of another height."""
    envs, alone = MOSyncVectorEnv([EMBED] * 32), EMBED()
    first, _ = envs.reset(seed=3)
    actions = np.random.default_rng(0).integers(5, 100, size=(5, 32))
    together = np.stack([first, *(envs.step(column)[0] for column in actions)])
    for row in range(32):
        one, _ = alone.reset(seed=3 + row)
        seen = np.stack([one, *(alone.step(action)[0] for action in actions[:, row])])
        assert np.abs(seen).mean() > 0.5
        np.testing.assert_allclose(together[:, row], seen, rtol=0, atol=5e-5)


def test_transparent_wrappers_of_make_are_read_through():
    make = partial(gym.make, "ToolCall-MO-v0", obs_mode="embed", language_model="tiny", render_mode="ansi")
    envs = MOSyncVectorEnv([make] * 2)
    assert envs._reader is not None
    assert envs.spec.id == "ToolCall-MO-v0"
    envs.reset(seed=1)
    envs.step([9, 9])
    assert all(isinstance(text, str) for text in envs.render())


def test_pickling_continues():
    envs = MOSyncVectorEnv([EMBED] * 2, autoreset_mode="SameStep")
    envs.reset(seed=3)
    for _ in range(4):
        envs.step([9, 12])
    other = pickle.loads(pickle.dumps(envs))
    assert other.envs[0].language_model is envs.envs[0].language_model
    for _ in range(6):
        for one, another in zip(envs.step([20, 9]), other.step([20, 9]), strict=True):
            assert difference(one, another, "step") is None


def test_options_go_to_rows():
    envs = MOSyncVectorEnv([MAKERS["text"]] * 3, autoreset_mode="Disabled")
    options = {"problem": [4, 0, 7], "split": "eval"}
    prompts, infos = envs.reset(options=options)
    assert options == {"problem": [4, 0, 7], "split": "eval"}
    assert infos["problem"].tolist() == [4, 0, 7]
    assert infos["split"].tolist() == ["eval"] * 3
    again, infos = envs.reset(options={"problem": [1, 2], "reset_mask": np.array([True, False, True])})
    assert again[1] == prompts[1]
    assert (infos["problem"][[0, 2]].tolist(), infos["_problem"].tolist()) == ([1, 2], [True, False, True])
    assert envs.reset(options={"problem": 5})[1]["problem"].tolist() == [5] * 3


def test_misuse_is_told():
    envs = MOSyncVectorEnv([MAKERS["letters"]] * 2, autoreset_mode="Disabled")
    with pytest.raises(RuntimeError, match="2 of 2 rows have no running episode"):
        envs.step([3, 3])
    with pytest.raises(ValueError, match="'reset_mask' leaves out rows that were never reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=[4, None])
    eos = envs.envs[0].task.tokenizer.eos_id
    envs.step([eos, 3])
    with pytest.raises(RuntimeError, match="1 of 2 rows have no running episode"):
        envs.step([3, 3])
    for kwargs, message in (
        ({"seed": [1]}, r"seed=\) must be one int or 2 of them, got \[1\]"),
        ({"options": {"reset_mask": np.zeros(2, np.bool_)}}, r"'reset_mask' must be bool \(2,\) with a True"),
        ({"options": {"reset_mask": [1, 0]}}, r"'reset_mask' must be bool \(2,\) with a True"),
        ({"options": {"problem": [1, 2, 3]}}, r"'problem' must hold 2 int\(s\), one a row, got \[1, 2, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.reset(**kwargs)
    with pytest.raises(ValueError, match="needs 2 actions, got 3"):
        envs.reset(), envs.step([3, 3, 3])
    with pytest.raises(ValueError, match="at least one function, got none"):
        MOSyncVectorEnv([])
    with pytest.raises(ValueError, match="must share their spaces; observation_space of row 1"):
        MOSyncVectorEnv([MAKERS["letters"], partial(make_env, task="countsfront")])
    with pytest.raises(ValueError, match="must declare reward_space"):
        MOSyncVectorEnv([lambda: gym.make("CartPole-v1")])
    with pytest.raises(ValueError, match="needs 2 values, got 1"):
        envs.set_attr("mark", [1])


class Drifting(gym.Env):
    """Truncates after two steps; integer observations, and nothing of this package."""

    observation_space, action_space = Box(-9, 9, (1,), np.int64), Discrete(2)
    reward_space, reward_dim = Box(-1.0, 1.0, (2,)), 2

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(3))
        self.made = 0
        return np.array([self.at]), {}

    def step(self, action):
        self.at, self.made = self.at + 1, self.made + 1
        return np.array([self.at]), np.array([action, -action], np.float32), False, self.made == 2, {"at": self.at}


def test_any_environment_and_as_mo_gymnasium_does_it():
    ours, theirs = MOSyncVectorEnv([Drifting] * 3), TheirSyncVectorEnv([Drifting] * 3)
    np.testing.assert_array_equal(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    for number in range(8):
        for one, other in zip(ours.step([0, 1, number % 2]), theirs.step([0, 1, number % 2]), strict=True):
            assert difference(one, other, "step") is None
    assert ours.reward_space == theirs.reward_space


@pytest.mark.parametrize("view", ["token", "index"])
@pytest.mark.parametrize("env_id", ["ToolCall-MO-v0", "ToolCall-MultiTurn-MO-v0"])
def test_make_vec(env_id, view):
    mode = {"obs_mode": "embed"} if view == "token" else {"k": 4}
    envs = gym.make_vec(env_id, num_envs=3, view=view, language_model="tiny", autoreset_mode="SameStep", **mode)
    assert isinstance(envs, MOSyncVectorEnv)
    assert envs.autoreset_mode is AutoresetMode.SAME_STEP
    assert envs.spec.id == env_id
    assert envs._reader is not None
    again = gym.make_vec(type(envs.spec).from_json(envs.spec.to_json()))
    np.testing.assert_array_equal(envs.reset(seed=1)[0], again.reset(seed=1)[0])
    assert gym.make_vec(env_id, num_envs=2, view=view).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_gymnasiums_processes_take_vector_rewards_under_same_step():
    make = partial(make_env, task="dentfront", obs_mode="onehot")
    envs = AsyncVectorEnv([make] * 2, shared_memory=False, autoreset_mode="SameStep")
    try:
        ours = MOSyncVectorEnv([make] * 2, autoreset_mode="SameStep")
        np.testing.assert_array_equal(envs.reset(seed=0)[0], ours.reset(seed=0)[0])
        for number in range(9):
            mine, theirs = ours.step([3 + number % 3] * 2), envs.step([3 + number % 3] * 2)
            np.testing.assert_array_equal(theirs[0], mine[0])
            np.testing.assert_allclose(theirs[1], mine[1])
            np.testing.assert_array_equal(theirs[2], mine[2])
    finally:
        envs.close()
