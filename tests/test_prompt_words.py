"""`PromptWords`: the prompt's words as a response would spell them."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.wrappers import PromptWords, ScalarizedReward, SkipForced

EASY = {"difficulty": "easy"}


def parts(env, observation):
    layout = env.get_wrapper_attr("layout")
    assert len(observation) == layout.size
    rest, words, offsets, echoes, spoken = np.split(observation, [layout.size - n * layout.words for n in (4, 3, 2, 1)])
    assert set(spoken.tolist()) <= {0.0, 1.0}
    assert (echoes[offsets < 0] == 0).all()
    return rest, words[offsets >= 0].astype(int), offsets[offsets >= 0].astype(int)


def test_the_ids_stay_and_words_follow():
    env, plain = PromptWords(gym.make("ToolCall-MO-v0", **EASY)), gym.make("ToolCall-MO-v0", **EASY)
    options = {"problem": 2, "split": "train"}
    (observation, _), (bare, _) = env.reset(seed=0, options=options), plain.reset(seed=0, options=options)
    ids, words, offsets = parts(env, observation)
    assert observation.dtype == np.float32
    assert observation in env.observation_space
    assert ids.tolist() == bare.tolist()
    decode = env.unwrapped.task.tokenizer.decode
    starts = np.flatnonzero(offsets == 0).tolist()
    spelt = [decode(words[a:b].tolist()) for a, b in zip(starts, [*starts[1:], len(words)], strict=True)]
    assert spelt[-4:] == ["sunday", "at", "17", "answer"]
    assert "set_alarm" in spelt
    assert "hour" in spelt


def test_gold_values_can_be_copied_token_by_token():
    """Names, numbers and words of the easy tier's gold answers stand among the words, spelt as the answer spells."""
    env = PromptWords(gym.make("ToolCall-MO-v0", **EASY))
    tokenizer = env.unwrapped.task.tokenizer
    for problem in range(40):
        observation, _ = env.reset(options={"problem": problem, "split": "eval"})
        _, words, offsets = parts(env, observation)
        starts = np.flatnonzero(offsets == 0).tolist()
        known = {tuple(words[a:b].tolist()) for a, b in zip(starts, [*starts[1:], len(words)], strict=True)}
        (call,) = env.unwrapped.task.with_split("eval")[problem].target["calls"]
        for value in call["arguments"].values():
            if not isinstance(value, bool):
                assert tuple(tokenizer.encode(str(value))) in known


def test_words_change_with_the_prompt_alone():
    env = PromptWords(SkipForced(gym.make("ToolCall-MO-v0", **EASY)))
    first, _ = env.reset(options={"problem": 0, "split": "train"})
    then = env.step(int(np.flatnonzero(env.get_wrapper_attr("action_masks")())[0]))[0]
    assert first[-256:].tolist() == then[-256:].tolist()
    assert first[:-256].tolist() != then[:-256].tolist()
    then[:] = 7
    again, _ = env.reset(options={"problem": 0, "split": "train"})
    assert data_equivalence(first, again, exact=True)
    other, _ = env.reset(options={"problem": 1, "split": "train"})
    assert first[-256:].tolist() != other[-256:].tolist()


def test_long_prompts_lose_their_beginning():
    options = {"problem": 0, "split": "train"}
    long = PromptWords(gym.make("ToolCall-MO-v0", **EASY)).reset(options=options)[0]
    short = PromptWords(gym.make("ToolCall-MO-v0", **EASY), max_word_tokens=5).reset(options=options)[0]
    assert short[-5:].tolist() == long[-5:].tolist()
    assert short[-20:-15].tolist() == long[-197:-192].tolist()


def test_it_is_rebuilt_from_its_spec_and_pickled():
    env = PromptWords(gym.make("ToolCall-MO-v0", **EASY), max_word_tokens=32)
    rebuilt = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    copied = pickle.loads(pickle.dumps(env))
    expected = env.reset(seed=3)[0].tolist()
    assert rebuilt.reset(seed=3)[0].tolist() == expected
    assert copied.reset(seed=3)[0].tolist() == expected


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("ToolCall-MO-v0", {"view": "text"}),
        ("DentFront-MO-v0", {"obs_mode": "onehot"}),
        ("ToolCall-MultiTurn-MO-v0", {}),
    ],
)
def test_other_views_are_refused(env_id, kwargs):
    with pytest.raises(TypeError, match=r"PromptWords\(env=\) needs the token view of a task of one turn"):
        PromptWords(gym.make(env_id, **kwargs))


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"max_word_tokens=\) must be at least 1, got 0"):
        PromptWords(gym.make("ToolCall-MO-v0"), max_word_tokens=0)
    assert ScalarizedReward(PromptWords(gym.make("DentFront-MO-v0"))).reset(seed=0)[0].dtype == np.float32
