"""`ScalarizedReward` against its formulas, Gymnasium's checker, and the habits of its neighbours."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import check_env
from mo_gymnasium.wrappers import LinearReward

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.wrappers import ScalarizedReward


class Table(gym.Env):
    """Three steps; the step's reward vector is a row of a table that belongs to the class."""

    REWARDS = np.array([[1.0, 0.0], [0.0, 0.5], [0.25, 0.25]], np.float32)

    def __init__(self, truncates: bool = False) -> None:
        self.observation_space, self.action_space = Box(0, 3, (1,), np.float32), Discrete(2)
        self.reward_space = Box(0.0, 2.0, (2,), np.float32)
        self.truncates, self.count = truncates, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        reward = self.REWARDS[self.count]
        self.count += 1
        over = self.count == len(self.REWARDS)
        observation = np.array([self.count], np.float32)
        return observation, reward, over and not self.truncates, over and self.truncates, {"count": self.count}


def smallest(vector: np.ndarray, weights: np.ndarray) -> float:
    return float((weights * vector).min())


def episode(env: gym.Env) -> list[float]:
    env.reset(seed=0)
    rewards = []
    while True:
        _, reward, terminated, truncated, _ = env.step(0)
        rewards.append(reward)
        if terminated or truncated:
            return rewards


def test_linear_is_paid_at_every_step() -> None:
    rewards = episode(ScalarizedReward(Table(), weights=[1.0, 2.0]))
    assert rewards == [1.0, 1.0, 0.75]
    assert all(type(reward) is float for reward in rewards)
    assert episode(ScalarizedReward(Table())) == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("truncates", [False, True])
def test_chebyshev_is_paid_once_on_what_the_episode_accumulated(truncates: bool) -> None:
    env = ScalarizedReward(Table(truncates), "chebyshev", weights=[1.0, 0.5])
    returned = Table.REWARDS.sum(axis=0)
    expected = -max(1.0 * (2.0 - returned[0]), 0.5 * (2.0 - returned[1]))
    for _ in range(2):  # nothing is carried over
        assert episode(env) == [0.0, 0.0, pytest.approx(expected)]


def test_chebyshev_takes_an_ideal() -> None:
    env = ScalarizedReward(Table(), "chebyshev", weights=[1.0, 0.5], ideal=[1.25, 1.75])
    assert episode(env)[-1] == pytest.approx(-0.5)


def test_callable_sees_the_accumulated_vector() -> None:
    env = ScalarizedReward(Table(), smallest, weights=[1.0, 2.0])
    assert episode(env) == [0.0, 0.0, 1.25]


def test_callable_cannot_reach_the_wrappers_arrays() -> None:
    def careless(vector: np.ndarray, weights: np.ndarray) -> float:
        value = float(vector @ weights)
        vector[:], weights[:] = 7.0, 7.0
        return value

    env = ScalarizedReward(Table(), careless)
    assert episode(env) == episode(env) == [0.0, 0.0, 2.0]


def test_info_holds_copies_under_the_usual_keys() -> None:
    weights = np.array([1.0, 2.0])
    env = ScalarizedReward(Table(), weights=weights)
    weights[:] = 9.0
    table = Table.REWARDS.copy()
    env.reset()
    _, _, _, _, info = env.step(0)
    assert set(info) == {"count", "vector_reward", "reward_weights"}
    assert info["vector_reward"].tolist() == [1.0, 0.0]
    assert info["vector_reward"].dtype == np.float32
    assert info["reward_weights"].tolist() == [1.0, 2.0]
    info["vector_reward"][:], info["reward_weights"][:] = 5.0, 5.0
    env.weights[:] = 5.0
    assert (table == Table.REWARDS).all()
    assert env.step(0)[4]["reward_weights"].tolist() == [1.0, 2.0]


def test_the_environments_info_is_left_alone() -> None:
    class Keeper(Table):
        def step(self, action):
            *rest, self.kept = super().step(action)
            return *rest, self.kept

    env = ScalarizedReward(Keeper())
    env.reset()
    env.step(0)
    assert set(env.unwrapped.kept) == {"count"}


@pytest.mark.parametrize("setter", ["set_weights", "set_weight"])
def test_weights_can_be_changed(setter: str) -> None:
    env = ScalarizedReward(Table())
    getattr(env, setter)([0.0, 4.0])
    assert episode(env) == [0.0, 2.0, 1.0]


def test_equal_to_linear_reward() -> None:
    weights = np.array([0.2, 0.5, 0.3])
    ours = ScalarizedReward(gym.make("ToolCall-MO-v0", view="text"), weights=weights)
    theirs = LinearReward(gym.make("ToolCall-MO-v0", view="text"), weight=weights)
    for env in (ours, theirs):
        env.reset(seed=3)
    (_, ours_scalar, *_, our_info), (_, their_scalar, *_, their_info) = ours.step("no"), theirs.step("no")
    assert ours_scalar == pytest.approx(float(their_scalar))
    assert set(our_info) == set(their_info)
    for key in ("vector_reward", "reward_weights"):
        np.testing.assert_array_equal(our_info[key], their_info[key])


@pytest.mark.parametrize("scalarization", ["linear", "chebyshev", smallest])
@pytest.mark.parametrize("view", ["text", "token"])
def test_passes_gymnasiums_checker(view: str, scalarization: object) -> None:
    env = ScalarizedReward(gym.make("ToolCall-MO-v0", view=view), scalarization, weights=[1.0, 0.5, 0.5])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("scalarization", ["linear", "chebyshev", smallest])
def test_token_episode_is_worth_its_text(scalarization: object) -> None:
    token = ScalarizedReward(gym.make("ToolCall-MO-v0"), scalarization, weights=[1.0, 0.5, 0.25])
    text = ScalarizedReward(gym.make("ToolCall-MO-v0", view="text"), scalarization, weights=[1.0, 0.5, 0.25])
    tokenizer = token.unwrapped.task.tokenizer
    for index in range(5):
        token.reset(options={"problem": index})
        text.reset(options={"problem": index})
        gold = token.unwrapped.task[index].meta["gold"]
        paid = [token.step(action)[1] for action in [*tokenizer.encode(gold), tokenizer.eos_id]]
        assert sum(paid) == pytest.approx(text.step(gold)[1])


def test_spec_and_pickle_round_trip() -> None:
    env = ScalarizedReward(gym.make("ToolCall-MO-v0", view="text"), "chebyshev", weights=np.array([1.0, 0.5, 0.25]))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()), disable_env_checker=True)
    assert isinstance(again, ScalarizedReward)
    env.reset(seed=1)
    copied = pickle.loads(pickle.dumps(env))
    again.reset(seed=1)
    assert env.step("x")[1] == copied.step("x")[1] == again.step("x")[1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weights": [1.0]}, r"weights=\) must be finite and of shape \(2,\), got \[1.0\]"),
        ({"weights": [1.0, np.nan]}, r"weights=\) must be finite"),
        ({"scalarization": "chebyshev", "weights": [1.0, -1.0]}, r"must not be negative"),
        ({"scalarization": "chebyshev", "ideal": [1.0]}, r"ideal=\) must be finite and of shape"),
        ({"ideal": [1.0, 1.0]}, r"ideal=\) belongs to"),
        ({"scalarization": "product"}, r"scalarization=\) must be one of .*'product'"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScalarizedReward(Table(), **kwargs)


def test_needs_a_vector_reward() -> None:
    with pytest.raises(TypeError, match="reward_space"):
        ScalarizedReward(gym.make("CartPole-v1"))


def test_unbounded_rewards_need_an_ideal() -> None:
    env = Table()
    env.reward_space = Box(-np.inf, np.inf, (2,), np.float32)
    with pytest.raises(ValueError, match="ideal="):
        ScalarizedReward(env, "chebyshev")
    assert episode(ScalarizedReward(env, "chebyshev", ideal=[1.25, 0.75])) == [0.0, 0.0, 0.0]


def test_utility_must_be_finite() -> None:
    env = ScalarizedReward(Table(), lambda vector, weights: float("nan"))
    with pytest.raises(ValueError, match="utility must be finite, got nan"):
        episode(env)


def test_stable_baselines_trains_on_it() -> None:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    env = ScalarizedReward(gym.make("ToolCall-MO-v0", difficulty="easy", max_response_tokens=8))
    agent = stable_baselines3.PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0)
    agent.learn(32)
    assert agent.num_timesteps == 32
