"""Environments from options: registered ones and the user's own."""

import json
from dataclasses import dataclass, replace

import gymnasium as gym
import pytest
from experiment_task import small

from llm_morl_agents.experiments.config import TaskOptions
from llm_morl_agents.experiments.errors import UserError, user_errors
from llm_morl_agents.experiments.tasks import load_rewards, make_envs


def make(options, num_envs=4, group_size=2):
    return make_envs(options, num_envs=num_envs, group_size=group_size).unwrapped


def test_registered_environment_gets_its_arguments():
    options = TaskOptions(
        difficulty="easy", objectives=("name", "format"), max_response_tokens=7, env_kwargs={"seed": 3}
    )
    env = make(options)
    assert env.objective_names == ("name", "format")
    assert env.task.max_response_tokens == 7
    assert (env.num_envs, env.group_size) == (4, 2)


def test_data_of_a_registered_environment(tmp_path):
    row = {"instruction": "i", "input": "u", "output": "<think>t</think>\n<response>r</response>"}
    path = tmp_path / "rlla.jsonl"
    path.write_text("\n".join(json.dumps(row) for _ in range(5)))
    env = make(TaskOptions(env="llm_morl_env:ToolCall-MO-v0", data=path), num_envs=2, group_size=1)
    assert env.reset()[0] == ("i\n\nu\n", "i\n\nu\n")


def test_own_data_and_rewards(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    env = make(small(workspace, objectives=("short",)))
    assert env.objective_names == ("short",)
    assert env.task.max_response_tokens == 3
    assert len(env.task.with_split("eval")) == 4
    assert len(env.task.with_split("train")) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": "own_rewards"}, "form module:attribute, got 'own_rewards'"),
        ({"rewards": "no_such_module:rewards"}, "no module 'no_such_module'"),
        ({"rewards": "own_rewards:nothing"}, "has no 'nothing'"),
        ({"rewards": "own_rewards:HERE"}, "must be a RewardVector or a list of reward functions"),
        ({"rewards": "json:decoder"}, "must be a RewardVector or a list"),
        ({"env": "ToolCall-MO-v0"}, "give rewards and data, or env"),
        ({"data": None}, "rewards need data"),
        ({"difficulty": "easy"}, "difficulty belongs to a registered environment"),
        ({"objectives": ("shorter",)}, "shorter"),
        ({"tokenizer": "nowhere"}, "nowhere"),
        ({"env_kwargs": {"colour": 1}}, "colour"),
    ],
)
def test_mistakes_with_own_rewards(workspace, monkeypatch, changes, message):
    monkeypatch.chdir(workspace)
    with pytest.raises(UserError, match=message), user_errors():
        make(small(workspace, **changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TaskOptions(difficulty="impossible"), "difficulty must be one of"),
        (TaskOptions(env="Nowhere-v0"), "Nowhere"),
        (TaskOptions(env="no_such_module:Nowhere-v0"), "no_such_module"),
        (TaskOptions(env="CartPole-v1"), r"group_size|vector rewards"),
        (TaskOptions(data="nowhere.jsonl"), "nowhere.jsonl"),
        (TaskOptions(env_kwargs={"colour": 1}), "colour"),
    ],
)
def test_mistakes_with_registered_environments(options, message):
    with pytest.raises(UserError, match=message), user_errors():
        make(options)


def test_an_import_error_inside_the_module_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "needs_more.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_rewards("needs_more:rewards")


def test_environment_without_vector_rewards(monkeypatch):
    class Scalar:
        unwrapped = object()

    monkeypatch.setattr(gym, "make_vec", lambda *args, **kwargs: Scalar())
    with pytest.raises(TypeError, match="has no vector rewards"):
        make(TaskOptions())


@dataclass(frozen=True)
class Capped:
    """A transform of a task, for the table."""

    tokens: int = 1

    def __call__(self, task):
        return replace(task, max_response_tokens=self.tokens)


def test_transforms_by_name_reach_the_task(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setattr("llm_morl_env.transforms.TRANSFORMS", {"capped": Capped})
    assert make(small(workspace, transforms=("capped",))).task.max_response_tokens == 1
    options = TaskOptions(difficulty="easy", transforms=("capped", "capped(tokens=5)"))
    assert make(options).task.max_response_tokens == 5, "in order"
    with pytest.raises(ValueError, match="unknown name 'doubled'"):
        make(TaskOptions(transforms=("doubled",)))
    with pytest.raises(ValueError, match=r"^transforms: 'capped"):
        make(TaskOptions(transforms=("capped(",)))
