"""Demonstrations of the mathematics task: clean ones earn accuracy and clarity, noisy ones err at their rates."""

import pickle

import numpy as np
import pytest

from llm_morl_agents.pretrain.demonstrations import DEMONSTRATIONS
from llm_morl_agents.pretrain.demonstrations.mathreasoning import (
    Errors,
    MathDemonstrations,
    mathreasoning_demonstrations,
)
from llm_morl_env.tasks.building import TRAIN_SIZE
from llm_morl_env.tasks.math_problems import TIERS
from llm_morl_env.tasks.mathreasoning import OBJECTIVES, mathreasoning_task

N = 300


def scores(demonstrator, noise, difficulty="standard", seed=4):
    task, rng = mathreasoning_task(difficulty=difficulty, seed=seed, objectives=OBJECTIVES), np.random.default_rng(0)
    responses = []
    for index in range(N):
        (prompt, own_prompt), (response, own) = demonstrator(index, noise, rng)
        assert (prompt, own_prompt, own) == (task[index].prompt, False, True)
        assert task.cut(response)[1] == "stop"
        responses.append(response)
    return task.score([task[i] for i in range(N)], responses)


@pytest.mark.parametrize("difficulty", TIERS)
def test_clean_demonstrations_earn_the_main_objectives(difficulty):
    got = scores(mathreasoning_demonstrations(seed=4, difficulty=difficulty), 0.0, difficulty)
    assert (got[:, [0, 2, 3]] == 1.0).all()
    assert len(np.unique(got[:, 1])) > 5, "lengths vary"


@pytest.mark.parametrize("difficulty", TIERS)
def test_a_beginner_lies_between_floor_and_top(difficulty):
    demonstrator = mathreasoning_demonstrations(seed=4, difficulty=difficulty)
    half, noisy = (scores(demonstrator, noise, difficulty).mean(axis=0) for noise in (0.5, 1.0))
    assert 0.3 < noisy[0] < 0.85
    assert 0.3 < noisy[1] < 0.7
    assert 0.5 < noisy[2] < 0.95
    assert 0.3 < noisy[3] < 0.9
    assert (noisy[[0, 2, 3]] < half[[0, 2, 3]]).all()


NONE = Errors(bare=0, unmarked=0, arithmetic=0, operator=0, answer=0)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (NONE, {0: 1.0, 2: 1.0, 3: 1.0}),
        (Errors(1, 0, 0, 0, 0), {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.0}),
        (Errors(0, 1, 0, 0, 0), {0: 1.0, 2: 0.5, 3: 1.0}),
        (Errors(1, 1, 0, 0, 0), {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0}),
        (Errors(0, 0, 1, 0, 0), {2: 1.0, 3: 0.0}),
        (Errors(0, 0, 0, 0, 1), {0: 0.0, 2: 1.0, 3: 1.0}),
    ],
)
def test_each_error_spoils_what_it_names(errors, expected):
    got = scores(MathDemonstrations(4, errors=errors), 1.0)
    for column, value in expected.items():
        assert (got[:, column] == value).all(), OBJECTIVES[column]


def test_wrong_operators_spoil_the_answer():
    assert scores(MathDemonstrations(4, errors=Errors(0, 0, 0, 1, 0)), 1.0)[:, 0].mean() < 0.5


def test_a_demonstration_is_a_function_of_its_arguments():
    demonstrator = pickle.loads(pickle.dumps(DEMONSTRATIONS["mathreasoning"](seed=1)))
    first, again = (demonstrator(TRAIN_SIZE - 1, 1.0, np.random.default_rng(5)) for _ in range(2))
    assert first == again
    assert first[0] != mathreasoning_demonstrations(seed=2)(TRAIN_SIZE - 1, 1.0, np.random.default_rng(5))[0]


def test_an_unknown_tier_is_an_error():
    with pytest.raises(ValueError, match=r"difficulty must be one of \['easy', 'standard', 'hard'\], got 'brutal'"):
        mathreasoning_demonstrations(seed=0, difficulty="brutal")
