"""The summarisation task: tiers, caps, objectives, own data, examples, errors."""

import json
import pickle
import sys

import gymnasium as gym
import pytest

from llm_morl_env import make_env, make_vector_env
from llm_morl_env.data import DataError
from llm_morl_env.examples import scored_examples
from llm_morl_env.tasks.building import SPLITS, MappedProblems
from llm_morl_env.tasks.summarize import (
    DEFAULT_OBJECTIVES,
    OBJECTIVES,
    WithDocumentTokens,
    reference_rewards,
    summarize_task,
)
from llm_morl_env.tasks.summarize_problems import TIERS
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer
from llm_morl_rewards import summary as rewards

ROWS = [
    {"document": f"There are {n} cats in the house and they all sleep.", "summary": f"{n} cats sleep."}
    for n in range(10)
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return file


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_tier_fits_its_caps_and_its_golds_are_top(difficulty, split):
    task = summarize_task(difficulty=difficulty, seed=1).with_split(split)
    problems = [task[i] for i in range(400)]
    count = task.tokenizer.count
    assert max(count(problem.prompt) for problem in problems) <= task.max_prompt_tokens
    assert max(count(problem.meta["gold"]) for problem in problems) < 0.9 * task.max_response_tokens
    cuts = [task.cut(problem.meta["gold"]) for problem in problems]
    assert {reason for _, reason in cuts} == {"stop"}
    scores = task.score(problems, [text for text, _ in cuts])
    assert (scores[:, :2] == 1.0).all()
    expected = [1 - count(p.meta["gold"]) / count(p.meta["document"]) for p in problems]
    assert scores[:, 2].tolist() == pytest.approx(expected)
    assert 0.3 < scores[:, 2].min() < scores[:, 2].max() < 0.9


@pytest.mark.parametrize("objectives", [DEFAULT_OBJECTIVES, ("conciseness",), ("faithfulness", "coverage")])
def test_objectives_are_chosen_and_ordered_by_name(objectives):
    env = make_env(task="summarize", view="text", objectives=objectives)
    assert env.objective_names == objectives
    env.reset(options={"problem": 0})
    top = {"coverage": 1.0, "faithfulness": 1.0}
    got = dict(zip(objectives, env.step(env.task[0].meta["gold"])[1].tolist(), strict=True))
    assert {name: got[name] for name in got if name in top} == {name: top[name] for name in got if name in top}


def test_the_document_itself_scores_nothing():
    for difficulty in TIERS:
        task = summarize_task(difficulty=difficulty, max_response_tokens=400)
        problems = [task[i] for i in range(50)]
        assert (task.score(problems, [problem.meta["document"] for problem in problems]) == 0.0).all()


def test_every_further_fact_costs_conciseness():
    task = summarize_task(difficulty="hard")
    for index in range(20):
        clauses = task[index].meta["gold"].split("; ")
        texts = ["; ".join(clauses[:k]) for k in range(len(clauses) + 1)]
        coverage, faithfulness, conciseness = task.score([task[index]] * len(texts), texts).T.tolist()
        assert coverage == sorted(set(coverage))
        assert conciseness == sorted(set(conciseness), reverse=True)
        assert faithfulness == [0.0] + [1.0] * len(clauses)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"objectives": ("coverage", "speed")}, ValueError, r"unknown \['speed'\]; known are \['coverage'"),
        ({"objectives": ("rouge1",)}, ValueError, r"unknown \['rouge1'\]"),
        ({"objectives": ("coverage", "coverage")}, ValueError, "names must be distinct"),
        ({"objectives": ()}, ValueError, "at least one reward"),
        ({"difficulty": "brutal"}, ValueError, r"difficulty must be one of \['easy', 'standard', 'hard'\]"),
        ({"data": "no/such.jsonl"}, DataError, "no/such.jsonl: there is no such file"),
        ({"data": "x", "objectives": ("speed",)}, ValueError, r"unknown \['speed'\]; known are .*'rougeL'\]"),
        ({"data": "x", "objectives": ("coverage", "coverage")}, ValueError, "names must be distinct"),
        ({"data_format": "scitldr"}, ValueError, "data_format='scitldr' needs data="),
        ({"tokenizer": "no/such"}, FileNotFoundError, "tokenizer='no/such'"),
        ({"max_response_tokens": 0}, ValueError, r"max_response_tokens.* must be at least 1, got 0"),
        ({"max_prompt_tokens": 0}, ValueError, "max_prompt_tokens must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(kwargs, error, message):
    with pytest.raises(error, match=message):
        summarize_task(**kwargs)


def test_the_seed_decides_the_problems():
    first, second, other = (summarize_task(seed=seed) for seed in (3, 3, 4))
    assert [first[i] for i in range(20)] == [second[i] for i in range(20)]
    assert [first[i] for i in range(20)] != [other[i] for i in range(20)]


def test_tokenizer_by_path_directory_or_object_and_pickling():
    for tokenizer in (str(BUILT_IN), BUILT_IN.parent, TextTokenizer()):
        task = summarize_task(tokenizer=tokenizer)
        assert pickle.loads(pickle.dumps(task))[5] == task[5] == summarize_task()[5]
        assert task.grammar is not None


def test_ids_make_every_view():
    env = gym.make("Summarize-MO-v0", view="text")
    assert env.unwrapped.objective_names == DEFAULT_OBJECTIVES
    assert gym.spec("mo-summarize-v0") is gym.spec("Summarize-MO-v0")
    envs = make_vector_env(4, task="summarize", group_size=2, difficulty="easy")
    prompts, _ = envs.reset(seed=0)
    _, scored, *_ = envs.step(["color red"] * 4)
    assert scored.shape == (4, 3)
    assert prompts[0] == prompts[1] != prompts[2]


def test_own_data(path):
    task = summarize_task(data=path, objectives=OBJECTIVES)
    assert (len(task), len(task.with_split("eval"))) == (8, 2)
    problem = task[0]
    assert problem.meta["document_tokens"] == task.tokenizer.count(ROWS[0]["document"])
    gold, copied, wrong = task.score([problem] * 3, [problem.meta["gold"], problem.meta["document"], "9 dogs bark."])
    assert gold[[0, 1, 3, 4, 5]].tolist() == [1.0] * 5
    assert copied[1] == 1.0
    assert copied[2] == 0.0
    assert copied[0] < 1.0
    assert wrong[[0, 1]].tolist() == [0.0, 0.0]
    assert pickle.loads(pickle.dumps(task))[1] == task[1]
    assert reference_rewards(task.tokenizer).names == DEFAULT_OBJECTIVES


def test_document_tokens_are_counted_when_asked_for(path):
    counted = []
    problems = summarize_task(data=path).problems["train"].problems
    lazy = MappedProblems(problems, WithDocumentTokens(lambda text: counted.append(text) or len(text)))
    assert len(lazy[2:5]) == 3
    assert counted == []
    assert lazy[1].meta["document_tokens"] == len(problems[1].meta["document"])
    assert "document_tokens" not in problems[1].meta


def test_objectives_without_rouge_need_no_package(path, monkeypatch):
    rewards._scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    assert len(summarize_task(data=path, objectives=("faithfulness", "conciseness"))) == 8
    with pytest.raises(ImportError, match=r"llm-morl-env\[text\]"):
        summarize_task(data=path)


def test_examples_go_from_good_to_bad(path):
    for task in (*(summarize_task(difficulty=name) for name in TIERS), summarize_task(data=path)):
        for index in range(8):
            good, mediocre, bad = scored_examples(task, task[index])
            assert good.text == task[index].meta["gold"]
            for name in ("coverage", "faithfulness"):
                assert good.rewards[name] == 1.0 > mediocre.rewards[name] > 0.0 == bad.rewards[name]
