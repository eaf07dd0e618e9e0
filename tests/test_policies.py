"""The language model that an experiment starts from."""

import gymnasium as gym
import pytest
from experiment_task import small

from llm_morl_agents.experiments.policies import resolve_policy, starting_policy, suited_settings
from llm_morl_agents.experiments.tasks import make_envs


def envs_of(env_id):
    return gym.make_vec(env_id, num_envs=2, group_size=2)


@pytest.fixture
def asked(monkeypatch):
    """What `load_policy` was asked for."""
    asked = {}
    monkeypatch.setattr(
        "llm_morl_agents.policies.load.load_policy", lambda source, **options: asked.update(source=source, **options)
    )
    return asked


def test_a_model_from_scratch_gets_the_tasks_tokenizer_and_the_runs_seed(workspace, monkeypatch, asked):
    monkeypatch.chdir(workspace)
    envs = make_envs(small(workspace), num_envs=4, group_size=4)
    starting_policy("scratch", envs, seed=7, device="cpu", dtype="float32")
    assert asked.pop("tokenizer") is envs.unwrapped.task.tokenizer
    assert asked == {"source": "scratch", "seed": 7, "device": "cpu", "dtype": "float32"}


@pytest.mark.parametrize(
    ("env_id", "source", "rate"),
    [("ToolCall-MO-v0", "tiny", None), ("CountsFront-MO-v0", "scratch", 3e-3)],
)
def test_auto_follows_the_environments_tokens(env_id, source, rate, asked):
    envs = envs_of(env_id)
    assert resolve_policy("auto", envs) == source
    assert suited_settings("auto", envs, {}).get("learning_rate") == rate
    assert suited_settings("auto", envs, {"learning_rate": 0.1, "epochs": 2}) == {"learning_rate": 0.1, "epochs": 2}
    assert suited_settings("scratch", envs, {}) == {}, "who names it chooses the rate too"
    starting_policy("auto", envs, seed=1, device="cpu", dtype="float32")
    assert asked["source"] == source


def test_other_names_stand_for_themselves(asked):
    envs = envs_of("CountsFront-MO-v0")
    assert resolve_policy("some/model", envs) == "some/model"
    starting_policy("some/model", envs, seed=1, device="cpu", dtype="float32")
    assert asked == {"source": "some/model", "device": "cpu", "dtype": "float32"}


def test_scratch_needs_a_task():
    with pytest.raises(ValueError, match="needs the tokenizer of a task"):
        starting_policy("scratch", gym.make_vec("CartPole-v1"), seed=0, device="cpu", dtype="float32")
