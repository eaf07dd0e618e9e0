"""Gate, scale, noise and preference as wrappers of single environments: spaces, returns, the contract, specs."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import RecordConstructorArgs

import llm_morl_env
from llm_morl_env.testing import check_mo_env
from llm_morl_env.transforms import GateObjective as GateTransform
from llm_morl_env.transforms import ScaleToUnit as ScaleTransform
from llm_morl_env.wrappers import GateObjective, NoisyObjective, PreferenceInPrompt, ScalarizedReward, ScaleToUnit

EASY = {"difficulty": "easy", "max_response_tokens": 24}


class Steps(gym.Env):
    """Three steps with the rewards of a table that belongs to the class; objectives without names."""

    REWARDS = np.array([[1.0, 0.0], [0.0, 0.5], [0.25, 0.25]], np.float32)
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, truncates=False):
        self.observation_space, self.action_space = Box(0, 3, (1,), np.float32), Discrete(2)
        self.reward_space, self.reward_dim = Box(0.0, 1.0, (2,), np.float32), 2
        self.return_space = Box(0.0, 2.0, (2,), np.float32)
        self.truncates, self.count = truncates, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        over = self.count == 3
        observation = np.array([self.count], np.float32)
        return (
            observation,
            self.REWARDS[self.count - 1].copy(),
            over and not self.truncates,
            over and self.truncates,
            {},
        )


def episode(env):
    env.reset(seed=0)
    return np.array([env.step(0)[1] for _ in range(3)])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: GateObjective(env, 0, on=1, threshold=0.5),
        lambda env: ScaleToUnit(env),
        lambda env: ScaleToUnit(env, [1]),
        lambda env: NoisyObjective(env, 1, scale=0.25),
        lambda env: ScaleToUnit(NoisyObjective(GateObjective(env, 0, on=1, threshold=0.5), 0)),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        Steps,
        lambda: gym.make("ToolCall-MO-v0", view="text", **EASY),
        lambda: gym.make("ToolCall-MO-v0", view="token", **EASY),
        lambda: gym.make("DentFront-MO-v0", view="token"),
    ],
)
def test_wrapped_environments_keep_the_contract(make, wrap):
    check_mo_env(lambda: wrap(make()), n_steps=40)


@pytest.mark.parametrize("weights", [None, {"format": 1, "brevity": 3}])
def test_a_preference_in_the_prompt_keeps_the_contract(weights):
    check_mo_env(lambda: PreferenceInPrompt(gym.make("ToolCall-MO-v0", view="text", **EASY), weights), n_steps=20)


@pytest.mark.parametrize("truncates", [False, True])
def test_a_gate_is_on_the_return(truncates):
    assert episode(GateObjective(Steps(truncates), 0, on=1, threshold=0.75)).tolist() == [
        [0, 0],
        [0, 0.5],
        [1.25, 0.25],
    ]
    assert episode(GateObjective(Steps(truncates), 0, on=1, threshold=0.8)).tolist() == [[0, 0], [0, 0.5], [0, 0.25]]
    env = GateObjective(Steps(truncates), 0, on=1, threshold=0.8)
    for _ in range(2):  # nothing is carried over
        assert episode(env)[-1].tolist() == [0, 0.25]


def test_scaling_is_of_the_return():
    env = ScaleToUnit(Steps())
    np.testing.assert_allclose(episode(env).sum(axis=0), Steps.REWARDS.sum(axis=0) / 2)
    assert (env.reward_space.low.tolist(), env.reward_space.high.tolist()) == ([0, 0], [1, 1])
    one = ScaleToUnit(Steps(), [1])
    np.testing.assert_allclose(episode(one), [[1, 0], [0, 0], [0.25, 0.375]])
    assert one.return_space.high.tolist() == [2, 1]
    assert one.reward_space.high.tolist() == [1, 1]


def test_noise_is_paid_once_is_bounded_and_seeded():
    env = NoisyObjective(Steps(), 0, scale=0.25)
    drawn = []
    for seed in range(400):
        env.reset(seed=seed)
        paid = np.array([env.step(0)[1] for _ in range(3)])
        assert paid[:2, 0].tolist() == [0, 0]
        drawn.append(paid[-1, 0] - 1.25)
    assert np.abs(drawn).max() <= 0.25
    assert abs(np.mean(drawn)) < 4 * 0.25 / np.sqrt(3 * 400)
    assert len(set(drawn)) == 400
    assert episode(env).tolist() == episode(env).tolist()


def test_the_same_as_the_transforms():
    transforms = [GateTransform("brevity", on="correctness", threshold=3), ScaleTransform()]
    transformed = gym.make("ToolCall-MO-v0", view="text", transforms=transforms)
    wrapped = ScaleToUnit(
        GateObjective(gym.make("ToolCall-MO-v0", view="text"), "brevity", on="correctness", threshold=3)
    )
    for index in range(4):
        gold = transformed.unwrapped.task[index].meta["gold"]
        for response in (gold, gold[:-3], ""):
            for env in (transformed, wrapped):
                env.reset(options={"problem": index})
            one, other = transformed.step(response), wrapped.step(response)
            np.testing.assert_array_equal(one[1], other[1])
            assert one[4]["reward_components"] == other[4]["reward_components"]


def test_the_same_as_the_transforms_where_objectives_do_not_apply():
    forms = [("accuracy", "correctness", 3), ("format", "accuracy", 1)]
    gates = [GateTransform(easy, on=on, threshold=threshold) for easy, on, threshold in forms]
    transformed = gym.make("Mixture-MO-v0", view="text", transforms=[*gates, ScaleTransform()])
    wrapped = gym.make("Mixture-MO-v0", view="text")
    for easy, on, threshold in forms:
        wrapped = GateObjective(wrapped, easy, on=on, threshold=threshold)
    wrapped = ScaleToUnit(wrapped)
    noisy = NoisyObjective(gym.make("Mixture-MO-v0", view="text"), "accuracy", scale=0.25)
    task = transformed.unwrapped.task
    assert {task[index].meta["task"] for index in range(4)} == {"toolcall", "mathreasoning"}
    for index in range(4):
        for env in (transformed, wrapped, noisy):
            env.reset(seed=index, options={"problem": index})
        gold = task[index].meta["gold"]
        one, other, third = transformed.step(gold), wrapped.step(gold), noisy.step(gold)
        np.testing.assert_array_equal(one[1], other[1])
        assert one[1][[0, 3]].sum() == 1  # the gate is open where there is nothing to wait for
        applies = third[4]["objective_mask"][3]
        assert (third[1][3] == -0.25) == (not applies)


def test_nothing_is_written_in_place():
    env = GateObjective(Steps(), 0, on=1, threshold=1.5)
    table = Steps.REWARDS.copy()
    for row in episode(env):
        row[:] = 7.0
    np.testing.assert_array_equal(Steps.REWARDS, table)


def test_specs_round_trip_and_arguments_are_plain():
    env = gym.make("ToolCall-MO-v0", view="text")
    env = GateObjective(env, "brevity", on="correctness", threshold=3.0)
    env = PreferenceInPrompt(NoisyObjective(ScaleToUnit(env, ("correctness",)), "format"), np.array([1, 2, 1]))
    again = gym.make(EnvSpec.from_json(env.spec.to_json()), disable_env_checker=True)
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
    assert isinstance(again, RecordConstructorArgs)
    (prompt, info), (prompt_again, info_again) = env.reset(seed=3), again.reset(seed=3)
    assert prompt == prompt_again
    np.testing.assert_array_equal(info.pop("preference"), info_again.pop("preference"))
    assert info == info_again
    np.testing.assert_array_equal(env.step("x")[1], again.step("x")[1])


def test_preferences_are_seeded_said_and_in_the_transcript():
    env = PreferenceInPrompt(gym.make("ToolCall-MO-v0", view="text"), template="goals: {weights}\n{prompt}", parts=4)
    plain = gym.make("ToolCall-MO-v0", view="text")
    seen = set()
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        prompt = plain.reset(seed=seed)[0]
        weights = dict(zip(plain.unwrapped.objective_names, info["preference"].tolist(), strict=True))
        assert sum(weights.values()) == pytest.approx(1)
        line = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        assert observation == f"goals: {line}\n{prompt}"
        assert env.step("hello")[0] == observation + "hello"
        assert env.reset(seed=seed)[0] == observation
        seen.add(tuple(weights.values()))
    assert len(seen) > 4
    assert env.reset(seed=0)[0] != env.reset()[0]


def test_scalarised_by_the_wrapped_bounds():
    env = ScalarizedReward(ScaleToUnit(gym.make("ToolCall-MO-v0", view="text")), "chebyshev")
    env.reset(options={"problem": 0})
    assert env.step(env.unwrapped.task[0].meta["gold"])[1] == 0.0  # nothing is left to the ideal (1, 1, 1)


@pytest.mark.parametrize(
    ("wrap", "error", "message"),
    [
        (lambda: GateObjective(Steps(), "a", on=1, threshold=1), ValueError, r"easy=\) must be one of None or .*0..1"),
        (lambda: GateObjective(Steps(), 0, on=2, threshold=1), ValueError, r"GateObjective\(on=\) .* got 2"),
        (lambda: GateObjective(Steps(), 1, on=1, threshold=1), ValueError, "two objectives, got 1 and 1"),
        (lambda: GateObjective(Steps(), 0, on=1, threshold=2.5), ValueError, r"must lie in \(0, 2\], got 2.5"),
        (lambda: GateObjective(Steps(), 0, on=1, threshold=0.0), ValueError, r"must lie in \(0, 2\], got 0.0"),
        (lambda: ScaleToUnit(Steps(), [-1]), ValueError, r"objectives=\) .* got -1"),
        (lambda: NoisyObjective(Steps(), 0, scale=0), ValueError, "finite and above 0, got 0"),
        (lambda: ScaleToUnit(gym.make("CartPole-v1")), TypeError, r"ScaleToUnit\(env=\) needs a reward_space"),
        (lambda: PreferenceInPrompt(Steps()), TypeError, "needs texts as observations"),
        (
            lambda: PreferenceInPrompt(gym.make("ToolCall-MO-v0", view="text"), [1.0]),
            ValueError,
            r"weights=\) must be 3 finite numbers",
        ),
        (
            lambda: PreferenceInPrompt(gym.make("ToolCall-MO-v0", view="text"), parts=0),
            ValueError,
            r"parts=\) must be at least 1, got 0",
        ),
    ],
)
def test_wrong_arguments_are_named(wrap, error, message):
    assert llm_morl_env.registration.IDS
    with pytest.raises(error, match=message):
        wrap()


def test_unbounded_returns_cannot_be_scaled():
    env = Steps()
    env.return_space = Box(-np.inf, np.inf, (2,), np.float32)
    with pytest.raises(ValueError, match="finite bounds"):
        ScaleToUnit(env)
