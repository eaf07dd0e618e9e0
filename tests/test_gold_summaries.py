"""Real summaries: the gold answer of every row gets the top scores, and spoilt answers do not."""

from pathlib import Path

import numpy as np
import pytest

from llm_morl_env import make_env
from llm_morl_env.tasks.summarize import OBJECTIVES, summarize_task

PATH = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "scitldr" / "dev.jsonl"
#: Rows (line numbers) whose gold does not get the top score, with the reason: none.
EXCEPTIONS: dict[int, str] = {}


@pytest.fixture(scope="module")
def task():
    if not PATH.exists():
        pytest.skip("the sample data scitldr are not here")
    return summarize_task(data=PATH, objectives=OBJECTIVES)


def both(task):
    return [*task, *task.with_split("eval")]


def column(task, name):
    return task.rewards.names.index(name)


def test_golds_score_top(task):
    problems = both(task)
    cuts = [task.cut(problem.meta["gold"]) for problem in problems]
    assert {reason for _, reason in cuts} == {"stop"}
    scores = task.score(problems, [text for text, _ in cuts])
    top = [i for i, name in enumerate(OBJECTIVES) if name != "conciseness"]
    below = {p.meta["row"] for p, row in zip(problems, scores, strict=True) if (row[top] != 1.0).any()}
    assert below == EXCEPTIONS.keys()
    assert len(EXCEPTIONS) <= 0.01 * len(problems)
    assert (scores[:, column(task, "conciseness")] > 0.5).all()
    assert sorted(p.meta["row"] for p in problems) == list(range(1, 694))


def test_golds_score_top_through_the_environment(task):
    env = make_env(task="summarize", view="text", data=str(PATH))
    for split in ("train", "eval"):
        for index in range(10):
            env.reset(options={"split": split, "problem": index})
            rewards = env.step(env.task.with_split(split)[index].meta["gold"])[1]
            assert rewards[:2].tolist() == [1.0, 1.0]


def test_spoilt_answers_score_less(task):
    problems = both(task)[::3]
    golds = [problem.meta["gold"] for problem in problems]
    shifted = task.score(problems, [*golds[1:], golds[0]])  # the summary of another paper
    reversed_words = task.score(problems, [" ".join(gold.split()[::-1]) for gold in golds])
    halves = task.score(problems, [" ".join(gold.split()[: len(gold.split()) // 2]) for gold in golds])
    empty = task.score(problems, [""] * len(problems))
    coverage, faithful = column(task, "coverage"), column(task, "faithfulness")
    assert (shifted[:, coverage] < 0.6).all()
    assert shifted[:, faithful].mean() < 0.3
    assert (reversed_words[:, coverage] < 1.0).mean() > 0.99
    assert reversed_words[:, faithful].mean() < 0.2
    assert (halves[:, coverage] < 1.0).all()
    assert (empty[:, [coverage, faithful]] == 0.0).all()
    assert (empty[:, column(task, "conciseness")] == 1.0).all()


def test_a_copy_of_the_source_is_faithful_but_neither_concise_nor_covering(task):
    problems = both(task)[::20]
    scores = task.score(problems, [problem.meta["document"] for problem in problems])
    assert (scores[:, column(task, "faithfulness")] == 1.0).all()
    assert (scores[:, column(task, "conciseness")] == 0.0).all()
    assert (scores[:, column(task, "coverage")] < 0.8).all()
    assert np.median(scores[:, column(task, "coverage")]) < 0.3


def test_caps_follow_the_longest_texts(task):
    problems, count = both(task), task.tokenizer.count
    assert task.max_response_tokens == 2 * max(count(problem.meta["gold"]) for problem in problems)
    assert task.max_prompt_tokens == max(count(problem.prompt) for problem in problems)
    capped = summarize_task(data=PATH, data_format="scitldr", max_response_tokens=9, max_prompt_tokens=8)
    assert (capped.max_response_tokens, capped.max_prompt_tokens) == (9, 8)
    assert set(task.problems) == {"train", "eval"}
    assert task.grammar is None
    assert task.front is None
