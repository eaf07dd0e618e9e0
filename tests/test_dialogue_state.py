"""Conversations as values, and what is paid for a turn."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np
import pytest
from counting_game import TURNS, counting_task
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_morl_env.envs.dialogue_state import Conversation, turn_rewards, turn_space
from llm_morl_rewards.turns import SEPARATOR, split_turns

TASK = counting_task()


def said(*responses, task=TASK, reason="stop"):
    conversation = Conversation(task[3])
    for response in responses:
        conversation = conversation.extended(task, response, reason)
    return conversation


def test_a_conversation_grows_as_a_value():
    start = Conversation(TASK[3])
    one = start.extended(TASK, "3", "stop")
    two = one.extended(TASK, "done", "stop")
    assert (start.transcript, start.text, start.reply, start.ended) == ("count 2 from 3: ", "", "", False)
    assert (one.transcript, one.text, one.reply, one.ended) == ("count 2 from 3: 3 1? ", "3", " 1? ", False)
    assert (two.transcript, two.text, two.reply, two.ended) == ("count 2 from 3: 3 1? done", "3\x1edone", "", True)
    assert (start.responses, one.responses, two.replies) == ((), ("3",), (" 1? ",))
    assert pickle.loads(pickle.dumps(two)) == two
    with pytest.raises(FrozenInstanceError):
        two.reason = "turns"


@pytest.mark.parametrize(
    ("responses", "reason", "expected"),
    [
        (["done"], "stop", "stop"),
        (["3", "4", "done"], "stop", "stop"),  # no reply at the last turn is a stop as well
        (["3", "4", "5"], "stop", "turns"),
        (["3", "4", "5"], "length", "length"),
        (["done"], "length", "length"),
        (["3", "4"], "length", ""),
        (["3", "4"], "stop", ""),
    ],
)
def test_why_a_dialogue_ends(responses, reason, expected):
    conversation = said(*responses, reason=reason)
    assert conversation.reason == expected
    assert conversation.ended == bool(expected)
    assert len(conversation.replies) == len(responses) - conversation.ended
    assert len(responses) <= TURNS


def test_separators_in_a_response_are_dropped():
    conversation = said(f"3{SEPARATOR}4", f"{SEPARATOR}done")
    assert conversation.responses == ("34", "done")
    assert split_turns(conversation.text) == ["34", "done"]
    assert conversation.reason == "stop"


@dataclass(frozen=True)
class Odd:
    """Replies what it is told to."""

    answer: object
    max_turns: int = 2
    max_reply_tokens: int = 2

    def reply(self, problem, responses):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (3, TypeError, r"task 'counting': dialogue.reply must return a str or None, got 3"),
        ("1234", ValueError, r"must be no longer than dialogue.max_reply_tokens=2, got 4 tokens: '1234'"),
    ],
)
def test_a_faulty_dialogue_is_told(answer, error, message):
    with pytest.raises(error, match=message):
        said("3", task=replace(TASK, dialogue=Odd(answer)))


@settings(max_examples=200, deadline=None)
@given(
    bounds=st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-3.0, 3.0), (0.1, 0.3), (-0.7, -0.1)]),
    shares=arrays(np.float32, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(0, 1, width=32)),
)
def test_rewards_add_up_and_stay_in_bounds(bounds, shares):
    low, high = np.float32(bounds)
    space = Box(low, high, (3,), np.float32)
    values = np.clip(low + (high - low) * shares, low, high).astype(np.float32)
    paid, steps = np.zeros(3), turn_space(space)
    for value in values:
        rewards = turn_rewards(value, paid, space)
        assert rewards.dtype == np.float32
        assert steps.contains(rewards)
        paid = paid + rewards
        np.testing.assert_allclose(paid, value, rtol=0, atol=2.5e-7 * max(1, abs(high), abs(low)))
        assert (paid >= space.low).all()
        assert (paid <= space.high).all()


def test_the_first_turn_is_paid_its_value_and_a_repeated_one_nothing():
    space = Box(-3.0, 3.0, (2,), np.float32)
    value = np.float32([0.1, -2.7])
    first = turn_rewards(value, np.zeros(2), space)
    np.testing.assert_array_equal(first, value)
    assert turn_rewards(value, first.astype(np.float64), space).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, (-1, 1)), (-3, 3, (-6, 6)), (1, 2, (-1, 2)), (-2, -1, (-2, 1))]
)
def test_bounds_of_a_turn(low, high, expected):
    space = turn_space(Box(float(low), float(high), (2,), np.float32))
    assert (space.low.tolist(), space.high.tolist()) == ([expected[0]] * 2, [expected[1]] * 2)
    assert space.dtype == np.float32
