"""Rewards of dialogues in the world: values, every beginning of a dialogue, and any text of a model."""

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env.tasks.toolworld_problems import write_final, write_turn
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.toolworld import (
    MAX_CALLS_PER_TURN,
    read_turn,
    replay,
    told,
    world_economy,
    world_format,
    world_success,
)
from llm_morl_rewards.turns import SEPARATOR, join_turns
from llm_morl_rewards.world import TOOLS, World, to_json

REWARDS = RewardVector([world_success, world_economy, world_format])
START = World(
    events=(("lunch", "monday", 9), ("plan", "friday", 9)), goods=(("bread", 7, 5), ("milk", 3, 5)), cart=("bread",)
)
OFFERED = [{"name": name} for name in TOOLS if name != "pay"]


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


LOOK, OTHER_LOOK = call("get_price", item="milk"), call("get_price", item="bread")
MOVE, TAKE = call("move_event", title="lunch", day="friday"), call("add_to_cart", item="milk")
CANCEL = call("cancel_event", title="lunch")
FINAL = write_final("done")
#: Two conditions: the lunch is gone, and the milk in the cart, after a look.
GOAL = World(events=START.events[1:], goods=(("bread", 7, 5), ("milk", 3, 4)), cart=("bread", "milk"))
TASK = Problem("", {"world": to_json(START), "goal": to_json(GOAL), "answer": None, "cost": 3, "functions": OFFERED})
ASK = Problem("", {"world": to_json(START), "goal": to_json(START), "answer": "3", "cost": 1, "functions": OFFERED})


def turns(*groups):
    return [group if isinstance(group, str) else write_turn(group) for group in groups]


def score(problem, *groups):
    return [round(value, 4) for value in REWARDS([problem], [join_turns(turns(*groups))])[0].tolist()]


@pytest.mark.parametrize(
    ("groups", "scores"),
    [
        (([LOOK], [CANCEL], [TAKE], FINAL), [1.0, 1.0, 1.0]),
        (([LOOK],), [0.0, 1.0, 1.0]),
        (([LOOK], [CANCEL]), [0.5, 1.0, 1.0]),
        (([LOOK, CANCEL, TAKE],), [1.0, 1.0, 1.0]),  # one turn, and no end: what was done is done
        (([CANCEL, TAKE], FINAL), [1.0, 1.0, 1.0]),  # fewer calls are no dearer
        (([LOOK], [LOOK], [OTHER_LOOK], [CANCEL, TAKE], FINAL), [1.0, 0.6, 1.0]),
        (([CANCEL], [CANCEL], [TAKE], FINAL), [1.0, 0.75, 1.0]),  # the second fails: it counts twice
        (([call("pay")], [CANCEL, TAKE], FINAL), [1.0, 0.75, 1.0]),  # not on offer
        (([MOVE], FINAL), [0.0, 0.0, 1.0]),  # fails, since 9 is taken
        (([call("move_event", title="lunch", day="sunday"), TAKE], FINAL), [0.5, 1.0, 1.0]),
        (([CANCEL, TAKE, TAKE], FINAL), [0.5, 1.0, 1.0]),  # harm: one milk too many
        (([CANCEL, TAKE, call("cancel_event", title="plan")], FINAL), [0.5, 1.0, 1.0]),
        (([call("cancel_event", title="plan"), call("remove_item", item="bread")], FINAL), [0.0, 1.0, 1.0]),
        (("hm", [CANCEL, TAKE], FINAL), [1.0, 1.0, 0.6667]),  # a malformed turn is an error: 2 + 1
        (("hm", "hm", [CANCEL, TAKE], FINAL), [1.0, 0.75, 0.5]),
        ((FINAL, [CANCEL, TAKE]), [0.0, 0.0, 1.0]),  # nothing is read after the end
        ((FINAL,), [0.0, 0.0, 1.0]),
        (("",), [0.0, 0.0, 0.0]),
        (([LOOK] * 5,), [0.0, 0.5, 1.0]),  # the fifth is not made, and an error
    ],
)
def test_values(groups, scores):
    assert score(TASK, *groups) == scores


@pytest.mark.parametrize(
    ("text", "success"),
    [
        ("3", 1.0), ("milk costs 3 dollars", 1.0), ("3, yes 3", 1.0), ("03", 0.0), ("2 or 3", 0.0), ("33", 0.0),
        ("", 0.0), ("rain, sun and lunch", 0.0),
    ],
)  # fmt: skip
def test_answers(text, success):
    assert score(ASK, [LOOK], write_final(text)) == [success, 1.0, 1.0]
    assert score(ASK, write_final(text)) == [success, 0.0, 1.0]


def test_an_answer_with_harm_and_an_answer_before_the_end_earn_nothing():
    assert score(ASK, [LOOK], [TAKE], write_final("3"))[0] == 0.0
    assert score(ASK, [LOOK], "<think>3</think>")[0] == 0.0
    assert told("It may Rain or snow at lunch", "sun", START) == {"rain", "snow"}
    assert told("It may Rain or snow at lunch", "plan", START) == {"lunch"}


@pytest.mark.parametrize(
    ("response", "kind", "well_formed"),
    [
        (write_turn([LOOK]), "calls", True),
        (write_turn([LOOK]) + "\n", "calls", True),
        (write_turn([LOOK]) + "<response>x</response>", "calls", False),
        (write_turn([LOOK]).split("</think>\n")[1], "calls", False),
        (write_turn([LOOK]).replace("</think>", ""), "malformed", False),
        (write_turn([LOOK]).replace("{", "[", 1), "malformed", False),
        (write_turn([LOOK]).replace("</tool_call>", ""), "malformed", False),
        ("<tool_call>x</tool_call><response>x</response>", "malformed", False),
        (FINAL, "final", True),
        ("<response>x</response>", "final", False),
        ("<think><response>x</response></think>", "malformed", False),
        ("</response><response>", "malformed", False),
        ("<response>x", "malformed", False),
    ],
)
def test_what_a_turn_is(response, kind, well_formed):
    turn = read_turn(response)
    assert (turn.kind, turn.well_formed, bool(turn.calls)) == (kind, well_formed, kind == "calls")


def test_results_of_a_turn():
    outcome = replay(TASK.target, turns([LOOK, CANCEL, call("pay"), call("help")]))
    assert outcome.results == ("milk price 3", "ok", "error: no tool", "error: no tool")
    assert (outcome.calls, outcome.errors, outcome.cost, outcome.final) == (4, 2, 6, None)
    outcome = replay(TASK.target, turns([LOOK] * 90))
    assert outcome.results == ("milk price 3",) * MAX_CALLS_PER_TURN + ("error: no more calls",)
    assert (outcome.calls, outcome.errors) == (90, 90 - MAX_CALLS_PER_TURN)
    assert replay(TASK.target, ["x"]).results == ("error: no call",)
    assert replay(TASK.target, [FINAL, "x"]).final == "done"


def test_bad_targets_are_errors():
    for bad in (None, {}, {"world": to_json(START)}):
        with pytest.raises(ValueError, match="a target must be a mapping with"):
            world_format(Problem("", bad), "x")
    with pytest.raises(ValueError, match="a goal that is not the start, or an answer"):
        world_success(Problem("", {**TASK.target, "goal": TASK.target["world"]}), "x")


BOMBS = [
    '{"name": "get_price", "parameters": {"item": ' + "[" * 5000 + "]" * 5000 + "}}",
    '{"name": "get_price", "parameters": {"item": NaN}}',
    '{"name": "add_event", "parameters": {"title": "party", "day": "monday", "hour": 1e999}}',
    '{"name": "add_event", "parameters": {"title": "party", "day": "monday", "hour": ' + "9" * 5000 + "}}",
    '{"name": "add_event", "parameters": {"title": "party", "day": "monday", "hour": ' + "9" * 400 + "}}",
    '{"name": ["get_price"], "parameters": {}}',
    '{"name": "get_price", "parameters": [1]}',
    '{"name": "get_price", "parameters": {"item": {"item": null}}}',
    '{"name": "' + "x" * 10000 + '", "parameters": {}}',
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_errors_of_the_model_alone(bomb):
    response = f"<think>x</think>\n<tool_call>\n{bomb}\n</tool_call>"
    assert score(TASK, response)[:2] == [0.0, 0.0]
    assert max(map(len, replay(TASK.target, [response]).results)) < 30


PIECES = st.sampled_from(
    ["<think>", "</think>", "\n", "<tool_call>", "</tool_call>", "<response>", "</response>", SEPARATOR, "3",
     *BOMBS[1:4],
     *(json.dumps({"name": c["name"], "parameters": c["arguments"]}) for c in (LOOK, CANCEL, TAKE)),
     *turns([LOOK], [CANCEL], [TAKE], FINAL)]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=12), max_size=16))
@settings(max_examples=200, deadline=None)
def test_any_text_is_scored_within_bounds_and_again_alike(pieces):
    dialogue, target = "".join(pieces), copy.deepcopy(TASK.target)
    for problem in (TASK, ASK):
        scores = REWARDS([problem], [dialogue])[0]
        assert (scores == REWARDS([problem], [dialogue])[0]).all()
        assert (scores == pickle.loads(pickle.dumps(REWARDS))([problem], [dialogue])[0]).all()
        # A further turn that is neither a call nor an end wins nothing, and undoes nothing.
        after = REWARDS([problem], [dialogue + SEPARATOR + "hm"])[0]
        assert after[0] == scores[0]
        assert (after <= scores).all()
    assert target == TASK.target


GROUPS = st.lists(st.sampled_from([LOOK, CANCEL, TAKE, MOVE, call("pay"), "hm", FINAL]), min_size=1, max_size=8)


@given(GROUPS)
@settings(max_examples=100, deadline=None)
def test_a_dialogue_is_what_its_turns_are_one_after_the_other(steps):
    responses = turns(*([step] if isinstance(step, dict) else step for step in steps))
    world, ended = START, False
    for number in range(1, len(responses) + 1):
        outcome = replay(TASK.target, responses[:number])
        assert outcome.turns == number or ended
        if ended:
            assert outcome.world == world
        elif outcome.final is None:
            step = replay({**TASK.target, "world": to_json(world)}, responses[number - 1 : number])
            assert (step.world, step.results) == (outcome.world, outcome.results)
        ended, world = outcome.final is not None, outcome.world
        assert 0 <= outcome.malformed <= outcome.errors <= outcome.calls + outcome.malformed
