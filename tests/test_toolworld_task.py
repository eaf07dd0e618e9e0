"""The multi-turn tool task: caps, gold dialogues, the conflict, replies, masks, examples."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env import make_env
from llm_morl_env.tasks.toolworld import (
    MAX_TURNS,
    OBJECTIVES,
    toolcall_multiturn_task,
)
from llm_morl_env.tasks.toolworld_problems import TIERS, gold_turns, write_final, write_turn
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.toolworld import replay
from llm_morl_rewards.turns import join_turns, split_turns
from llm_morl_rewards.world import TOOLS

STANDARD = toolcall_multiturn_task(objectives=OBJECTIVES)


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", ["train", "eval", "unseen"])
def test_every_tier_fits_its_caps_and_its_golds_are_top(difficulty, split):
    task = toolcall_multiturn_task(difficulty=difficulty, objectives=OBJECTIVES, seed=1).with_split(split)
    problems, count = [task[i] for i in range(250)], task.tokenizer.count
    assert max(count(problem.prompt) for problem in problems) <= task.max_prompt_tokens
    dialogues = [split_turns(problem.meta["gold"]) for problem in problems]
    assert max(count(turn) for turns in dialogues for turn in turns) <= 45
    assert max(map(len, dialogues)) <= MAX_TURNS
    for problem, turns in zip(problems, dialogues, strict=True):
        assert [task.cut(turn) for turn in turns] == [(turn, "stop") for turn in turns]
        replies = [task.dialogue.reply(problem, turns[:n]) for n in range(1, len(turns) + 1)]
        assert replies[-1] is None
        assert all(count(reply) <= 30 for reply in replies[:-1])
    assert (task.score(problems, [problem.meta["gold"] for problem in problems]) == 1.0).all()


def test_doing_nothing_earns_neither_success_nor_economy():
    problems = [STANDARD[i] for i in range(60)]
    for dialogue in ("", "hm", write_final("here it is"), join_turns(["hm"] * 5)):
        assert (STANDARD.score(problems, [dialogue] * 60)[:, :2] == 0.0).all()


def looked(problem, kind):
    """The gold dialogue of one who always looks: as for a wrong guess."""
    items = [good[0] for good in problem.target["world"]["goods"]]
    said = problem.prompt.split("<user>")[1]
    named = sorted((item for item in items if item in said), key=said.index)
    if kind == "weather_if":
        city, day = next((c, d) for c, d, _ in problem.target["world"]["weather"] if c in said and f"on {d}" in said)
        looks = [{"name": "get_weather", "arguments": {"city": city, "day": day}}]
    elif kind == "cheaper":
        looks = [{"name": "get_price", "arguments": {"item": item}} for item in named]
    else:
        looks = [{"name": f"get_{kind.split('_')[0]}", "arguments": {"item": named[0]}}]
    acts = [call for call in problem.target["calls"] if not TOOLS[call["name"]].reads]
    return join_turns(gold_turns([*looks, *acts], None))


def test_the_front_of_hinted_requests_is_as_documented():
    task = toolcall_multiturn_task(objectives=("success", "economy"), seed=5).with_split("eval")
    hinted = [problem for problem in task if problem.meta["hint"] != "none"]
    always = task.score(hinted, [looked(problem, problem.meta["kind"]) for problem in hinted])
    assert (always[:, 0] == 1.0).all()
    assert always.mean(0) == pytest.approx([1.0, 0.59], abs=0.01)
    trust = []
    for problem in hinted:
        if problem.meta["hint"] == "right":
            trust.append(task.score([problem], [problem.meta["gold"]])[0])
            continue
        (act,) = [call for call in problem.target["calls"] if not TOOLS[call["name"]].reads]
        trust.append(task.score([problem], [join_turns(gold_turns([misled(act, problem)], None))])[0])
    assert np.mean(trust, axis=0) == pytest.approx([0.75, 1.0], abs=0.01)


def misled(act, problem):
    """The other action that the request names."""
    said = problem.prompt.split("<user>")[1]
    if act["name"] == "add_to_cart":
        items = [good[0] for good in problem.target["world"]["goods"] if good[0] in said]
        return {**act, "arguments": {"item": next(item for item in items if item != act["arguments"]["item"])}}
    title = act["arguments"]["title"]
    if act["name"] == "move_event":
        return {"name": "cancel_event", "arguments": {"title": title}}
    day = said.split("move it to ")[1].split(".")[0]
    return {"name": "move_event", "arguments": {"title": title, "day": day}}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"objectives": ("success", "speed")}, r"unknown \['speed'\]; known are \['success', 'economy'"),
        ({"difficulty": "brutal"}, r"difficulty must be one of \['easy', 'standard', 'hard'\]"),
        ({"data": "file.jsonl"}, "has no data formats, got data='file.jsonl'"),
        ({"data_format": "x"}, "has no data formats, got data=None, data_format='x'"),
        ({"max_turns": 0}, "max_turns must be at least 1, got 0"),
        ({"max_response_tokens": 0}, r"max_response_tokens=?\)? must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        toolcall_multiturn_task(**kwargs)


@given(st.lists(st.text(max_size=40) | st.sampled_from(["call", "final", "many", "list"]), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_replies_are_short_pure_and_end_with_the_final_response(pieces):
    problem: Problem = STANDARD[3]
    day = {"name": "list_events", "arguments": {"day": "monday"}}
    event = {"name": "add_event", "arguments": {"title": "x" * 12, "day": "monday", "hour": 3}}
    known = {
        "call": write_turn([problem.target["calls"][0]]),
        "final": write_final("done"),
        "many": write_turn([event] * 9),
        "list": write_turn([day] * 4),
    }
    responses = [known.get(piece, piece) for piece in pieces]
    offered = {**problem.target, "functions": [{"name": name} for name in TOOLS]}
    for asked in (problem, Problem("", offered)):
        reply = STANDARD.dialogue.reply(asked, responses)
        assert reply == STANDARD.dialogue.reply(asked, tuple(responses))
        assert (reply is None) == (replay(asked.target, responses).final is not None)
        if reply is not None:
            assert STANDARD.tokenizer.count(reply) <= STANDARD.dialogue.max_reply_tokens
            assert (reply[:6], reply[-8:]) == ("<user>", "<answer>")


def test_the_masks_let_golds_be_written_turn_by_turn():
    for difficulty in TIERS:
        task = toolcall_multiturn_task(difficulty=difficulty).with_split("eval")
        for index in range(25):
            problem = task[index]
            for turn in split_turns(problem.meta["gold"]):
                ids = [*task.tokenizer.encode(turn), task.tokenizer.eos_id]
                assert all(task.grammar.allowed(problem, ids[:k])[token] for k, token in enumerate(ids)), turn


def test_random_turns_of_the_masks_are_well_formed():
    task, rng = toolcall_multiturn_task(objectives=("format",), difficulty="hard"), np.random.default_rng(0)
    for index in range(12):
        problem, ids = task[index], []
        while True:
            token = int(rng.choice(np.flatnonzero(task.grammar.allowed(problem, ids))))
            if token == task.tokenizer.eos_id:
                break
            ids.append(token)
        assert len(ids) < task.max_response_tokens
        assert task.score([problem], [task.tokenizer.decode(ids)]) == 1.0


@pytest.mark.parametrize("difficulty", TIERS)
def test_examples_are_ordered(difficulty):
    task = toolcall_multiturn_task(difficulty=difficulty)
    for index in range(60):
        problem = task[index]
        examples = task.examples(problem)
        assert list(examples) == ["good", "mediocre", "bad"]
        good, mediocre, bad = task.score([problem] * 3, list(examples.values()))
        assert (good == 1.0).all()
        assert mediocre[0] == 1.0
        assert (mediocre[1:] < 1.0).all()
        assert (mediocre > 0.0).all()
        assert (bad == 0.0).all()
        assert examples == task.examples(problem)


def test_pickling_tokenizers_and_transforms():
    again = pickle.loads(pickle.dumps(STANDARD))
    assert again[5] == STANDARD[5] == toolcall_multiturn_task(tokenizer=TextTokenizer())[5]
    assert again.dialogue == STANDARD.dialogue
    assert toolcall_multiturn_task(max_turns=3).dialogue.max_turns == 3
    short = toolcall_multiturn_task(max_prompt_tokens=7, max_response_tokens=9)
    assert (short.max_prompt_tokens, short.max_response_tokens) == (7, 9)
    assert toolcall_multiturn_task(transforms=[lambda task: task.with_split("eval")]).split == "eval"


def test_the_environment_pays_gold_dialogues_turn_by_turn():
    env = make_env(task="toolcall-multiturn", view="text")
    for index in range(6):
        env.reset(options={"problem": index})
        turns = split_turns(env.task[index].meta["gold"])
        steps = [env.step(turn) for turn in turns]
        assert [terminated for _, _, terminated, *_ in steps] == [False] * (len(turns) - 1) + [True]
        assert sum(rewards for _, rewards, *_ in steps) == pytest.approx([1.0, 1.0, 1.0])
