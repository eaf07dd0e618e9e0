"""`SkipForced`: forced actions are taken at once, and nothing is lost by it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.wrappers import ScalarizedReward, SkipForced


class Corridor(gym.Env):
    """Pays (step number, 1) at every step; a row of ``allowed`` says which of three actions a step allows."""

    observation_space = Box(0, 100, (1,), np.float32)
    action_space = Discrete(3)
    reward_space = Box(0, 100, (2,), np.float32)

    def __init__(self, allowed):
        self.allowed, self.taken = allowed, []

    def action_masks(self):
        mask = np.zeros(3, np.bool_)
        mask[self.allowed[min(len(self.taken), len(self.allowed) - 1)]] = True
        return mask

    def _told(self):
        return np.array([len(self.taken)], np.float32), {"action_mask": self.action_masks().astype(np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = []
        observation, info = self._told()
        return observation, {**info, "asked": options}

    def step(self, action):
        self.taken.append(int(action))
        reward = np.array([len(self.taken), 1], np.float32)
        observation, info = self._told()
        return observation, reward, len(self.taken) == len(self.allowed), False, info


def played(env, actions, **kwargs):
    """Observations, rewards and infos of an episode."""
    observation, info = env.reset(**kwargs)
    observations, rewards, infos = [observation], [], [info]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
        if terminated or truncated:
            return observations, rewards, infos
    raise AssertionError("the episode did not end")


def test_forced_actions_are_taken_and_their_rewards_added():
    inner = Corridor([[1], [0, 2], [2], [2], [0, 1], [0]])
    observations, rewards, infos = played(SkipForced(inner), [2, 1], options={"a": 1})
    assert inner.taken == [1, 2, 2, 2, 1, 0]
    assert [o.tolist() for o in observations] == [[1.0], [4.0], [6.0]]
    assert [r.tolist() for r in rewards] == [[1 + 2 + 3 + 4, 4], [5 + 6, 2]]
    assert [info["skipped"] for info in infos] == [1, 2, 1]
    assert infos[0]["asked"] == {"a": 1}
    assert infos[0]["action_mask"].tolist() == [1, 0, 1]


def test_an_episode_without_a_decision_takes_one_step_that_pays_all():
    inner = Corridor([[1], [0], [2]])
    env = SkipForced(inner)
    for _ in range(2):
        observations, rewards, infos = played(env, [0])
        assert inner.taken == [1, 0, 2]
        assert [o.tolist() for o in observations] == [[3.0], [3.0]]
        assert [r.tolist() for r in rewards] == [[6, 3]]
        assert infos[0]["skipped"] == 3


def test_nothing_is_owed_to_the_next_episode():
    env = SkipForced(Corridor([[1], [0, 2], [0]]))
    env.reset()
    assert played(env, [0])[1][0].tolist() == [6, 3]
    assert played(env, [0])[1][0].tolist() == [6, 3]


def test_rewards_are_fresh_arrays():
    env = SkipForced(Corridor([[0, 1], [0, 1], [0, 1]]))
    env.reset()
    first = env.step(0)[1]
    first += 100
    assert env.step(0)[1].tolist() == [2, 1]


@pytest.mark.parametrize("env_id", ["ToolCall-MO-v0", "DentFront-MO-v0", "ToolCall-MultiTurn-MO-v0"])
def test_an_episode_earns_what_its_tokens_earn(env_id):
    plain, env = gym.make(env_id), SkipForced(gym.make(env_id))
    rng = np.random.default_rng(0)
    for problem in range(3):
        options = {"problem": problem % len(env.unwrapped.task.with_split("eval")), "split": "eval"}
        env.reset(seed=0, options=options)
        plain.reset(seed=0, options=options)
        total, tokens, steps, done = np.zeros(env.unwrapped.reward_dim), np.zeros(env.unwrapped.reward_dim), 0, False
        while not done:
            choice = rng.choice(np.flatnonzero(env.action_masks()))
            assert env.action_masks().sum() > 1
            _, reward, done, _, info = env.step(choice)
            total, steps, over = total + reward, steps + 1, False
            while not over:  # the same tokens one by one
                allowed = np.flatnonzero(plain.unwrapped.action_masks())
                if len(allowed) > 1 and choice is None:
                    break
                token, choice = (choice, None) if len(allowed) > 1 else (allowed[0], choice)
                _, reward, over, _, told = plain.step(token)
                tokens = tokens + reward
        assert over
        assert info["response"] == told["response"]
        np.testing.assert_allclose(total, tokens, atol=1e-6)


def test_it_passes_scalar_wrappers_on_the_outside_and_their_masks():
    env = ScalarizedReward(SkipForced(gym.make("ToolCall-MO-v0", difficulty="easy")), weights=[1, 0, 0])
    env.reset(seed=0)
    masks = env.get_wrapper_attr("action_masks")()
    assert masks.dtype == np.bool_
    assert isinstance(env.step(np.flatnonzero(masks)[0])[1], float)


def test_environments_that_it_cannot_serve_are_refused():
    with pytest.raises(TypeError, match=r"SkipForced\(env=\) needs a method action_masks"):
        SkipForced(gym.make("ToolCall-MO-v0", view="text"))
    scalar = Corridor([[0]])
    scalar.reward_space = None
    with pytest.raises(TypeError, match=r"SkipForced\(env=\) needs a reward_space"):
        SkipForced(scalar)
    continuous = Corridor([[0]])
    continuous.action_space = Box(0, 1, (1,))
    with pytest.raises(TypeError, match=r"SkipForced\(env=\) needs Discrete actions"):
        SkipForced(continuous)


def test_what_a_turn_said_outlasts_the_forced_beginning_of_the_next():
    env, rng = SkipForced(gym.make("ToolCall-MultiTurn-MO-v0")), np.random.default_rng(0)
    turns = 0
    for seed in range(3):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            _, reward, over, _, info = env.step(int(rng.choice(np.flatnonzero(info["action_mask"]))))
            np.testing.assert_allclose(list(info["reward_components"].values()), reward, atol=1e-6)
            turns += bool(info["response"])
    assert turns >= 3


def test_an_episode_without_a_decision_shares_nothing_between_its_calls():
    env = SkipForced(Corridor([[1], [2]]))
    observation, info = env.reset(seed=0)
    observation[:], info["action_mask"][:] = 77, 77
    later, _, over, _, latest = env.step(0)
    assert over
    assert later.tolist() == [2.0]
    assert 77 not in latest["action_mask"]
