"""The mathematics task: tiers, objectives, their conflict, examples, caps, real data and masks."""

import json
import pickle

import numpy as np
import pytest

from llm_morl_env import make_env, make_vector_env
from llm_morl_env.task import Task
from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.math_problems import TIERS
from llm_morl_env.tasks.mathreasoning import DEFAULT_OBJECTIVES, OBJECTIVES, math_examples, mathreasoning_task
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer
from llm_morl_rewards import Problem

N = 200


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_tier_fits_its_caps_and_its_golds_are_top(difficulty, split):
    task = mathreasoning_task(difficulty=difficulty, objectives=OBJECTIVES, seed=1).with_split(split)
    problems = [task[i] for i in range(N)]
    count = task.tokenizer.count
    assert max(count(problem.prompt) for problem in problems) <= task.max_prompt_tokens
    assert max(count(problem.meta["gold"]) for problem in problems) < 0.9 * task.max_response_tokens
    cuts = [task.cut(problem.meta["gold"]) for problem in problems]
    assert {reason for _, reason in cuts} == {"stop"}
    scores = task.score(problems, [text for text, _ in cuts])
    assert (scores[:, [0, 2, 3]] == 1.0).all()
    assert 0.25 < scores[:, 1].min() <= scores[:, 1].max() < 0.6


@pytest.mark.parametrize("difficulty", TIERS)
def test_clarity_costs_conciseness(difficulty):
    task = mathreasoning_task(difficulty=difficulty, objectives=OBJECTIVES)
    problems = [task[i] for i in range(50)]
    kinds = {kind: [task.examples(p)[kind] for p in problems] for kind in ("good", "mediocre", "bad")}
    scores = {kind: task.score(problems, texts) for kind, texts in kinds.items()}
    assert (scores["good"][:, [0, 2, 3]] == 1.0).all()
    assert (scores["mediocre"] == [1.0, 1.0, 0.5, 0.0]).all()
    assert (scores["bad"][:, [0, 2, 3]] == 0.0).all()
    assert (scores["bad"] <= scores["good"]).all()


def test_conciseness_is_linear_between_its_lengths():
    task = mathreasoning_task(objectives=("conciseness",))
    problem = task[0]
    target, cap = problem.meta["conciseness_target"], problem.meta["conciseness_cap"]
    for extra in (0, 1, 5, 100):
        text = f"answer: {problem.target}" + "!?" * extra
        length = task.tokenizer.count(text)
        expected = np.clip((cap - length) / (cap - target), 0, 1)
        assert task.score([problem], [text])[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("objectives", [DEFAULT_OBJECTIVES, ("validity",), ("clarity", "accuracy"), OBJECTIVES])
def test_objectives_are_chosen_and_ordered_by_name(objectives):
    env = make_env(task="mathreasoning", view="text", objectives=objectives)
    assert env.objective_names == objectives
    env.reset(options={"problem": 0})
    rewards = dict(zip(objectives, env.step(env.task[0].meta["gold"])[1].tolist(), strict=True))
    assert all(value == 1.0 for name, value in rewards.items() if name != "conciseness")


def test_steps_that_are_wrong_cost_validity_alone():
    task = mathreasoning_task(difficulty="hard", objectives=OBJECTIVES)
    problem = task[0]
    text = problem.meta["gold"].replace(" = ", " = 9", 1)
    gold, wrong = task.score([problem] * 2, [problem.meta["gold"], text])
    assert wrong[3] == pytest.approx(1.0 - 1.0 / problem.meta["steps"])
    assert (wrong[[0, 2]] == gold[[0, 2]]).all()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"objectives": ("accuracy", "speed")}, ValueError, r"unknown \['speed'\]; known are \['accuracy', 'conc"),
        ({"objectives": ()}, ValueError, "at least one reward"),
        ({"difficulty": "brutal"}, ValueError, r"difficulty must be one of \['easy', 'standard', 'hard'\]"),
        ({"data": "no/such.jsonl"}, ValueError, "no/such.jsonl: there is no such file"),
        ({"data_format": "gsm8k"}, ValueError, "data_format='gsm8k' needs data="),
        ({"tokenizer": "no/such"}, FileNotFoundError, "tokenizer='no/such'"),
        ({"max_response_tokens": 0}, ValueError, r"max_response_tokens.* must be at least 1, got 0"),
        ({"max_prompt_tokens": 0}, ValueError, "max_prompt_tokens must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(kwargs, error, message):
    with pytest.raises(error, match=message):
        mathreasoning_task(**kwargs)


def test_the_seed_decides_and_tasks_pickle():
    first, other = mathreasoning_task(seed=3), mathreasoning_task(seed=4)
    assert [first[i] for i in range(20)] != [other[i] for i in range(20)]
    for tokenizer in (str(BUILT_IN), BUILT_IN.parent, TextTokenizer()):
        task = mathreasoning_task(seed=3, tokenizer=tokenizer)
        again = pickle.loads(pickle.dumps(task))
        assert again[5] == first[5]
        assert again.score([again[5]], ["answer: 3"]).tolist() == task.score([task[5]], ["answer: 3"]).tolist()
        assert again.examples(again[5]) == first.examples(first[5])


class Shorter:
    def __init__(self, tokens):
        self.tokens = tokens

    def __call__(self, task):
        return Task(**{**task.__dict__, "max_response_tokens": task.max_response_tokens - self.tokens})


def test_transforms_apply_in_order_and_reach_the_batched_view():
    transforms = (Shorter(50), Shorter(20))
    envs = make_vector_env(2, task="mathreasoning", max_response_tokens=80, transforms=transforms)
    assert envs.task.max_response_tokens == 10


def test_the_masks_of_the_token_view_let_golds_be_written():
    env = make_env(task="mathreasoning", objectives=("accuracy", "clarity"))
    tokenizer = env.task.tokenizer
    for index in range(10):
        env.reset(options={"problem": index, "split": "eval"})
        for token in [*tokenizer.encode(env.task.with_split("eval")[index].meta["gold"]), tokenizer.eos_id]:
            mask = env.action_masks()
            assert mask[token]
            assert not mask.all()
            _, rewards, *_ = env.step(token)
        assert rewards.tolist() == [1.0, 1.0]


def test_real_data(tmp_path):
    rows = [{"question": f"{n} + 2?", "answer": f"It is {n} + 2 = {n + 2}.\n#### {n + 2}"} for n in range(10)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = mathreasoning_task(data=path, objectives=OBJECTIVES)
    count = task.tokenizer.count
    problems = [*task, *task.with_split("eval")]
    assert len(task.with_split("eval")) == 2
    assert task.grammar is None
    assert task.max_response_tokens == 2 * max(count(problem.meta["gold"]) for problem in problems)
    assert task.max_prompt_tokens == max(count(problem.prompt) for problem in problems)
    for problem in problems:
        assert problem.meta["conciseness_target"] == count(f"answer: {problem.target}")
        assert problem.meta["conciseness_cap"] == 2 * count(problem.meta["gold"])
    assert (task.score(problems, [p.meta["gold"] for p in problems])[:, [0, 2, 3]] == 1.0).all()
    capped = mathreasoning_task(data=path, data_format="gsm8k", max_response_tokens=9, max_prompt_tokens=8)
    assert (capped.max_response_tokens, capped.max_prompt_tokens) == (9, 8)


def test_examples_of_answers_that_are_no_numbers():
    examples = math_examples(Problem("", "x + 1", {"gold": "answer: x + 1"}))
    assert list(examples) == ["good", "mediocre", "bad"]
    assert "no idea" in examples["bad"]
