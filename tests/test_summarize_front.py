"""The front of the summarisation task against brute force: all summaries of some clauses, all sums over problems."""

import pickle
from itertools import combinations, permutations, product

import numpy as np
import pytest
from fronts import in_order

from llm_morl_env import make_env
from llm_morl_env.metrics import nondominated, pareto_front
from llm_morl_env.tasks import summarize_front as module
from llm_morl_env.tasks.summarize import summarize_task
from llm_morl_env.tasks.summarize_front import MAX_EXACT, MAX_PROBLEMS, SummaryFront, least_tokens
from llm_morl_env.transforms import NoisyObjective


def every_summary(problem, wrong=("size red", "x", "")):
    """Summaries of right and wrong clauses in every order, repetitions among them, and some that are none."""
    right = [f"{key} {value}" for key, value in problem.target["facts"].items()]
    clauses = [*right, *wrong, right[0]]
    chosen = (order for k in range(5) for order in permutations(clauses, k))
    return [*("; ".join(order) for order in chosen), *(";".join(right[:k]) for k in range(3)), problem.meta["document"]]


def brute_force(task, problem):
    summaries = [s for s in every_summary(problem) if task.tokenizer.count(s) <= task.max_response_tokens]
    return task.score([problem] * len(summaries), summaries).astype(np.float64)


OBJECTIVES = [
    ("coverage", "faithfulness", "conciseness"),
    ("conciseness", "coverage"),
    ("faithfulness", "conciseness"),
    ("coverage", "faithfulness"),
    ("conciseness",),
]


@pytest.mark.parametrize("objectives", OBJECTIVES, ids="-".join)
def test_front_of_a_problem_against_brute_force(objectives):
    task = summarize_task(difficulty="standard", objectives=objectives).with_split("eval")
    for index in range(3):
        expected = pareto_front(brute_force(task, task[index]).round(6))
        np.testing.assert_allclose(in_order(task[index : index + 1].pareto_front()), in_order(expected), atol=1e-6)


@pytest.mark.parametrize("objectives", OBJECTIVES[:3], ids="-".join)
def test_front_of_means_against_brute_force(objectives):
    task = summarize_task(difficulty="easy", objectives=objectives).with_split("eval")[:3]
    scores = [pareto_front(brute_force(task, problem).round(6)) for problem in task]
    means = np.array([np.mean(points, axis=0) for points in product(*scores)]).round(6)
    np.testing.assert_allclose(in_order(task.pareto_front()), in_order(pareto_front(means)), atol=2e-6)


def test_the_cap_takes_away_what_does_not_fit():
    whole = summarize_task(difficulty="easy").with_split("eval")[:1]
    tokens = whole.tokenizer.count(whole[0].meta["gold"])
    capped = summarize_task(difficulty="easy", max_response_tokens=tokens - 1).with_split("eval")[:1]
    assert whole.pareto_front()[:, 0].tolist() == [0.0, 0.5, 1.0]
    assert capped.pareto_front()[:, 0].tolist() == [0.0, 0.5]
    expected = pareto_front(brute_force(capped, capped[0]).round(6))
    np.testing.assert_allclose(in_order(capped.pareto_front()), in_order(expected), atol=1e-6)


def test_least_tokens_against_every_order():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5):
        first, later = rng.integers(1, 9, n).tolist(), rng.integers(1, 9, n).tolist()
        orders = [order for k in range(n + 1) for chosen in combinations(range(n), k) for order in permutations(chosen)]
        expected = [
            min(sum(first[i] if not place else later[i] for place, i in enumerate(o)) for o in orders if len(o) == k)
            for k in range(n + 1)
        ]
        assert least_tokens(first, later) == expected


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_of_many_problems_the_points_found_are_on_the_complete_front(difficulty, monkeypatch):
    task = summarize_task(difficulty=difficulty).with_split("eval")[:16]
    complete = task.pareto_front()
    monkeypatch.setattr(module, "MAX_EXACT", 1)
    found = task.pareto_front()
    assert 10 < len(found) < len(complete)
    assert {tuple(row) for row in found.round(9)} <= {tuple(row) for row in complete.round(9)}
    for end in ([0.0, 0.0, 1.0], complete[complete[:, 0].argmax()]):
        assert np.abs(found - end).max(axis=1).min() < 1e-9
    # What is missing lies near: no linear preference gains by it.
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    gain = (weights @ complete.T).max(axis=1) - (weights @ found.T).max(axis=1)
    assert 0.0 <= gain.max() < 0.02


def test_whole_splits():
    task = summarize_task()
    evaluation = task.with_split("eval").pareto_front()
    assert nondominated(evaluation).all()
    assert len(evaluation) > 50
    assert evaluation[:, 0].max() == pytest.approx(1.0)
    assert evaluation[:, 2].max() == 1.0
    gold = task.score([*task.with_split("eval")], [p.meta["gold"] for p in task.with_split("eval")]).mean(axis=0)
    assert (evaluation >= gold - 1e-6).all(axis=1).any()
    # Of the endless training split the first problems stand for all.
    assert task.pareto_front().tolist() == task[:MAX_PROBLEMS].pareto_front().tolist()
    assert task.pareto_front().tolist() != evaluation.tolist()
    assert MAX_EXACT < MAX_PROBLEMS


def test_views_and_pickles_and_transforms_give_it():
    task = summarize_task(difficulty="easy")
    assert pickle.loads(pickle.dumps(task[:9])).pareto_front().tolist() == task[:9].pareto_front().tolist()
    env = make_env(task="summarize", view="text", difficulty="easy")
    assert env.pareto_front().tolist() == task.pareto_front().tolist()
    assert env.pareto_front() is not env.pareto_front()
    noisy = summarize_task(difficulty="easy", transforms=[NoisyObjective()])[:9]
    assert noisy.pareto_front().shape[1] == 4


def test_front_counts_as_it_is_told():
    task = summarize_task(difficulty="easy")
    front = SummaryFront(len, 1000, ("conciseness",))
    assert front([task[0]]).tolist() == [[1.0]]
