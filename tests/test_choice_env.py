"""The choice view: features that know no score, one step, the same score as every view."""

import ast
import copy
import pickle
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from fake_writer import FakeWriter
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_morl_env.envs.candidate_features as features_module
from llm_morl_env.candidates import random_and_oracle
from llm_morl_env.envs.candidate_features import FEATURES, LIMIT, candidate_features, structural_tags
from llm_morl_env.envs.choice import BLOCK, ChoiceEnv
from llm_morl_env.language_model import Candidate
from llm_morl_env.metrics import equally_spaced_weights
from llm_morl_env.registration import IDS, make_task
from llm_morl_env.testing import check_mo_env
from llm_morl_rewards import Problem

TASK = make_task("toolcall", difficulty="easy")
TAGS = structural_tags(TASK.tokenizer)
SMALL = [env_id for env_id, task in IDS.items() if make_task(task).tokenizer.vocab_size < 100]


def candidate(text, log_probs, finished=True):
    return Candidate(text, np.array(log_probs, np.float32), np.empty(0, np.float32), finished)


def features_of(prompt, texts, log_probs):
    encode = TASK.tokenizer.encode
    group = [candidate(*pair) for pair in zip(texts, log_probs, strict=True)]
    return candidate_features(encode(prompt), group, [encode(text) for text in texts], TAGS)


# Features


def test_features_know_neither_rewards_nor_tasks():
    tree = ast.parse(Path(features_module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name for name in imported if name.startswith("llm_morl")}
    assert own == {"llm_morl_env.language_model", "llm_morl_env.tokenizer"}
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not named & {"target", "meta", "score", "rewards", "gold"}


def test_candidates_of_equal_features_have_different_scores():
    """Two answers that look alike, of which one is right."""
    prompt, value, other = '<tools>f(x:str)<user>"anna", not "carla"<answer>', "anna", "carla"
    call = '<think>use "f".</think>\n<tool_call>\n{{"name": "f", "parameters": {{"x": "{}"}}}}\n</tool_call>'
    texts = [call.format(value), call.format(other)]
    shown = features_of(prompt, texts, [[-0.1, -0.3, -0.2]] * 2)
    np.testing.assert_array_equal(shown[0], shown[1])
    problem = Problem(
        prompt,
        target={"calls": [{"name": "f", "arguments": {"x": value}}], "accepted": None, "functions": []},
        meta=TASK[0].meta,
    )
    scores = TASK.score([problem, problem], texts)
    assert scores[0, 1] == 3.0
    assert scores[1, 1] < 3.0


letters = st.text(alphabet='ab "{}:,0123', max_size=30)
answers = st.lists(
    st.tuples(letters, st.lists(st.floats(-20, 0, width=32), max_size=9), st.booleans()), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=60)
@given(letters, answers, st.randoms(use_true_random=False))
def test_permuted_candidates_have_permuted_features(prompt, answered, random):
    group, encode = [candidate(*answer) for answer in answered], TASK.tokenizer.encode
    order = list(range(len(group)))
    random.shuffle(order)
    text_ids = [encode(c.text) for c in group]
    shown = candidate_features(encode(prompt), group, text_ids, TAGS)
    permuted = candidate_features(encode(prompt), [group[i] for i in order], [text_ids[i] for i in order], TAGS)
    assert shown.shape == (len(group), len(FEATURES))
    assert shown.dtype == np.float32
    assert np.abs(shown).max() <= LIMIT
    np.testing.assert_allclose(permuted, shown[order], atol=1e-4)


def test_features_say_what_their_names_say():
    texts = ["<think>buy apples</think>", "<think>buy apples</think>", "buy pears"]
    shown = features_of("<user>buy apples", texts, [[-0.2, -0.4], [-0.2, -0.4], [-1.5, -0.5, -1.0, -1.0]])
    raw = {name: shown[:, i] * scale + centre for i, (name, (centre, scale)) in enumerate(FEATURES.items())}
    expected = {
        "mean_log_prob": [-0.3, -0.3, -1.0],
        "least_log_prob": [-0.4, -0.4, -1.5],
        "last_log_prob": [-0.4, -0.4, -1.0],
        "length": [0.5, 0.5, 1.0],
        "same_form": [2 / 3, 2 / 3, 1 / 3],
        "form_overlap": [0.5, 0.5, 0.0],
        "form_size": [2, 2, 0],
        "form_above_median": [0, 0, -2],
        "log_prob_rank": [2 / 3, 2 / 3, 1 / 6],
        "length_rank": [1 / 3, 1 / 3, 5 / 6],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(raw[name], values, atol=1e-5, err_msg=name)
    assert raw["in_prompt"][0] > raw["in_prompt"][2]
    assert raw["overlap"][0] > raw["overlap"][2]


# The environment


@pytest.mark.parametrize("env_id", SMALL)
def test_every_task_of_a_small_vocabulary_keeps_the_contract(env_id):
    check_mo_env(env_id, view="choice", k=4, n_steps=30)


def test_candidates_of_a_model_keep_the_contract():
    writer = FakeWriter(TASK)
    check_mo_env(lambda: ChoiceEnv(TASK, k=3, language_model=writer, n_problems=8), n_steps=20)


def test_an_episode_is_paid_as_the_text_view_pays_the_candidate():
    env = ChoiceEnv(TASK, k=4, language_model=FakeWriter(TASK), n_problems=16)
    text = gym.make("ToolCall-MO-v0", view="text", difficulty="easy")
    scores = env.candidate_scores([5], "eval")
    for action in range(4):
        first, _ = env.reset(options={"problem": 5, "split": "eval"})
        last, rewards, terminated, truncated, info = env.step(np.int64(action))
        picked = env.source.candidates("eval", [5])[0][action]
        text.reset(options={"problem": 5, "split": "eval"})
        assert np.array_equal(rewards, text.step(picked.text)[1])
        assert np.array_equal(rewards, scores[0, action].astype(np.float32))
        assert info["response"] == picked.text
        assert info["finish_reason"] == ("stop" if picked.finished else "length")
        assert (terminated, truncated, info["problem"], info["split"]) == (True, False, 5, "eval")
        assert np.array_equal(first, last)
        assert first is not last


def test_resets_draw_the_first_problems_and_options_any():
    env = ChoiceEnv(TASK, k=2, language_model=FakeWriter(TASK), n_problems=5)
    assert {env.reset(seed=seed)[1]["problem"] for seed in range(60)} == set(range(5))
    assert env.reset(options={"problem": 40})[1]["problem"] == 40


def test_neighbours_are_answered_together_and_once():
    writer = FakeWriter(TASK)
    env = ChoiceEnv(TASK, k=2, language_model=writer, n_problems=BLOCK + 3)
    env.reset(options={"problem": 2})
    env.reset(options={"problem": BLOCK - 1})
    assert writer.batches == [BLOCK]
    env.reset(options={"problem": BLOCK})
    assert writer.batches == [BLOCK, 3]
    env.prepare([0, 1, 50, 51, 50], "train")
    assert writer.batches == [BLOCK, 3, 2]
    ChoiceEnv(TASK, k=2, language_model=writer).reset(options={"problem": 50})
    assert writer.batches == [BLOCK, 3, 2]


COPIES = [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_environment_makes_its_observations_again(copied):
    env = gym.make("DentFront-MO-v0", view="choice", k=3)
    assert not copied(env).unwrapped._menus
    env.reset(options={"problem": 0, "split": "eval"})
    observation, _ = env.reset(seed=4)
    other = copied(env)
    assert list(other.unwrapped._menus) == [("train", 0)]
    for left, right in zip(env.step(1), other.step(1), strict=True):
        assert np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right
    assert np.array_equal(other.reset(seed=4)[0], observation)


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_goes_on_where_its_source_says_something_else(copied, monkeypatch):
    """As a file that was written anew would, or a model of other numbers."""
    env = ChoiceEnv(TASK, k=3, language_model=FakeWriter(TASK), n_problems=8)
    observation, _ = env.reset(seed=4)
    other = copied(env)

    def gone(self, split, numbers):
        raise AssertionError("asked again")

    monkeypatch.setattr(type(env.source), "candidates", gone)
    for left, right in zip(env.step(2), other.step(2), strict=True):
        assert np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right
    assert np.array_equal(other._menu().observation, observation)


def test_a_learner_of_features_comes_near_the_oracle_on_held_out_problems():
    """Least squares from features to scores, as little as can learn."""
    env = ChoiceEnv(TASK, k=4, language_model=FakeWriter(TASK), n_problems=64)
    low, high = TASK.rewards.low, TASK.rewards.high
    blocks, scores = {}, {}
    for split in ("train", "eval"):
        seen = [env.reset(options={"problem": i, "split": split})[0] for i in range(64)]
        features = np.array(seen)[:, : 4 * len(FEATURES)].reshape(64, 4, len(FEATURES))
        blocks[split] = np.concatenate([features, np.ones((64, 4, 1))], axis=-1)
        scores[split] = (env.candidate_scores(range(64), split) - low) / (high - low)
    x, y = blocks["train"].reshape(256, -1), scores["train"].reshape(256, -1)
    solution = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    weights = equally_spaced_weights(3, divisions=5)
    random, oracle = random_and_oracle(scores["eval"], weights)
    picked = (blocks["eval"] @ solution @ weights.T).argmax(axis=1)  # (64, w)
    utilities = np.take_along_axis(scores["eval"] @ weights.T, picked[:, None], axis=1).mean(axis=(0, 1))
    share = (utilities.mean() - random.mean()) / (oracle.mean() - random.mean())
    assert share > 0.9


# Errors


def test_dialogues_have_other_views():
    with pytest.raises(ValueError, match=r"view must be one of \['token', 'text', 'index'\], got 'choice'"):
        gym.make("ToolCall-MultiTurn-MO-v0", view="choice")
    with pytest.raises(ValueError, match="is a dialogue, this environment plays one turn only"):
        ChoiceEnv(make_task("toolcall-multiturn"))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_problems": 0}, r"n_problems=\) must be None or at least 1, got 0"),
        ({"k": 0}, "k must be an int of at least 1, got 0"),
        ({"candidates": "grammar", "temperature": 2.0}, "temperature=2.0 belongs to candidates='model'"),
        ({"candidates": "no/such/file.jsonl"}, "there is no such file"),
        ({"candidates": "model", "language_model": "tiny"}, "another vocabulary"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ChoiceEnv(make_task("dentfront"), **kwargs)


def test_keywords_of_the_view_belong_to_it():
    with pytest.raises(ValueError, match="n_problems=3 belongs to view='choice', got view='token'"):
        gym.make("ToolCall-MO-v0", n_problems=3)
    assert gym.make("DentFront-MO-v0", view="choice", candidate_seed=5).unwrapped.source.seed == 5


@pytest.mark.parametrize("action", [-1, 3, 1.0, "a"])
def test_an_action_that_is_no_candidate_is_refused(action):
    env = ChoiceEnv(make_task("dentfront"), k=3)
    env.reset(seed=0)
    with pytest.raises((ValueError, TypeError)):
        env.step(action)


def test_a_step_needs_an_episode():
    env = ChoiceEnv(make_task("dentfront"), k=3)
    with pytest.raises(RuntimeError, match="call reset first"):
        env.step(0)


def test_perturbed_tasks_score_candidates_without_noise():
    from llm_morl_env.transforms import transform_of

    noisy = transform_of("noisy(scale=0.5)")(make_task("dentfront"))
    plain = ChoiceEnv(replace(noisy, perturbations=()), k=3)
    np.testing.assert_array_equal(ChoiceEnv(noisy, k=3).candidate_scores([0]), plain.candidate_scores([0]))
