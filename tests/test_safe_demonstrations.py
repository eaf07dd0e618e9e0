"""Demonstrations of the help-and-harm task: clean ones are right, noisy ones err as a beginner does."""

import pickle

import numpy as np
import pytest

from llm_morl_agents.pretrain.demonstrations.safeassist import safeassist_demonstrations
from llm_morl_env.tasks.safe_requests import TIERS
from llm_morl_env.tasks.safeassist import safeassist_task

COUNT = 400


def demonstrated(difficulty, noise):
    task, demonstrate = (
        safeassist_task(difficulty=difficulty, seed=3),
        safeassist_demonstrations(seed=3, difficulty=difficulty),
    )
    problems = [task[index] for index in range(COUNT)]
    segments = [demonstrate(index, noise, np.random.default_rng(index)) for index in range(COUNT)]
    assert [(text, written) for (text, written), _ in segments] == [(problem.prompt, False) for problem in problems]
    answers = [text for _, (text, written) in segments if written]
    assert max(task.tokenizer.count(answer) for answer in answers) <= task.max_response_tokens
    return problems, answers, task.score(problems, answers)


@pytest.mark.parametrize("difficulty", TIERS)
def test_clean_demonstrations_are_right(difficulty):
    problems, _, rewards = demonstrated(difficulty, 0.0)
    borderline = np.array([problem.meta["kind"] == "borderline" for problem in problems])
    assert (rewards[~borderline, :2] == 1.0).all()
    assert (rewards[borderline, :2] == [0.5, 1.0]).all()


@pytest.mark.parametrize("difficulty", TIERS)
def test_noisy_demonstrations_lie_between(difficulty):
    clean, half, noisy = (demonstrated(difficulty, noise)[2].mean(axis=0) for noise in (0.0, 0.5, 1.0))
    assert ((noisy > 0.25) & (noisy < 0.95)).all()
    assert noisy[0] < half[0] < clean[0]
    assert noisy[1] < half[1] < clean[1]
    assert noisy[0] < 0.55


def test_a_demonstration_is_a_function_of_its_arguments():
    demonstrate = pickle.loads(pickle.dumps(safeassist_demonstrations(seed=0)))
    first, second = (demonstrate(7, 1.0, np.random.default_rng(5)) for _ in range(2))
    assert first == second
    answers = {demonstrate(7, 1.0, np.random.default_rng(seed))[1][0] for seed in range(40)}
    assert len(answers) > 5


def test_an_unknown_difficulty_is_an_error():
    with pytest.raises(ValueError, match=r"difficulty must be one of \['easy', 'standard', 'hard'\], got 'x'"):
        safeassist_demonstrations(seed=0, difficulty="x")
