"""The token view: one episode writes a response that is scored as the text view scores it."""

import importlib

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv

from llm_morl_env import make_env, make_vector_env
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.wrappers import ScalarizedReward
from llm_morl_rewards import reward

CAP = 24
ENV = make_env(task="toolcall", difficulty="easy", max_response_tokens=CAP)
TASK, TOKENIZER = ENV.task, ENV.task.tokenizer


@reward(low=1.0, high=2.0)
def at_least_one(problem, response):
    return 1.0


class OnlyDigits:
    """A grammar: up to three digits, then the end."""

    def allowed(self, problem, response_ids):
        mask = np.zeros(TOKENIZER.vocab_size, np.bool_)
        digits = [] if len(response_ids) >= 3 else [TOKENIZER.encode(str(d))[0] for d in range(10)]
        mask[[TOKENIZER.eos_id, *digits]] = True
        return mask


def play(env, ids, **options):
    """Write the ids, and the end of sequence as often as it takes; return the sum of rewards, and the last step."""
    env.reset(options=options)
    total = np.zeros(env.reward_dim, np.float32)
    for token in [*ids, TOKENIZER.eos_id]:
        step = env.step(token)
        total += step[1]
        if step[2]:
            return total, step
    raise AssertionError("the episode did not end")


TOKEN = st.integers(0, TOKENIZER.vocab_size - 1) | st.sampled_from(TOKENIZER.encode(TASK[0].meta["gold"]))


@settings(max_examples=150, deadline=None)
@given(ids=st.lists(TOKEN, max_size=CAP + 2), problem=st.integers(0, 99))
def test_views_agree_on_any_token_sequence(ids, problem):
    total, (*_, info) = play(ENV, ids, problem=problem)
    end = ids.index(TOKENIZER.eos_id) if TOKENIZER.eos_id in ids else len(ids)
    written = ids[: min(end, CAP)]
    text = TextEnv(TASK)
    text.reset(options={"problem": problem})
    _, rewards, _, _, text_info = text.step(TOKENIZER.decode(written))
    assert total.tolist() == rewards.tolist()
    assert info["response"] == text_info["response"] == TASK.cut(TOKENIZER.decode(written))[0]
    envs = TextVectorEnv(TASK, num_envs=2, group_size=2)
    envs.reset(options={"problem": [problem]})
    batched = envs.step([np.array(written, np.int64), TOKENIZER.decode(written)])[1]
    assert batched.tolist() == [rewards.tolist()] * 2


@pytest.mark.parametrize("difficulty", ["easy", "standard", "hard"])
@pytest.mark.parametrize("split", ["train", "eval", "unseen"])
def test_golds_score_top_in_every_view(difficulty, split):
    top = [1.0, 3.0, 1.0]
    token, text = (make_env(task="toolcall", view=v, difficulty=difficulty, split=split) for v in ("token", "text"))
    count = 200
    task = text.task
    golds = [task[i].meta["gold"] for i in range(count)]
    envs = make_vector_env(count, task="toolcall", difficulty=difficulty, split=split)
    envs.reset(options={"problem": range(count)})
    assert (envs.step(golds)[1] == top).all()
    for index in range(count):
        text.reset(options={"problem": index})
        assert text.step(golds[index])[1].tolist() == top, (difficulty, split, index)
    for index in range(40):
        total, step = play(token, task.tokenizer.encode(golds[index]), problem=index)
        assert total.tolist() == top
        assert step[4]["finish_reason"] == "stop"


@pytest.mark.parametrize("obs_mode", ["ids", "onehot"])
def test_the_observation_is_prompt_then_response(obs_mode):
    env = TokenEnv(TASK, obs_mode=obs_mode)
    observation, _ = env.reset(options={"problem": 3})
    first, second = TOKENIZER.encode("12")
    prompt = TOKENIZER.encode(TASK[3].prompt)
    after = env.step(first)[0], env.step(second)[0], env.step(TOKENIZER.eos_id)[0]
    for written, seen in enumerate((observation, *after)):
        assert seen in env.observation_space
        if obs_mode == "onehot":
            rows = seen.reshape(-1, TOKENIZER.vocab_size)
            assert (rows.sum(axis=1) == 1.0).all()
            seen = rows.argmax(axis=1)
        padding = TASK.max_prompt_tokens - len(prompt)
        assert (seen[:padding] == TOKENIZER.pad_id).all()
        assert seen[padding : TASK.max_prompt_tokens].tolist() == prompt
        response = seen[TASK.max_prompt_tokens :]
        assert response[:written].tolist() == [first, second, TOKENIZER.eos_id][:written]
        assert (response[written:] == TOKENIZER.pad_id).all()


def test_a_long_prompt_loses_its_beginning():
    task = text_task(["one two three four five six"], [at_least_one], max_prompt_tokens=3)
    observation, _ = TokenEnv(task).reset(seed=0)
    assert observation[:3].tolist() == TOKENIZER.encode(task[0].prompt)[-3:]


def test_rewards_are_zero_until_the_end():
    env = TokenEnv(text_task(["p"], [at_least_one], max_response_tokens=4))
    env.reset(seed=0)
    steps = [env.step(TOKENIZER.encode("1")[0]) for _ in range(4)]
    assert [step[1].tolist() for step in steps] == [[0.0], [0.0], [0.0], [1.0]]
    assert [step[2] for step in steps] == [False, False, False, True]
    assert all(type(step[2]) is bool and step[3] is False for step in steps)
    assert all(env.reward_space.contains(step[1]) for step in steps)
    assert [step[4]["finish_reason"] for step in steps] == ["", "", "", "length"]
    assert [step[4]["response"] for step in steps] == ["", "", "", "1111"]
    assert all(list(step[4]) == list(steps[0][4]) for step in steps)
    with pytest.raises(RuntimeError, match="no episode is running"):
        env.step(0)


@pytest.mark.parametrize(
    ("action", "error"), [(-1, ValueError), (10**6, ValueError), (1.0, TypeError), ("1", TypeError)]
)
def test_bad_actions_are_errors(action, error):
    ENV.reset(seed=0)
    with pytest.raises(error):
        ENV.step(action)


def test_masks_follow_the_grammar_and_are_fresh():
    env = TokenEnv(text_task(["p"], [at_least_one], grammar=OnlyDigits(), max_response_tokens=8))
    _, info = env.reset(seed=0)
    for written in range(4):
        mask = env.action_masks()
        assert mask.dtype == np.bool_
        assert info["action_mask"].dtype == np.int8
        assert mask.tolist() == info["action_mask"].astype(bool).tolist()
        assert mask.sum() == (11 if written < 3 else 1)
        assert mask[TOKENIZER.eos_id]
        mask[:] = False
        info["action_mask"][:] = 0
        assert env.action_masks().any()
        *_, info = env.step(TOKENIZER.encode("7")[0])


def test_masks_without_a_grammar_and_at_the_end():
    env = TokenEnv(text_task(["p"], [at_least_one]))
    with pytest.raises(RuntimeError, match="there is no episode yet"):
        env.action_masks()
    env.reset(seed=0)
    assert np.flatnonzero(~env.action_masks()).tolist() == sorted([TOKENIZER.pad_id, TOKENIZER.bos_id])
    *_, info = env.step(TOKENIZER.eos_id)
    assert np.flatnonzero(info["action_mask"]).tolist() == [TOKENIZER.eos_id]


def test_rollouts_are_deterministic():
    first, second = (make_env(task="toolcall", max_response_tokens=12) for _ in range(2))
    first.action_space.seed(1)
    np.testing.assert_equal(first.reset(seed=2), second.reset(seed=2))
    for _ in range(60):
        action = first.action_space.sample()
        steps = first.step(action), second.step(action)
        np.testing.assert_equal(steps[0], steps[1])
        if steps[0][2]:
            np.testing.assert_equal(first.reset(), second.reset())


def test_mo_gymnasium_vectorisation():
    envs = MOSyncVectorEnv(
        [lambda: gym.make("ToolCall-MO-v0", difficulty="easy", max_response_tokens=3) for _ in range(2)]
    )
    envs.reset(seed=0)
    envs.action_space.seed(0)
    steps = [envs.step(envs.action_space.sample()) for _ in range(6)]
    assert all(step[1].shape == (2, 3) and step[1].dtype == np.float32 for step in steps)
    assert steps[2][2].all()
    assert (steps[2][1][:, 1] == -3.0).all()


@pytest.mark.parametrize("algorithm", ["stable_baselines3:PPO", "sb3_contrib:MaskablePPO"])
def test_stable_baselines_trains_on_the_scalarised_env(algorithm):
    import torch

    torch.set_num_threads(1)
    module, name = algorithm.split(":")
    env = ScalarizedReward(gym.make("ToolCall-MO-v0", difficulty="easy", max_response_tokens=4), weights=[1, 1, 1])
    model = getattr(importlib.import_module(module), name)(
        "MlpPolicy", env, n_steps=16, batch_size=8, n_epochs=1, policy_kwargs={"net_arch": [8]}, seed=0
    )
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(32)
    assert model.num_timesteps == 32
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    if name == "MaskablePPO":
        observation, _ = env.reset(seed=0)
        action, _ = model.predict(observation, action_masks=env.unwrapped.action_masks())
        assert env.unwrapped.action_masks()[action]
