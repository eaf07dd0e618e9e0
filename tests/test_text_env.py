"""The text view, and what all single-episode views share."""

import copy
import pickle

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mo_gymnasium.wrappers import LinearReward, MORecordEpisodeStatistics

from llm_morl_env import make_env
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.wrappers import ScalarizedReward
from llm_morl_rewards import Problem, RewardError, reward

VIEWS = ("text", "token")


@reward(low=0.0, high=1.0)
def short(problem: Problem, response: str) -> float:
    return 1.0 / (1.0 + len(response))


@reward(low=-2.0, high=5.0)
def score(problem: Problem, response: str) -> float:
    return float(response == problem.target) * 5.0


@reward(low=0.0, high=1.0, kind="group")
def grouped(problems, responses, group):
    return np.zeros(len(problems))


@reward(low=0.0, high=1.0)
def broken(problem: Problem, response: str) -> float:
    raise KeyError("gold")


def custom(*rewards, **kwargs):
    return text_task([Problem("one", "1"), Problem("two", "2")], rewards or [short, score], **kwargs)


def test_one_step_scores_the_response():
    env = TextEnv(custom())
    prompt, info = env.reset(options={"problem": 1})
    assert prompt == "two"
    assert info == {"problem": 1, "split": "train"}
    observation, rewards, terminated, truncated, info = env.step("2")
    assert observation == "two2"
    assert rewards.tolist() == [0.5, 5.0]
    assert (terminated, truncated) == (True, False)
    assert info == {
        "problem": 1,
        "split": "train",
        "response": "2",
        "finish_reason": "stop",
        "reward_components": {"short": 0.5, "score": 5.0},
    }
    assert type(terminated) is bool
    assert type(truncated) is bool
    assert all(type(value) is float for value in info["reward_components"].values())


def test_a_long_response_is_cut_and_says_so():
    env = TextEnv(custom(max_response_tokens=3))
    env.reset(seed=0)
    long = "1 2 3 4 5 6 7 8"
    *_, info = env.step(long)
    assert info["finish_reason"] == "length"
    assert long.startswith(info["response"])
    assert env.task.tokenizer.count(info["response"]) == 3


def test_token_ids_are_understood():
    env = TextEnv(custom())
    tokenizer = env.task.tokenizer
    env.reset(options={"problem": 0})
    ids = [*tokenizer.encode("1"), tokenizer.eos_id, *tokenizer.encode("after the end")]
    assert env.step(np.array(ids))[4]["response"] == "1"


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (None, TypeError, "must be a str or a 1-D sequence of token ids, got None"),
        (1.5, TypeError, "got 1.5"),
        ([[1, 2]], TypeError, "1-D"),
        ([10**6], ValueError, r"token ids must lie in 0\.\."),
        ([-1], ValueError, r"got -1\.\.-1"),
    ],
)
def test_other_actions_are_errors(action, error, message):
    env = TextEnv(custom())
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(action)


@pytest.mark.parametrize("response", ["", "\ud800", "\x00", "{" * 5000, "雪" * 500, "<eos><pad>"])
def test_any_text_gets_finite_rewards_in_bounds(response):
    env = make_env(task="toolcall", view="text", objectives=("format", "correctness", "brevity", "name", "keys"))
    env.reset(seed=0)
    observation, rewards, *_ = env.step(response)
    assert env.reward_space.contains(rewards)
    assert env.observation_space.contains(observation)


def test_a_step_needs_a_running_episode():
    env = TextEnv(custom(), render_mode="ansi")
    with pytest.raises(RuntimeError, match="no episode is running"):
        env.step("x")
    with pytest.raises(RuntimeError, match="there is no episode yet"):
        env.render()
    env.reset(seed=0)
    env.step("x")
    with pytest.raises(RuntimeError, match="no episode is running"):
        env.step("x")


def test_group_rewards_need_a_batched_environment():
    with pytest.raises(ValueError, match=r"\['grouped'\] are of kind 'group' and need a batched environment"):
        TextEnv(custom(short, grouped))


def test_a_failing_reward_is_an_error_with_its_name():
    env = TextEnv(custom(broken))
    env.reset(seed=0)
    with pytest.raises(RewardError, match="reward 'broken' failed on row 0"):
        env.step("x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": 3}, r"unknown \['prompt'\]; known are \['problem', 'split', 'progress'\]"),
        ({"problem": 2}, r"'problem' must lie in 0\.\.1 of 'train', got 2"),
        ({"problem": -1}, r"'problem' must lie in 0\.\.1"),
        ({"problem": "0"}, r"'problem' must hold 1 int\(s\), got '0'"),
        ({"problem": [0, 1]}, r"'problem' must hold 1 int\(s\)"),
        ({"problem": True}, r"'problem' must hold 1 int\(s\), got True"),
        ({"split": "test"}, "split must be one of"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        TextEnv(custom()).reset(options=options)


@pytest.mark.parametrize("view", VIEWS)
def test_seeds_decide_the_problems_and_options_choose_them(view):
    first, second = make_env(task="toolcall", view=view), make_env(task="toolcall", view=view)
    drawn = [first.reset(seed=3 if i == 0 else None)[1]["problem"] for i in range(20)]
    assert drawn == [second.reset(seed=3 if i == 0 else None)[1]["problem"] for i in range(20)]
    assert len(set(drawn)) == 20
    for split in ("train", "eval", "unseen"):
        observation, info = first.reset(options={"split": split, "problem": 7})
        assert info["problem"] == 7
        assert info["split"] == split
        if view == "text":
            assert observation == first.task.with_split(split)[7].prompt
    assert first.reset(options={})[1]["split"] == "train"
    assert make_env(task="toolcall", view=view, split="eval").reset(seed=0)[1]["split"] == "eval"


@pytest.mark.parametrize("view", VIEWS)
def test_pickles_and_copies_continue_alike(view):
    env = make_env(task="toolcall", view=view)
    env.reset(seed=4)
    action = "<think>" if view == "text" else 5
    for twin in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        results = twin.step(action), twin.reset(), copy.deepcopy(env).step(action)
        np.testing.assert_equal(results[0], results[2])
    np.testing.assert_equal(pickle.loads(pickle.dumps(env)).reset(), copy.deepcopy(env).reset())


@pytest.mark.parametrize("view", VIEWS)
def test_check_env_passes_raw_and_scalarised(view):
    env = make_env(task="toolcall", view=view, difficulty="easy", max_response_tokens=8)
    with pytest.warns(UserWarning, match="reward returned by `step"):
        check_env(env, skip_render_check=True)
    with pytest.warns(UserWarning, match="different from the unwrapped version"):
        check_env(ScalarizedReward(env, weights=[1.0, 2.0, 3.0]), skip_render_check=True)


@pytest.mark.parametrize("view", VIEWS)
def test_mo_gymnasium_wrappers_step(view):
    env = mo_gymnasium.make("llm_morl_env:ToolCall-MO-v0", view=view, difficulty="easy", max_response_tokens=4)
    env = LinearReward(MORecordEpisodeStatistics(env), weight=np.array([1.0, 2.0, 4.0]))
    env.reset(seed=0)
    env.action_space.seed(0)
    done, total = False, 0.0
    while not done:
        _, value, done, _, info = env.step(env.action_space.sample())
        total += value
    assert total == pytest.approx(float(np.dot([1, 2, 4], info["episode"]["r"])))
    assert info["episode"]["r"].shape == (3,)
    assert total != 0.0


def test_returned_objects_are_fresh():
    env = TextEnv(custom())
    env.reset(options={"problem": 0})
    _, rewards, _, _, info = env.step("1")
    rewards[:] = 9.0
    info["reward_components"]["score"] = 9.0
    env.reset(options={"problem": 0})
    _, again, _, _, info = env.step("1")
    assert again.tolist() == [0.5, 5.0]
    assert info["reward_components"] == {"short": 0.5, "score": 5.0}


def test_rendering(capsys):
    env = gym.make("ToolCall-MO-v0", view="text", render_mode="human")
    env.reset(seed=0)
    assert capsys.readouterr().out == ""
    env.step("hello\x1b[2J")
    shown = capsys.readouterr().out
    assert "answer (stop)\n  | hello\\x1b[2J\n" in shown
    assert "correctness" in shown
    assert env.render() is None
    env = gym.make("ToolCall-MO-v0", view="text", render_mode="ansi")
    prompt, _ = env.reset(seed=0)
    assert env.render() == "prompt\n" + "\n".join(f"  | {line}" for line in prompt.split("\n"))
    env.step("hello")
    assert "answer (stop)\n  | hello" in env.render()
    assert capsys.readouterr().out == ""
