"""Dialogues by name, and `check_mo_env` on views of dialogues that disagree."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llm_morl_env import make_env, make_vector_env, registration
from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.envs.dialogue_token import DialogueTokenEnv
from llm_morl_env.envs.dialogue_vector import DialogueVectorEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.testing import ConformanceError, check_mo_env

gym.register(
    "Counting-MO-v0",
    entry_point="llm_morl_env.registration:make_env",
    vector_entry_point="llm_morl_env.registration:make_vector_env",
    disable_env_checker=True,
    kwargs={"task": "counting"},
)


@pytest.fixture(autouse=True)
def _named(monkeypatch):
    """The task among those that have names."""
    tasks = {**registration.TASKS, "counting": "counting_game:counting_task"}
    monkeypatch.setattr(registration, "TASKS", tasks)


@pytest.mark.parametrize(("view", "cls"), [("token", DialogueTokenEnv), ("text", DialogueEnv)])
def test_the_task_chooses_the_class(view, cls):
    assert type(make_env(task="counting", view=view)) is cls
    assert type(gym.make("Counting-MO-v0", view=view).unwrapped) is cls


def test_the_default_of_autoreset_is_the_tasks():
    envs = gym.make_vec("Counting-MO-v0", num_envs=4, group_size=2)
    assert type(envs) is DialogueVectorEnv
    assert envs.autoreset_mode is AutoresetMode.DISABLED
    assert type(gym.make_vec(envs.spec)) is DialogueVectorEnv
    assert make_vector_env(2, task="counting", autoreset_mode="Disabled").metadata["autoreset_mode"].value == "Disabled"
    one_turn = make_vector_env(2, task="dentfront")
    assert type(one_turn) is TextVectorEnv
    assert one_turn.autoreset_mode is AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match="reset together"):
        gym.make_vec("Counting-MO-v0", num_envs=2, autoreset_mode="SameStep")


def test_unknown_views_are_errors():
    with pytest.raises(ValueError, match=r"view must be one of \['token', 'text', .*\], got 'poem'"):
        make_env(task="counting", view="poem")
    with pytest.raises(ValueError, match=r"view must be one of \['text', .*\], got 'choice'"):
        make_vector_env(task="counting", view="choice")


@pytest.mark.parametrize("table", ["DIALOGUE_VIEWS", "DIALOGUE_VECTOR_VIEWS"])
def test_tables_are_read_only_and_have_the_names_of_the_others(table):
    with pytest.raises(TypeError):
        getattr(registration, table)["new"] = "x"
    others = [view for view in getattr(registration, table.removeprefix("DIALOGUE_")) if view != "choice"]
    assert list(getattr(registration, table)) == others  # there is no choice between whole dialogues


@pytest.mark.parametrize("view", ["token", "text"])
def test_ids_of_dialogues_keep_the_contract(view):
    check_mo_env("Counting-MO-v0", view=view, n_steps=40)


def changed(method, change):
    """A ``step`` whose rewards are changed."""

    def other(self, action):
        observation, rewards, *rest = method(self, action)
        return observation, change(self, rewards), *rest

    return other


def later_turns_halved(env, rewards):
    return rewards / np.float32(2) if len(env._conversation.responses) > 1 else rewards


def without_later_rows(env, rewards):
    return rewards * np.float32(env._conversations[0].ended is False)


@pytest.mark.parametrize(
    ("cls", "change", "message"),
    [
        (DialogueEnv, later_turns_halved, r"scalars: step 1: info\['reward_components'\] is .*, the reward "),
        (DialogueTokenEnv, later_turns_halved, r"views: problem \d+ of 'train', turn 1, .*: the token view pays"),
        (DialogueVectorEnv, without_later_rows, r"views: response .*: row \d+ of a batch pays"),
    ],
)
def test_views_that_disagree_at_a_later_turn_are_found(monkeypatch, cls, change, message):
    monkeypatch.setattr(cls, "step", changed(cls.step, change))
    with pytest.raises(ConformanceError, match=message):
        check_mo_env("Counting-MO-v0", view="text" if cls is not DialogueTokenEnv else "token", n_steps=5)


def test_a_batch_that_ends_at_another_turn_is_found(monkeypatch):
    step = DialogueVectorEnv.step

    def endless(self, actions):
        observation, rewards, terminated, *rest = step(self, actions)
        return observation, rewards, np.zeros_like(terminated), *rest

    monkeypatch.setattr(DialogueVectorEnv, "step", endless)
    with pytest.raises(ConformanceError, match=r"says terminated=False, the text view plays \d turns"):
        check_mo_env("Counting-MO-v0", view="text", n_steps=5)


def test_a_reply_that_differs_is_found(monkeypatch):
    info = DialogueTokenEnv._step_info
    monkeypatch.setattr(DialogueTokenEnv, "_step_info", lambda self: {**info(self), "reply": "?"})
    with pytest.raises(ConformanceError, match=r"reply is '\?' in the token view, ' 1\? ' in the text view"):
        check_mo_env("Counting-MO-v0", view="text", n_steps=5)
