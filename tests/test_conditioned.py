"""`WeightConditioned`: what is seen, what is paid, where the weights come from; and learners that use it."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from paid_rows import PaidRows, played
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import DummyVecEnv

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.wrappers import RecordVectorReturn, WeightConditioned


def weights_over(env: gym.Env, resets: int, seed: int | None = 0) -> np.ndarray:
    drawn = [env.reset(seed=seed)[1]["reward_weights"]]
    return np.array(drawn + [env.reset()[1]["reward_weights"] for _ in range(resets - 1)])


def test_weights_are_appended_and_scalarise() -> None:
    env = WeightConditioned(PaidRows())
    observation, info = env.reset(seed=1)
    weights = info["reward_weights"]
    np.testing.assert_allclose(observation[2:], weights, rtol=1e-6)
    for action in (0, 1, 1):
        observation, reward, _, _, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert type(reward) is float
        assert reward == pytest.approx(info["vector_reward"] @ weights)
        np.testing.assert_allclose(observation[2:], weights, rtol=1e-6)


def test_the_simplex_is_sampled_evenly() -> None:
    class Three(PaidRows):
        def __init__(self):
            super().__init__()
            self.reward_space = gym.spaces.Box(-1, 1, (3,), np.float32)

    weights = weights_over(WeightConditioned(Three()), 2000)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(weights.var(axis=0), 1 / 18, atol=0.005)  # of Dirichlet(1, 1, 1)


def test_seeded_resets_repeat_the_weights_and_unseeded_ones_go_on() -> None:
    one, other = WeightConditioned(PaidRows()), WeightConditioned(PaidRows())
    expected = weights_over(one, 5, seed=7)
    assert len(np.unique(expected[:, 0])) == 5
    np.testing.assert_array_equal(weights_over(other, 5, seed=7), expected)
    np.testing.assert_array_equal(weights_over(one, 5, seed=7), expected)
    assert (weights_over(one, 5, seed=8) != expected).all()


def test_the_environments_own_stream_is_left_alone() -> None:
    plain, conditioned = PaidRows(), WeightConditioned(PaidRows())
    for seed in (3, None, None):
        assert conditioned.reset(seed=seed)[0][1] == plain.reset(seed=seed)[0][1]


def test_callers_may_sample_and_fix_weights() -> None:
    corners = WeightConditioned(PaidRows(), lambda rng: np.eye(2)[rng.integers(2)])
    assert {tuple(row) for row in weights_over(corners, 20).tolist()} == {(0.0, 1.0), (1.0, 0.0)}
    fixed = WeightConditioned(PaidRows(), [0.25, 0.75])
    assert weights_over(fixed, 3).tolist() == [[0.25, 0.75]] * 3
    assert fixed.reset(options={"weights": [1, 0]})[1]["reward_weights"].tolist() == [1, 0]
    assert fixed.reset()[1]["reward_weights"].tolist() == [0.25, 0.75]


def test_options_fix_one_episode_and_the_rest_reaches_the_environment() -> None:
    env = WeightConditioned(PaidRows())
    options = {"weights": np.float32([0.2, 0.8]), "problem": 3}
    results = played(env, (0, 0), options=options)
    assert set(options) == {"weights", "problem"}
    assert env.unwrapped.options == {"problem": 3}
    np.testing.assert_allclose(results[1][4]["reward_weights"], [0.2, 0.8], rtol=1e-6)
    assert results[1][1] == pytest.approx(0.8 * 4.0)
    assert not np.allclose(env.reset()[1]["reward_weights"], [0.2, 0.8])


def test_arrays_are_copies() -> None:
    given, tables = np.array([0.5, 0.5]), PaidRows.TABLES.copy()
    env = WeightConditioned(PaidRows(), given)
    given[:] = 9
    observation, info = env.reset()
    observation[:], info["reward_weights"][:] = 5, 5
    result = env.step(0)
    assert result[4]["reward_weights"].tolist() == [0.5, 0.5]
    result[4]["vector_reward"][:], result[0][:] = 5, 5
    np.testing.assert_array_equal(PaidRows.TABLES, tables)
    np.testing.assert_array_equal(env.step(0)[0][2:], [0.5, 0.5])


def test_chebyshev_is_paid_at_the_end() -> None:
    env = WeightConditioned(PaidRows(), [0.5, 0.5], "chebyshev")
    rewards = [result[1] for result in played(env, (0, 0, 0))]
    returned = PaidRows.TABLES[0].sum(axis=0)
    assert rewards == [0.0, 0.0, pytest.approx(-(0.5 * (np.array([3, 12]) - returned)).max())]


@pytest.mark.parametrize("weights", [[0.5, 0.6], [-0.5, 1.5], [1.0], [np.nan, 1.0], "half"])
def test_weights_are_checked(weights: object) -> None:
    for make in (
        lambda: WeightConditioned(PaidRows(), weights),
        lambda: WeightConditioned(PaidRows()).reset(options={"weights": weights}),
        lambda: WeightConditioned(PaidRows(), lambda rng: weights).reset(),
        lambda: WeightConditioned(PaidRows()).set_weight(weights),
    ):
        with pytest.raises(ValueError, match=r"weights|could not convert"):
            make()


@pytest.mark.parametrize("kwargs", [{}, {"view": "text"}])
def test_observations_of_another_kind_name_the_fix(kwargs: dict[str, str]) -> None:
    with pytest.raises(TypeError, match=r"flat float Box.*obs_mode='onehot'.*FlattenObservation"):
        WeightConditioned(gym.make("DentFront-MO-v0", **kwargs))


def test_spec_and_pickle_make_the_same() -> None:
    env = WeightConditioned(gym.make("DentFront-MO-v0", obs_mode="onehot"), [0.25, 0.75])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    expected = [result[:2] for result in played(env, (1, 2), seed=0)]
    for other in (again, pickle.loads(pickle.dumps(env))):
        for (seen, paid), (observation, reward) in zip(
            expected, [result[:2] for result in played(other, (1, 2), seed=0)], strict=True
        ):
            np.testing.assert_array_equal(seen, observation)
            assert paid == reward
    drawing = WeightConditioned(PaidRows())
    drawing.reset(seed=2)
    copied = pickle.loads(pickle.dumps(drawing))
    np.testing.assert_array_equal(copied.reset()[0][2:], drawing.reset()[0][2:])


@pytest.mark.parametrize("scalarization", ["linear", "chebyshev"])
def test_passes_gymnasiums_checker(scalarization: str) -> None:
    env = WeightConditioned(gym.make("DentFront-MO-v0", obs_mode="onehot"), scalarization=scalarization)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(env, skip_render_check=True)


def test_action_masks_pass_through() -> None:
    masked, bare = WeightConditioned(PaidRows()), WeightConditioned(PaidRows(masks=False))
    assert masked.action_masks().tolist() == [True, True]
    assert is_masking_supported(masked)
    assert get_action_masks(DummyVecEnv([lambda: masked])).tolist() == [[True, True]]
    assert not hasattr(bare, "action_masks")
    assert not is_masking_supported(bare)


def test_vector_returns_are_recorded_below() -> None:
    env = WeightConditioned(RecordVectorReturn(PaidRows(), timed=False))
    *_, info = played(env, (0, 0, 0))[-1]
    np.testing.assert_allclose(info["mo_episode"]["r"], PaidRows.TABLES[0].sum(axis=0))


class Offer(gym.Env):
    """One step: the action says how much of each objective is paid, from one to the other."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = gym.spaces.Box(0, 1, (1,), np.float32), gym.spaces.Discrete(2)
        self.reward_space = gym.spaces.Box(0, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), np.eye(2, dtype=np.float32)[action], True, False, {}

    def action_masks(self):
        return np.ones(2, np.bool_)


def test_one_policy_learns_to_follow_the_weights() -> None:
    env = WeightConditioned(Offer())
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=128, batch_size=128, learning_rate=1e-2, gamma=1.0, seed=0, device="cpu"
    )
    model.learn(768)
    for weights in ([0.9, 0.1], [0.2, 0.8], [0.35, 0.65], [0.7, 0.3]):
        observation, _ = env.reset(options={"weights": weights})
        assert model.predict(observation, deterministic=True)[0] == np.argmax(weights)
