"""The world and its tools: what each does, purity, and that no call of a model is a fault."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_rewards.extract import ToolCall
from llm_morl_rewards.world import (
    MAX_EVENTS_PER_DAY,
    TOOLS,
    World,
    difference,
    execute,
    facts,
    from_json,
    is_error,
    to_json,
)

WORLD = World(
    events=(("lunch", "monday", 12), ("call", "monday", 9), ("plan", "friday", 12)),
    goods=(("milk", 3, 2), ("bread", 7, 0)),
    weather=(("paris", "monday", "rain"),),
    cart=("milk",),
)
WORDS = st.sampled_from(["lunch", "call", "plan", "monday", "friday", "milk", "bread", "paris", "rome", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def calls(draw):
    """A call that may well work: known names, right keys, values that are mostly right."""
    name = draw(st.sampled_from(list(TOOLS)))
    kinds = dict(TOOLS[name].arguments)
    values = {key: draw(WORDS if kind == "string" else st.integers(-1, 24)) for key, kind in kinds.items()}
    return ToolCall(name, values)


ANY_CALL = calls() | st.builds(
    ToolCall,
    st.sampled_from(list(TOOLS)) | st.text(),
    st.dictionaries(st.sampled_from(["item", "day", "title", "hour", "city", "x"]), JSON, max_size=3),
)


def act(world, name, **arguments):
    return execute(world, ToolCall(name, arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("list_events", {"day": "monday"}, "call at 9, lunch at 12"),
        ("list_events", {"day": "sunday"}, "no events"),
        ("get_weather", {"city": "paris", "day": "monday"}, "rain"),
        ("get_weather", {"city": "paris", "day": "friday"}, "error: no weather"),
        ("get_price", {"item": "milk"}, "milk price 3"),
        ("get_price", {"item": "gold"}, "error: no item"),
        ("get_stock", {"item": "bread"}, "bread count 0"),
        ("get_stock", {"item": "gold"}, "error: no item"),
        ("add_to_cart", {"item": "bread"}, "error: no bread left"),
        ("add_to_cart", {"item": "gold"}, "error: no item"),
        ("remove_item", {"item": "bread"}, "error: no item"),
        ("add_event", {"title": "lunch", "day": "sunday", "hour": 9}, "error: lunch is there"),
        ("add_event", {"title": "party", "day": "monday", "hour": 9}, "error: 9 is taken"),
        ("add_event", {"title": "party", "day": "monday", "hour": 24}, "error: arguments"),
        ("add_event", {"title": "a<user>", "day": "monday", "hour": 1}, "error: arguments"),
        ("add_event", {"title": "x" * 13, "day": "monday", "hour": 1}, "error: arguments"),
        ("add_event", {"title": "party", "day": "monday", "hour": True}, "error: arguments"),
        ("add_event", {"title": "party", "day": "monday", "hour": 9.0}, "error: arguments"),
        ("add_event", {"title": "party", "day": "monday"}, "error: arguments"),
        ("move_event", {"title": "party", "day": "monday"}, "error: no event"),
        ("move_event", {"title": "lunch", "day": "friday"}, "error: 12 is taken"),
        ("move_event", {"title": "lunch", "day": "NO"}, "error: arguments"),
        ("cancel_event", {"title": "party"}, "error: no event"),
        ("pay", {"item": "milk"}, "error: arguments"),
        ("fly", {}, "error: no tool"),
    ],
)
def test_looking_and_failing_leave_the_world_as_it_is(name, arguments, result):
    assert act(WORLD, name, **arguments) == (WORLD, result)
    assert is_error(result) == result.startswith("error")


def test_actions_change_what_they_name():
    after, result = act(WORLD, "move_event", title="lunch", day="sunday")
    assert (result, ("lunch", "sunday", 12) in after.events, len(after.events)) == ("ok", True, 3)
    assert act(after, "cancel_event", title="lunch")[0].events == (("call", "monday", 9), ("plan", "friday", 12))
    after, result = act(WORLD, "add_event", title="party", day="monday", hour=13)
    assert result == "ok"
    assert difference(WORLD, after) == 1
    full = act(after, "add_event", title="talk", day="monday", hour=14)[0]
    assert len([day for _, day, _ in full.events if day == "monday"]) == MAX_EVENTS_PER_DAY
    assert act(full, "add_event", title="review", day="monday", hour=15) == (full, "error: no room")


def test_the_store_keeps_count():
    two, result = act(WORLD, "add_to_cart", item="milk")
    assert (two.cart, {item: stock for item, _, stock in two.goods}["milk"], result) == (("milk", "milk"), 1, "ok")
    assert act(two, "remove_item", item="milk") == (WORLD, "ok")
    paid, result = act(two, "pay")
    assert (paid.cart, paid.paid, result) == ((), ("milk", "milk"), "ok")
    assert act(paid, "pay") == (paid, "error: no item")
    assert facts(paid)["taken", "milk"] == facts(two)["taken", "milk"] == 2
    assert difference(two, paid) == 1


def test_bad_worlds_are_errors():
    with pytest.raises(ValueError, match=r"World\(events=\): entries must differ"):
        World(events=(("lunch", "monday", 9), ("lunch", "friday", 9)))
    for bad in ({}, {**to_json(WORLD), "goods": [["milk"]]}, {**to_json(WORLD), "events": [["a", "b", "nine"]]}, None):
        with pytest.raises(ValueError, match=r"from_json\(value=\) must be a world"):
            from_json(bad)


@given(st.lists(ANY_CALL, max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_calls_are_answered_briefly_and_nothing_is_written_into(sequence):
    world, before = WORLD, pickle.dumps(WORLD)
    for call in sequence:
        arguments = repr(call.arguments)
        after, result = execute(world, call)
        assert execute(world, call) == (after, result)
        assert repr(call.arguments) == arguments
        assert len(result) <= 2 + MAX_EVENTS_PER_DAY * 18
        assert result.isprintable()
        assert "<" not in result
        if is_error(result) or TOOLS[call.name].reads:
            assert after == world
        else:
            assert after != world or call.name == "move_event"
        assert from_json(json.loads(json.dumps(to_json(after)))) == after == pickle.loads(pickle.dumps(after))
        assert hash(after) == hash(from_json(to_json(after)))
        world = after
    assert pickle.dumps(WORLD) == before


@given(st.lists(calls(), max_size=8), st.lists(calls(), max_size=8))
@settings(max_examples=100, deadline=None)
def test_worlds_of_one_start_are_equal_exactly_if_their_facts_are(first, second):
    ends = []
    for sequence in (first, second):
        world = WORLD
        for call in sequence:
            world = execute(world, call)[0]
        ends.append(world)
    assert (ends[0] == ends[1]) == (difference(*ends) == 0)
    assert difference(*ends) == difference(*reversed(ends)) <= difference(ends[0], WORLD) + difference(WORLD, ends[1])
