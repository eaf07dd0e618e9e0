"""Demonstrations of the summarisation task: clean ones are gold, noisy ones err at their rates."""

import pickle

import numpy as np
import pytest

from llm_morl_agents.pretrain.demonstrations import DEMONSTRATIONS
from llm_morl_agents.pretrain.demonstrations.summarize import Corruption, demonstrate, summarize_demonstrations
from llm_morl_env.tasks.building import TRAIN_SIZE
from llm_morl_env.tasks.summarize import summarize_task
from llm_morl_env.tasks.summarize_problems import TIERS

N = 200


def scores(difficulty, noise, seed=4):
    task = summarize_task(difficulty=difficulty, seed=seed)
    demonstrator, rng = summarize_demonstrations(seed=seed, difficulty=difficulty), np.random.default_rng(0)
    responses = []
    for index in range(N):
        (prompt, own_prompt), (response, own) = demonstrator(index, noise, rng)
        assert (prompt, own_prompt, own) == (task[index].prompt, False, True)
        assert task.cut(response)[1] == "stop"
        responses.append(response)
    return task.score([task[i] for i in range(N)], responses)


@pytest.mark.parametrize("difficulty", TIERS)
def test_clean_demonstrations_are_gold(difficulty):
    assert (scores(difficulty, 0.0)[:, :2] == 1.0).all()


@pytest.mark.parametrize("difficulty", TIERS)
def test_a_beginner_lies_between_floor_and_top(difficulty):
    clean, half, noisy = (scores(difficulty, noise).mean(axis=0) for noise in (0.0, 0.5, 1.0))
    assert 0.45 < noisy[0] < 0.6
    assert 0.55 < noisy[1] < 0.72
    assert (noisy[:2] < half[:2]).all()
    assert (half[:2] < clean[:2]).all()
    assert 0.0 < clean[2] < noisy[2] < 1.0  # what is left out is not written


@pytest.mark.parametrize(
    ("corruption", "coverage", "faithfulness"),
    [
        (Corruption(), 1.0, 1.0),
        (Corruption(leave_out=1.0), 0.0, 0.0),
        (Corruption(value=1.0), 0.0, 0.0),
        (Corruption(repeat=1.0), 1.0, 0.5),
        (Corruption(separator=1.0), 0.0, 0.0),
    ],
)
def test_each_corruption_spoils_what_it_names(corruption, coverage, faithfulness):
    task, rng = summarize_task(difficulty="easy"), np.random.default_rng(1)
    problems = [task[i] for i in range(100)]
    got = task.score(problems, [demonstrate(problem, corruption, rng) for problem in problems])
    assert (got[:, 0] == coverage).all()
    assert (got[:, 1] == faithfulness).all()


def test_wrong_keys_spoil_all_but_lucky_ones():
    task, rng = summarize_task(), np.random.default_rng(1)
    problems = [task[i] for i in range(100)]
    got = task.score(problems, [demonstrate(problem, Corruption(key=1.0), rng) for problem in problems])
    assert got[:, 0].mean() < 0.05


def test_table_pickle_errors_and_repeats():
    assert DEMONSTRATIONS["summarize"] is summarize_demonstrations
    demonstrator = pickle.loads(pickle.dumps(summarize_demonstrations(seed=1)))
    last = TRAIN_SIZE - 1
    first = demonstrator(last, 1.0, np.random.default_rng(2))
    assert first == summarize_demonstrations(seed=1)(last, 1.0, np.random.default_rng(2))
    assert Corruption(value=0.5).scaled(0.5) == Corruption(value=0.25)
    with pytest.raises(ValueError, match="difficulty must be one of"):
        summarize_demonstrations(seed=0, difficulty="brutal")
