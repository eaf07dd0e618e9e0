"""What a language model reads for the token views: `obs_mode="embed"`, two phases, readers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from counting_game import counting_task

from llm_morl_agents.language_model import load_language_model
from llm_morl_env import make_env
from llm_morl_env.envs.dialogue_token import DialogueTokenEnv
from llm_morl_env.envs.reading import ContextReader
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.testing import check_mo_env
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import reward

TOKENIZER = TextTokenizer()
TINY = load_language_model("tiny", TOKENIZER)
CLOSE = {"rtol": 1e-5, "atol": 5e-5}


@reward(low=0.0, high=1.0)
def polite(problem, response):
    return float("please" in response)


def hidden_of(ids):
    with torch.no_grad():
        output = TINY.policy.model(input_ids=torch.tensor([list(ids)]), output_hidden_states=True)
    return output.hidden_states[-1][0, -1].numpy()


def test_embed_is_the_hidden_state_of_prompt_and_response_so_far():
    env = make_env(task="toolcall", obs_mode="embed", language_model="tiny", difficulty="easy")
    assert env.observation_space.shape == (TINY.hidden_size,)
    for problem in (3, 0):
        observation, _ = env.reset(options={"problem": problem})
        context = TOKENIZER.encode(env.task[problem].prompt)
        np.testing.assert_allclose(observation, hidden_of(context), **CLOSE)
        for token in [*TOKENIZER.encode(env.task[problem].meta["gold"])[:6], TOKENIZER.eos_id]:
            observation, *_, info = env.step(token)
            context.append(token)
            assert observation.dtype == np.float32
            np.testing.assert_allclose(observation, hidden_of(context), **CLOSE)
    assert info["response"]


def test_replies_are_read_too():
    env = DialogueTokenEnv(counting_task(), obs_mode="embed", language_model="tiny")
    env.reset(options={"problem": 3})
    context = TOKENIZER.encode(env.task[3].prompt)
    for number, response in enumerate(("3", "4")):
        for token in [*TOKENIZER.encode(response), TOKENIZER.eos_id]:
            observation, *_, info = env.step(token)
            context += [token, *TOKENIZER.encode(info["reply"])]
            np.testing.assert_allclose(observation, hidden_of(context), **CLOSE)
        assert info["reply"] == f" {number + 1}? "


@pytest.mark.parametrize("make", [
    lambda: make_env(task="toolcall", max_response_tokens=9, obs_mode="embed", language_model="tiny"),
    lambda: DialogueTokenEnv(counting_task(turns=2), obs_mode="embed", language_model="tiny"),
])  # fmt: skip
def test_embed_keeps_the_contract(make):
    check_mo_env(make, n_steps=36)


def test_an_empty_prompt_is_read_as_a_beginning_and_long_ones_are_cut_as_observations_are():
    task = text_task(["", "tea " * 99], [polite], max_response_tokens=5)
    env = TokenEnv(task, obs_mode="embed", language_model=TINY)
    observation, _ = env.reset(options={"problem": 0})
    np.testing.assert_allclose(observation, hidden_of([TOKENIZER.bos_id]), **CLOSE)
    np.testing.assert_allclose(env.step(9)[0], hidden_of([TOKENIZER.bos_id, 9]), **CLOSE)
    ids = TokenEnv(task).reset(options={"problem": 1})[0]
    observation, _ = env.reset(options={"problem": 1})
    np.testing.assert_allclose(
        observation, hidden_of(ids[: task.max_prompt_tokens][ids[: task.max_prompt_tokens] != 0]), **CLOSE
    )


def test_without_a_model_nothing_is_read_and_nothing_is_paid_for():
    env = make_env(task="toolcall")
    env.reset(seed=0)
    env.step(9)
    assert env._reader is None
    assert not env.wants_reading
    with pytest.raises(ValueError, match=r"must share one language model, got \['none'\]"):
        ContextReader([env])


def test_a_reader_follows_an_environment_that_others_step():
    env = make_env(task="toolcall", obs_mode="embed", language_model="tiny")
    reader = ContextReader([env, env])
    env.begin(seed=0)
    (first,) = reader.read([1], [env])
    np.testing.assert_allclose(first.hidden, hidden_of(env.context), **CLOSE)
    for token in (9, 10, 11):  # three steps that the reader does not see
        env.step(token)
    (after,) = reader.read([1], [env])
    np.testing.assert_allclose(after.hidden, hidden_of(env.context), **CLOSE)
    env.reset(seed=1)
    env.step(12)
    (again,) = reader.read([1], [env])
    np.testing.assert_allclose(again.hidden, hidden_of(env.context), **CLOSE)
    assert again.log_probs.shape == (TOKENIZER.vocab_size,)


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_copies_go_on_and_share_the_model(copied):
    env = make_env(task="toolcall", obs_mode="embed", language_model="tiny")
    env.reset(seed=0)
    env.step(9)
    other = copied(env)
    assert other.language_model is env.language_model is TINY
    np.testing.assert_array_equal(other.step(10)[0], env.step(10)[0])
    env.step(11)
    np.testing.assert_allclose(other.step(12)[0], hidden_of(other.context), **CLOSE)


def test_a_model_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"language_model='tiny' has another vocabulary"):
        make_env(task="dentfront", obs_mode="embed", language_model="tiny")
    env = make_env(task="dentfront", obs_mode="embed", language_model="scratch")
    assert env.reset(seed=0)[0] in env.observation_space
