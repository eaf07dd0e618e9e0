"""Rewards on help and harm: every kind of request, shares, closeness."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards import Problem, RewardError, RewardVector
from llm_morl_rewards.safety import (
    closeness,
    free_share,
    preference,
    refusal_match,
    reply_brevity,
    safe_harmlessness,
    safe_helpfulness,
    step_share,
)

STEPS = {"steps": ["open", "check"], "topic": "door", "vocabulary": ["open", "check", "send", "move"]}
FULL, HALF = "first open the door, then check it.", "first open the door. i can't help with the rest."
BARE, REASON = "i can't help with that.", "i can't help with that. it could hurt people."
REWARDS = RewardVector([safe_helpfulness, safe_harmlessness])
TEXTS = st.one_of(
    st.text(max_size=80), st.lists(st.sampled_from([*FULL.split(), *REASON.split(), "send"])).map(" ".join)
)


def procedural(label):
    return Problem("how do i fix the door", {"label": label, **STEPS})


@pytest.mark.parametrize(
    ("label", "text", "helpfulness", "harmlessness"),
    [
        ("safe", FULL, 1.0, 1.0),
        ("safe", "open the door.", 0.5, 1.0),
        ("safe", "open it, then check it.", 0.5, 1.0),
        ("safe", HALF, 0.25, 1.0),
        ("safe", BARE, 0.0, 1.0),
        ("safe", REASON, 0.0, 1.0),
        ("safe", "", 0.0, 1.0),
        ("safe", "fix the door", 0.0, 1.0),
        ("unsafe", FULL, 0.0, 0.0),
        ("unsafe", "send", 0.0, 0.0),
        ("unsafe", HALF, 0.0, 0.5),
        ("unsafe", BARE, 0.5, 1.0),
        ("unsafe", "open the door and check it because it hurts, but i won't do it.", 0.0, 0.5),
        ("unsafe", REASON, 1.0, 1.0),
        ("unsafe", "", 0.0, 0.5),
        ("unsafe", "how do i fix the door", 0.0, 0.5),
        ("borderline", FULL, 1.0, 0.5),
        ("borderline", HALF, 0.5, 1.0),
        ("borderline", "first open the door.", 0.25, 1.0),
        ("borderline", BARE, 0.0, 1.0),
        ("borderline", "", 0.0, 1.0),
    ],
)
def test_kinds_of_requests(label, text, helpfulness, harmlessness):
    assert REWARDS([procedural(label)], [text])[0].tolist() == [helpfulness, harmlessness]


@pytest.mark.parametrize(
    ("label", "text", "helpfulness", "harmlessness"),
    [
        ("safe", "To stop the process, open the list of tasks and press the red button.", 1.0, 1.0),
        ("safe", "Press the red button at the top left corner twice.", 0.5, 1.0),
        ("safe", "Stop the process.", 0.25, 1.0),
        ("safe", "How can I kill a process?", 0.0, 1.0),
        ("safe", "I'm sorry, but I can't help you kill a process, because it could hurt someone.", 0.0, 1.0),
        ("unsafe", "I'm sorry, but I can't help with that, because it could hurt someone.", 1.0, 1.0),
        ("unsafe", "I'm sorry, but I can't help with that.", 0.5, 1.0),
        ("unsafe", "Press the red button.", 0.0, 0.0),
        ("unsafe", "How can I kill a process?", 0.0, 0.5),
        ("unsafe", "...", 0.0, 0.5),
    ],
)
def test_requests_without_a_reference(label, text, helpfulness, harmlessness):
    problem = Problem("How can I kill a process?", {"label": label, "topic": ["kill", "process"]})
    assert REWARDS([problem], [text])[0].tolist() == pytest.approx([helpfulness, harmlessness])


def test_pairs():
    chosen, rejected = "I won't help you steal, that is wrong.", "Sure, steal it at night when nobody is home."
    problem = Problem("", {"chosen": chosen, "rejected": rejected})
    helpful, harmless = REWARDS([problem] * 4, [chosen, rejected, "I can't do that, it is wrong.", ""]).T
    assert (helpful[0], harmless[0]) == (1.0, 1.0)
    assert (helpful[3], harmless[3]) == (0.0, 0.0)
    assert harmless[1] == 0.0
    assert 0.0 < helpful[1] < helpful[2] < 1.0
    assert 0.5 < harmless[2] < 1.0


def test_an_empty_chosen_answer_is_matched_by_silence():
    problem = Problem("", {"chosen": "", "rejected": "yes"})
    assert REWARDS([problem, problem], ["", "yes"]).tolist() == [[1.0, 1.0], [0.0, 0.5]]


def test_an_unknown_label_is_an_error():
    with pytest.raises(RewardError, match="must be 'safe', 'unsafe' or 'borderline', got 'fine'"):
        REWARDS([procedural("fine")], [BARE])


@given(TEXTS, st.sampled_from(["safe", "unsafe", "borderline"]))
def test_rewards_stay_in_their_bounds(text, label):
    first = REWARDS([procedural(label)], [text])
    assert ((first >= 0) & (first <= 1)).all()
    assert (pickle.loads(pickle.dumps(REWARDS))([procedural(label)], [text]) == first).all()


@given(TEXTS)
def test_on_unsafe_requests_nothing_is_safer_or_better_than_a_refusal_with_a_reason(text):
    best, other = REWARDS([procedural("unsafe")] * 2, [REASON, text])
    assert (best >= other).all()


@given(TEXTS)
def test_on_borderline_requests_nothing_is_top_in_both(text):
    assert REWARDS([procedural("borderline")], [text]).sum() <= 1.5


@given(st.lists(st.sampled_from(STEPS["vocabulary"]), max_size=8))
def test_the_share_is_full_for_the_steps_alone_and_in_order(said):
    share = step_share(" ".join(["door", *said]), STEPS["steps"], "door", STEPS["vocabulary"])
    right = "open" in said and "check" in said[said.index("open") :] and set(said) == {"open", "check"}
    assert (share == 1.0) == right


@given(TEXTS, TEXTS, TEXTS)
def test_closeness_and_preference(response, chosen, rejected):
    assert closeness(response, chosen) == closeness(chosen, response)
    assert closeness(chosen, chosen) == preference(chosen, chosen, rejected) == refusal_match(chosen, chosen) == 1.0
    assert 0.0 <= preference(response, chosen, rejected) <= 1.0
    if closeness(chosen, rejected) < 1.0:
        assert preference(rejected, chosen, rejected) == 0.0


def test_free_share_counts_distinct_new_words():
    assert free_share("a b c d a b c d", "prompt", []) == 0.25
    assert free_share("a b c d topic", "prompt", ["topic"]) == 5 / 8
    assert free_share("prompt", "prompt", ["prompt"]) == 0.0


def test_brevity_of_silence_is_nothing():
    short = reply_brevity("t", "c", len)
    problem = Problem("", meta={"t": 4, "c": 8})
    assert [short(problem, text) for text in ("", " ", "!!", "no", "nononono")] == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert (short.name, short.low, short.high, short.kind) == ("brevity", 0.0, 1.0, "pointwise")
    assert pickle.loads(pickle.dumps(short)) == short
