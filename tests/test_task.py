"""`Task`: a sequence of problems in splits, immutable, with slices that are tasks."""

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from llm_morl_env.task import Task
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector, reward

TOKENIZER = TextTokenizer()


@reward(low=0.0, high=1 / 3)
def third(problem: Problem, response: str) -> float:
    return 1 / 3


@reward(low=-1.0, high=1.0)
def echoed(problem: Problem, response: str) -> float:
    return 1.0 if response == problem.prompt else -1.0


def make(**changes: Any) -> Task:
    problems = {
        "train": [Problem(f"train {i}") for i in range(7)],
        "eval": [Problem(f"eval {i}") for i in range(3)],
    }
    fields: dict[str, Any] = {
        "name": "echo",
        "problems": problems,
        "rewards": RewardVector([third, echoed]),
        "tokenizer": TOKENIZER,
        "max_prompt_tokens": 8,
        "max_response_tokens": 4,
    }
    return Task(**{**fields, **changes})


def test_is_a_sequence_of_its_split() -> None:
    task = make()
    assert len(task) == 7
    assert task[0].prompt == "train 0"
    assert task[-1].prompt == "train 6"
    assert [problem.prompt for problem in task] == [f"train {i}" for i in range(7)]
    assert task[2] in task


@pytest.mark.parametrize("index", [7, -8])
def test_index_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match=rf"problem {index} is out of range: the split 'train' has 7"):
        make()[index]


def test_a_slice_is_a_task() -> None:
    task = make()
    part = task[1:6:2]
    assert isinstance(part, Task)
    assert [problem.prompt for problem in part] == ["train 1", "train 3", "train 5"]
    assert len(part.with_split("eval")) == 3
    assert len(task) == 7
    with pytest.raises(ValueError, match="'train' holds no problems"):
        task[7:]


def test_with_split() -> None:
    task = make()
    assert [problem.prompt for problem in task.with_split("eval")] == ["eval 0", "eval 1", "eval 2"]
    assert task.split == "train"
    with pytest.raises(ValueError, match=r"split must be one of \['eval', 'train'\], got 'test'"):
        task.with_split("test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": {"train": [Problem("a")]}}, "the split 'eval' holds no problems"),
        ({"problems": {"train": [], "eval": [Problem("a")]}}, "the split 'train' holds no problems"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens must be at least 1, got 0"),
        ({"max_response_tokens": -1}, "max_response_tokens must be at least 1, got -1"),
        ({"split": "dev"}, "split must be one of .* got 'dev'"),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"task 'echo'.*{message}"):
        make(**changes)


def test_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        make().split = "eval"  # type: ignore[misc]


def test_cut() -> None:
    task = make()
    assert task.cut("abc") == ("abc", "stop")
    exact = TOKENIZER.decode(TOKENIZER.encode("1 2 3 4")[:4])
    assert task.cut(exact) == (exact, "stop")
    text, reason = task.cut("0123456789")
    assert (text, reason) == ("0123", "length")
    assert task.cut(text) == (text, "stop")


def test_scores_are_float32_inside_the_bounds() -> None:
    task = make()
    scores = task.score([task[0], task[1]], ["train 0", "no"])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[1 / 3, 1.0], [1 / 3, -1.0]], rtol=1e-6)
    assert (scores <= task.rewards.high.astype(np.float32)).all()  # a third rounds up in float32
    assert not np.shares_memory(scores, task.score([task[0]], ["x"]))


def halve(rewards: Any, rng: np.random.Generator) -> Any:
    return rewards * 0.5


def shake(rewards: Any, rng: np.random.Generator) -> Any:
    return rewards + rng.random(rewards.shape)


def test_perturbations_come_in_order_and_before_the_bounds() -> None:
    task = make(perturbations=(shake, halve))
    expected = (np.array([[1 / 3, 1.0], [1 / 3, -1.0]]) + np.random.default_rng(5).random((2, 2))) * 0.5
    expected = np.clip(expected, task.rewards.low, task.rewards.high)
    scores = task.score([task[0]] * 2, ["train 0", "no"], rng=np.random.default_rng(5))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"task 'echo' has perturbations, so score needs rng=, got None"):
        task.score([task[0]], ["no"])


def test_without_perturbations_no_number_is_drawn() -> None:
    rng = np.random.default_rng(5)
    before = rng.bit_generator.state
    make().score([make()[0]], ["no"], rng=rng)
    assert rng.bit_generator.state == before


def count_problems(problems: Any) -> Any:
    return np.full((1, 2), float(len(problems)))


def test_front_is_that_of_the_problems_shown() -> None:
    task = make(front=count_problems)
    assert task.pareto_front().tolist() == [[7, 7]]
    assert task.with_split("eval").pareto_front().tolist() == [[3, 3]]
    assert task[2:4].pareto_front(gamma=1).tolist() == [[2, 2]]
    with pytest.raises(ValueError, match=r"task 'echo': the front is known without discount only, got gamma=0\.9"):
        task.pareto_front(gamma=0.9)
    with pytest.raises(ValueError, match="task 'echo' has no known Pareto front"):
        make().pareto_front()


def test_pickles() -> None:
    task = make()
    again = pickle.loads(pickle.dumps(task.with_split("eval")))
    assert (again.split, again[0], len(again)) == ("eval", task.with_split("eval")[0], 3)
    np.testing.assert_array_equal(again.score([again[0]], ["eval 0"]), task.score([again[0]], ["eval 0"]))


def test_endless_problems_are_not_walked_through() -> None:
    task = replace(make(), problems={"train": range(2**31 - 1), "eval": [Problem("a")]})  # type: ignore[arg-type]
    assert len(task) == 2**31 - 1
    assert len(task[10**6 : 2 * 10**6]) == 10**6
