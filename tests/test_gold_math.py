"""Real data: verdicts on model solutions, and gold answers of GSM8K and SVAMP through the task."""

import json
from pathlib import Path

import numpy as np
import pytest

from llm_morl_env.tasks.mathreasoning import OBJECTIVES, mathreasoning_task
from llm_morl_rewards.math import answers_match, extract_answer

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
#: Rows and models whose verdict differs from the file's, with the reason: none.
VERDICT_EXCEPTIONS: dict[tuple[int, str], str] = {}
#: Rows (line numbers) whose gold does not get the top accuracy and clarity, with the reason: none.
GOLD_EXCEPTIONS: dict[str, dict[int, str]] = {"gsm8k": {}, "svamp": {}}
#: Share of the golds whose stated equations all hold, at least. Others state roundings, units and missing brackets;
#: one of SVAMP has no operation.
VALID = {"gsm8k": 0.82, "svamp": 0.998}


def sample(folder):
    path = DATA / folder / "dev.jsonl"
    if not path.exists():
        pytest.skip(f"the sample data {folder} are not here")
    return path


def test_verdicts_equal_those_of_the_model_solutions():
    rows = [json.loads(line) for line in sample("gsm8k_model_solutions").read_text(encoding="utf-8").splitlines()]
    different, right = set(), 0
    for number, row in enumerate(rows, start=1):
        gold = extract_answer(row["ground_truth"])
        models = [name for name, cell in row.items() if isinstance(cell, dict)]
        assert len(models) == 4
        for name in models:
            verdict = answers_match(extract_answer(row[name]["solution"]) or "", gold)
            right += verdict
            if verdict != row[name]["is_correct"]:
                different.add((number, name))
    assert different == VERDICT_EXCEPTIONS.keys()
    assert len(different) <= 0.01 * 4 * len(rows)
    assert 0.2 < right / (4 * len(rows)) < 0.8


@pytest.mark.parametrize("folder", GOLD_EXCEPTIONS)
def test_golds_score_top_through_the_task(folder):
    path = sample(folder)
    task = mathreasoning_task(data=path, objectives=OBJECTIVES, max_prompt_tokens=8)
    scored = {}
    for split in ("train", "eval"):
        problems = list(task.with_split(split))
        cuts = [task.cut(problem.meta["gold"]) for problem in problems]
        assert {reason for _, reason in cuts} == {"stop"}
        rewards = task.score(problems, [text for text, _ in cuts])
        scored |= {problem.meta["row"]: row for problem, row in zip(problems, rewards, strict=True)}
    assert sorted(scored) == list(range(1, len(path.read_text(encoding="utf-8").splitlines()) + 1))
    accuracy, conciseness, clarity, validity = np.array(list(scored.values())).T
    below = {row for row, a, c in zip(scored, accuracy, clarity, strict=True) if (a, c) != (1.0, 1.0)}
    assert below == GOLD_EXCEPTIONS[folder].keys()
    assert len(below) <= 0.01 * len(scored)
    assert (validity == 1.0).mean() >= VALID[folder]
    assert 0.0 < conciseness.min() <= conciseness.max() < 1.0


@pytest.mark.parametrize("folder", GOLD_EXCEPTIONS)
def test_bare_and_wrong_answers_score_as_they_should(folder):
    task = mathreasoning_task(data=sample(folder), max_prompt_tokens=8, max_response_tokens=256)
    problems = [task[i] for i in range(200)]
    examples = [task.examples(problem) for problem in problems]
    bare, bad = (task.score(problems, [example[kind] for example in examples]) for kind in ("mediocre", "bad"))
    np.testing.assert_array_equal(bare, np.tile([1.0, 1.0, 0.5], (200, 1)).astype(np.float32))
    assert (bad[:, [0, 2]] == 0.0).all()
