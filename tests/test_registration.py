"""Ids, aliases, specs and the tables behind them."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

import llm_morl_env
from llm_morl_env import registration
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_rewards import Problem, RewardVector, reward

VIEWS = {"token": TokenEnv, "text": TextEnv}


@pytest.mark.parametrize("env_id", [*registration.IDS, *registration.ALIASES])
@pytest.mark.parametrize("view", VIEWS)
def test_make_and_spec_round_trip(env_id: str, view: str) -> None:
    env = gym.make(env_id, view=view, split="eval", render_mode="ansi")
    assert isinstance(env.unwrapped, VIEWS[view])
    assert env.unwrapped.spec.id == registration.ALIASES.get(env_id, env_id)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
    same = gym.make(env.spec)
    first, second, third = (e.reset(seed=5) for e in (env, again, same))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[0], third[0])


def test_defaults_of_the_id() -> None:
    env = gym.make("llm_morl_env:ToolCall-MO-v0")
    assert isinstance(env.unwrapped, TokenEnv)
    assert env.unwrapped.objective_names == ("format", "correctness", "brevity")
    assert env.unwrapped.reward_dim == 3
    assert env.unwrapped.reward_space.dtype == np.float32
    np.testing.assert_array_equal(env.unwrapped.reward_space.low, [0, -3, 0])
    np.testing.assert_array_equal(env.unwrapped.reward_space.high, [1, 3, 1])


@pytest.mark.parametrize("env_id", [*registration.IDS, *registration.ALIASES])
def test_make_vec(env_id: str) -> None:
    envs = gym.make_vec(env_id, num_envs=6, group_size=3, autoreset_mode="Disabled", render_mode="ansi")
    assert isinstance(envs, TextVectorEnv)
    assert envs.spec.id == registration.ALIASES.get(env_id, env_id)
    assert envs.spec.to_json()
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    again = gym.make_vec(envs.spec)
    assert again.reset(seed=1)[0] == envs.reset(seed=1)[0]
    envs.close()
    assert envs.closed


def test_importing_again_warns_of_nothing() -> None:
    before = dict(gym.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        llm_morl_env.register()
    assert dict(gym.registry) == before
    for alias, env_id in registration.ALIASES.items():
        assert gym.registry[alias] is gym.registry[env_id]


def test_specs_name_their_entry_points_by_string_and_skip_the_checker() -> None:
    for env_id in registration.IDS:
        spec = gym.spec(env_id)
        assert isinstance(spec.entry_point, str)
        assert isinstance(spec.vector_entry_point, str)
        assert spec.disable_env_checker
        assert not spec.nondeterministic


@pytest.mark.parametrize(
    "table", ["TASKS", "VIEWS", "VECTOR_VIEWS", "DIALOGUE_VIEWS", "DIALOGUE_VECTOR_VIEWS", "IDS", "ALIASES"]
)
def test_tables_are_read_only(table: str) -> None:
    with pytest.raises(TypeError):
        getattr(registration, table)["new"] = "x"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"view": "poem"}, r"view must be one of \['token', 'text', .*\], got 'poem'"),
        ({"task": "chess"}, r"task must be one of \['toolcall', .*\], got 'chess'"),
        (
            {"view": "text", "obs_mode": "ids"},
            "obs_mode='ids' belongs to view='token' or view='index', got view='text'",
        ),
        ({"obs_mode": "words"}, r"obs_mode must be one of \('ids', 'onehot', 'embed'\), got 'words'"),
        ({"obs_mode": "embed"}, r"needs language_model=, for example language_model='tiny'; got None"),
        ({"language_model": "tiny"}, "language_model='tiny' belongs to obs_mode='embed', got obs_mode='ids'"),
        ({"view": "text", "language_model": "tiny"}, "language_model='tiny' belongs to view='token' or view='index'"),
        ({"k": 4}, "k=4 belongs to view='index' or view='choice', got view='token'"),
        ({"view": "text", "ranking": "model"}, "ranking='model' belongs to view='index', got view='text'"),
        ({"candidates": "model"}, "candidates='model' belongs to view='choice', got view='token'"),
        ({"render_mode": "rgb_array"}, r"render_mode must be None or one of \('ansi', 'human'\), got 'rgb_array'"),
        ({"split": "test"}, r"split must be one of \['eval', 'train', 'unseen'\], got 'test'"),
    ],
)
def test_unknown_names_are_errors(kwargs: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llm_morl_env.make_env(**{"task": "toolcall", **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"view": "chat"}, r"view must be one of \['text', 'token', 'index', 'choice'\], got 'chat'"),
        ({"view": "token", "group_size": 2}, "group_size=2 belongs to view='text', got view='token'"),
        ({"view": "token", "num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"obs_mode": "ids"}, "obs_mode='ids' belongs to view='token' or view='index', got view='text'"),
        ({"num_envs": 6, "group_size": 4}, "num_envs=6, group_size=4"),
        ({"num_envs": 0}, "num_envs=0, group_size=1"),
        ({"group_size": 0}, "group_size=0"),
        ({"autoreset_mode": "NextStep"}, r"autoreset_mode must be one of \['SameStep', 'Disabled'\], got 'NextStep'"),
        ({"autoreset_mode": AutoresetMode.NEXT_STEP}, r"autoreset_mode must be one of"),
    ],
)
def test_unknown_names_are_errors_of_the_vector_entry_point(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llm_morl_env.make_vector_env(**{"task": "toolcall", **kwargs})  # type: ignore[arg-type]


def test_an_unknown_task_keyword_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        gym.make("ToolCall-MO-v0", colour="red")


@reward(low=0.0, high=1.0)
def short(problem: Problem, response: str) -> float:
    return float(len(response) < 4)


@reward(low=0.0, high=1.0, kind="group")
def rank(problems: tuple[Problem, ...], responses: tuple[str, ...], group: np.ndarray) -> np.ndarray:
    """1 for the longest response of its group, else 0."""
    lengths = np.array([len(r) for r in responses])
    return np.array([float(n == lengths[group == g].max()) for n, g in zip(lengths, group, strict=True)])


@pytest.mark.parametrize("rewards", [[short, rank], RewardVector([short, rank])])
def test_make_text_vec(rewards: object) -> None:
    envs = llm_morl_env.make_text_vec(
        ["plain", Problem("with a target", 3)], rewards, num_envs=4, group_size=2, eval_problems=["held out"]
    )
    prompts, _ = envs.reset(seed=0)
    assert prompts[0] == prompts[1] != prompts[2] == prompts[3]
    _, rewards, _, _, info = envs.step(["a", "abcd", "abcdef", "ab"])
    assert rewards.tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]
    prompts, info = envs.reset(options={"split": "eval"})
    assert prompts == ("held out",) * 4
    assert info["split"].tolist() == ["eval"] * 4


def test_make_text_vec_names_a_bad_problem() -> None:
    with pytest.raises(TypeError, match=r"problems\[1\] must be a Problem or a str, got 3"):
        llm_morl_env.make_text_vec(["a", 3], [short], num_envs=1)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="'train' holds no problems"):
        llm_morl_env.make_text_vec([], [short], num_envs=1)
    with pytest.raises(TypeError, match="is not a reward function"):
        llm_morl_env.make_text_vec(["a"], [len], num_envs=1)
