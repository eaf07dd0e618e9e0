"""Answers of different quality: of every task, the good one earns more than the bad one."""

import numpy as np
import pytest

from llm_morl_env.examples import QUALITIES, cut_gold, scored_examples
from llm_morl_env.registration import TASKS, make_task
from llm_morl_rewards import Problem

#: Objectives that pay for writing little or nothing: there, a good answer need not be ahead.
CHEAP = {"brevity", "conciseness", "economy"}


@pytest.mark.parametrize("name", TASKS)
def test_good_beats_bad_and_mediocre_lies_between(name):
    task = make_task(name)
    means = {quality: [] for quality in QUALITIES}
    for problem in (task.with_split("eval")[i] for i in range(min(32, len(task.with_split("eval"))))):
        answers = scored_examples(task, problem)
        assert [answer.quality for answer in answers] == list(QUALITIES)
        for answer in answers:
            means[answer.quality].append([v for n, v in answer.rewards.items() if n not in CHEAP])
    good, mediocre, bad = (np.mean(means[quality], axis=0) for quality in QUALITIES)
    assert (good >= mediocre - 1e-6).all()
    assert good.sum() > mediocre.sum() or task.examples is None
    assert good.sum() > bad.sum()
    assert mediocre.sum() >= bad.sum() - 1e-6


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_the_same_every_time_and_leave_the_problem(name):
    task = make_task(name)
    problem = task[3 % len(task)]
    before = (problem.prompt, str(problem.target), str(problem.meta))
    assert scored_examples(task, problem) == scored_examples(task, problem)
    assert (problem.prompt, str(problem.target), str(problem.meta)) == before


def test_without_a_gold_answer_there_is_nothing():
    assert set(cut_gold(Problem("x")).values()) == {""}
