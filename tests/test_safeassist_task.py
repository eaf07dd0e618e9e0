"""The help-and-harm task: tiers, degenerate policies, judges, examples, views."""

import pickle

import numpy as np
import pytest

from llm_morl_env import make_env, make_vector_env
from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.safe_requests import TIERS
from llm_morl_env.tasks.safeassist import OBJECTIVES, safeassist_task
from llm_morl_rewards import RewardError, reward

#: The table of `safeassist_task`'s documentation.
POLICIES = {
    "the gold answers": lambda p: p.meta["gold"],
    "the short answers": lambda p: p.meta["short"],
    "always refuse, with a reason": lambda p: "i can't help with that. it is not right.",
    "always refuse, barely": lambda p: "i can't help with that.",
    "always comply with both steps": lambda p: p.meta["full"],
    'both steps, then "i can\'t help with the rest."': lambda p: f"{p.meta['full']} i can't help with the rest.",
    "silence": lambda p: "",
    "echo of the request": lambda p: p.prompt.removeprefix("<user>").removesuffix("<answer>"),
}


@reward(low=-1.0, high=5.0, kind="batch")
def length_judge(problems, responses):
    return np.array([min(len(text), 5) for text in responses], dtype=float)


@reward(low=0.0, high=1.0, kind="group")
def group_judge(problems, responses, group):
    return np.zeros(len(responses))


def earned(policy, task):
    problems = list(task)
    return task.score(problems, [policy(problem) for problem in problems]).mean(axis=0)


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_golds_are_helpful_and_harmless(difficulty, split):
    task = safeassist_task(difficulty=difficulty, seed=1).with_split(split)
    problems = [task[i] for i in range(400)]
    cuts = [task.cut(problem.meta["gold"]) for problem in problems]
    assert {reason for _, reason in cuts} == {"stop"}
    assert max(task.tokenizer.count(problem.prompt) for problem in problems) <= task.max_prompt_tokens
    for problem, row in zip(problems, task.score(problems, [text for text, _ in cuts]).tolist(), strict=True):
        # No answer to a borderline request is best in both; the gold one is on the front.
        assert row[:2] == ([0.5, 1.0] if problem.meta["kind"] == "borderline" else [1.0, 1.0]), problem
        assert 0.5 < row[2] < 0.95


def test_what_simple_policies_earn_is_what_the_documentation_says():
    task = safeassist_task().with_split("eval")
    lines = [line.strip() for line in safeassist_task.__doc__.splitlines()]
    rewards = {}
    for name, policy in POLICIES.items():
        rewards[name] = earned(policy, task)
        assert f"| {name} | {', '.join(f'{value:.2f}' for value in rewards[name])} |" in lines
    for better, worse in (
        ("the gold answers", "always refuse, with a reason"),
        ("the short answers", "always refuse, barely"),
        ("the short answers", "silence"),
        ("the short answers", "echo of the request"),
        ("the gold answers", 'both steps, then "i can\'t help with the rest."'),
    ):
        assert (rewards[better] >= rewards[worse]).all(), (better, worse)
        assert rewards[better][0] > rewards[worse][0] + 0.25


def test_a_full_answer_to_a_borderline_request_trades_harm_for_help():
    task = safeassist_task(difficulty="hard", objectives=OBJECTIVES[:2])
    problems = [p for p in (task[i] for i in range(200)) if p.meta["kind"] == "borderline"]
    assert (task.score(problems, [p.meta["full"] for p in problems]) == [1.0, 0.5]).all()
    assert (task.score(problems, [p.meta["gold"] for p in problems]) == [0.5, 1.0]).all()


@pytest.mark.parametrize("difficulty", TIERS)
def test_examples_fall_in_order(difficulty):
    task = safeassist_task(difficulty=difficulty)
    for index in range(200):
        problem = task[index]
        answers = task.examples(problem)
        assert list(answers) == ["good", "mediocre", "bad"]
        good, mediocre, bad = task.score([problem] * 3, list(answers.values()))[:, :2].sum(axis=1)
        assert good > mediocre
        assert mediocre > bad


def test_a_judge_takes_the_place_of_an_objective():
    task = safeassist_task(judges={"helpfulness": length_judge})
    assert task.rewards.names == OBJECTIVES
    assert (task.rewards.low[0], task.rewards.high[0]) == (-1.0, 5.0)
    plain = safeassist_task()
    scored, own = (t.score([t[0]] * 2, ["yes", t[0].meta["gold"]]) for t in (task, plain))
    assert scored[:, 0].tolist() == [3.0, 5.0]
    assert (scored[:, 1:] == own[:, 1:]).all()
    assert (pickle.loads(pickle.dumps(task)).score([task[0]], ["yes"]) == scored[:1]).all()
    env = make_env(task="safeassist", view="text", judges={"harmlessness": length_judge})
    env.reset(options={"problem": 0})
    assert env.step("no")[1][1] == 2.0


def test_the_fault_of_a_judge_propagates():
    @reward(low=0.0, high=1.0)
    def broken(problem, response):
        raise KeyError("weights")

    task = safeassist_task(judges={"helpfulness": broken})
    with pytest.raises(RewardError, match="'helpfulness' failed"):
        task.score([task[0]], ["yes"])


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (
            {"difficulty": "brutal"},
            ValueError,
            r"difficulty must be one of \['easy', 'standard', 'hard'\], got 'brutal'",
        ),
        ({"data_format": "hh"}, ValueError, "data_format='hh' needs data=, got None"),
        ({"objectives": ("kindness",)}, ValueError, r"unknown \['kindness'\]"),
        ({"judges": {"kindness": length_judge}}, ValueError, r"unknown \['kindness'\]; known are"),
        ({"judges": {"brevity": len}}, TypeError, r"judges\['brevity'\].* is not a reward function"),
        ({"judges": {"brevity": group_judge}}, ValueError, "must be of kind 'pointwise' or 'batch', got 'group'"),
        ({"data": "no/such.jsonl"}, ValueError, "there is no such file"),
        ({"max_response_tokens": 0}, ValueError, "must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(kwargs, error, message):
    with pytest.raises(error, match=message):
        safeassist_task(**kwargs)


def test_the_seed_decides_the_problems():
    first, second, other = (safeassist_task(seed=seed) for seed in (3, 3, 4))
    assert [first[i] for i in range(20)] == [second[i] for i in range(20)]
    assert [first[i] for i in range(20)] != [other[i] for i in range(20)]


def test_views():
    env = make_env(task="safeassist", objectives=("harmlessness", "helpfulness"))
    tokenizer = env.task.tokenizer
    for index in range(10):
        env.reset(options={"problem": index})
        for token in [*tokenizer.encode(env.task[index].meta["gold"]), tokenizer.eos_id]:
            assert env.action_masks()[token]
            _, rewards, *_ = env.step(token)
        assert rewards.tolist() == [1.0, 1.0]
    envs = make_vector_env(4, task="safeassist", group_size=2)
    envs.reset(seed=0)
    assert envs.step(["no"] * 4)[1].shape == (4, 3)
