"""The environment's tool-call rewards on problems, and `format_gold`."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards import Problem, RewardError, RewardVector, toolcall
from llm_morl_rewards.toolcall import (
    bfcl_gold_calls,
    bfcl_valid,
    format_gold,
    score_tool_calls,
    tool_correctness,
    tool_format,
    tool_keys,
    tool_name,
    tool_values,
    toolrl_correctness,
)

REWARDS = RewardVector([tool_format, tool_correctness, tool_name, tool_keys, tool_values])
PERFECT, FLOOR = [1.0, 3.0, 1.0, 1.0, 1.0], [0.0, -3.0, 0.0, 0.0, 0.0]


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def problem(calls, accepted=None, functions=()):
    gold = format_gold(calls, thought="t", response=None if calls else "no")
    return Problem("", {"calls": calls, "accepted": accepted, "functions": list(functions)}, {"gold": gold})


def accepted_problem(*truth, functions=()):
    return problem(bfcl_gold_calls(truth), list(truth), functions)


def answer(*calls):
    return format_gold(calls, thought="x") if calls else format_gold([], response="y")


def score(of, response):
    return REWARDS([of], [response])[0].tolist()


def test_every_public_name_is_here():
    assert all(hasattr(toolcall, name) for name in toolcall.__all__)


def test_rewards_declare_names_and_bounds_and_pickle():
    loaded = pickle.loads(pickle.dumps(REWARDS))
    assert loaded.names == ("format", "correctness", "name", "keys", "values")
    np.testing.assert_array_equal(loaded.low, [0, -3, 0, 0, 0])
    np.testing.assert_array_equal(loaded.high, [1, 3, 1, 1, 1])


class TestExactGold:
    ONE = problem([call("f", a=1, b="x")])
    TWO = problem([call("f", a=1), call("g", b=[1, 2])])

    @pytest.mark.parametrize(
        ("of", "calls", "expected"),
        [
            (ONE, [call("f", a=1, b="x")], PERFECT),
            (ONE, [call("f", a=1, b="y")], [1, 1.5, 1, 1, 0.5]),
            (ONE, [call("f", a=1)], [1, 0.75, 1, 0.5, 0.5]),
            (ONE, [call("f", a=1, b="x", c=0)], [1, 2.5, 1, 2 / 3, 1]),
            (ONE, [call("g", a=1, b="x")], [1, -3, 0, 0, 0]),
            (ONE, [call("f", a=1, b="x"), call("g")], [1, 2.25, 0.5, 1, 1]),
            (ONE, [call("f", b="X", a=2)], [1, 0, 1, 1, 0]),
            (TWO, [call("g", b=[1, 2]), call("f", a=1)], PERFECT),
            (TWO, [call("g", b=[2, 1])], [1, -3 + 6 * 1.5 / 5, 0.5, 0.5, 0]),
            (problem([call("f")]), [call("f")], PERFECT),
            (problem([call("f")]), [call("f", a=1)], [1, 0, 1, 0, 0]),
        ],
    )
    def test_values(self, of, calls, expected):
        np.testing.assert_allclose(score(of, answer(*calls)), expected, atol=1e-12)

    @pytest.mark.parametrize(
        "response",
        [
            "",
            "<think>",
            "<tool_call>\n{\n</tool_call>",
            answer(call("f", a=1, b="x"))[:-12],
            answer(),
            "\ud800<tool_call>",
        ],
    )
    def test_without_a_proper_call_all_are_at_the_floor(self, response):
        assert score(self.ONE, response) == FLOOR

    def test_arguments_may_go_by_either_name_and_format_is_apart(self):
        assert score(self.ONE, '<tool_call>{"name": "f", "arguments": {"a": 1, "b": "x"}}</tool_call>') == [
            0,
            *PERFECT[1:],
        ]

    def test_a_thought_may_quote_the_tag(self):
        quoted = answer(call("f", a=1, b="x")).replace("<think>x", "<think>I write <tool_call> now")
        assert score(self.ONE, quoted)[1:] == PERFECT[1:]


class TestNoCallNeeded:
    CHAT = problem([])

    @pytest.mark.parametrize(
        ("response", "expected"),
        [
            (answer(), PERFECT),
            ("", [0.0, *PERFECT[1:]]),
            ("<think>no <tool_call> needed</think>\n<response>Hi.</response>", PERFECT),
            (answer(call("f")), FLOOR),
            ("<tool_call>", FLOOR),
            ("<think>t</think>\n<tool_call>\n{\n</tool_call>", FLOOR),
            ("<think>t</think>\n<response>see <tool_call></response>", [1.0, *FLOOR[1:]]),
        ],
    )
    def test_values(self, response, expected):
        assert score(self.CHAT, response) == expected


CITY = {"type": "string"}
FUNCTION = {
    "name": "w",
    "parameters": {
        "properties": {"city": CITY, "days": {"type": "integer"}, "unit": CITY, "zone": CITY},
        "required": ["city", "zone"],
    },
}


class TestAcceptedValues:
    OF = accepted_problem({"w": {"city": ["Rome", "Roma"], "days": ["", 3], "unit": ["", "C"]}}, functions=[FUNCTION])

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"city": "ROMA"}, PERFECT),
            ({"city": "Rome", "days": 3}, PERFECT),
            ({"city": "Rome", "days": 3, "unit": "c"}, PERFECT),
            ({"city": "Oslo"}, [1, 1, 1, 1, 0]),
            ({"city": "Rome", "days": 3.0}, [1, 1.5, 1, 1, 0.5]),
            ({"city": "Rome", "days": True}, [1, 1.5, 1, 1, 0.5]),
            ({"days": 3}, [1, -3 + 6 * 2.5 / 4, 1, 0.5, 0.5]),
            ({"city": "Rome", "more": 1}, [1, 2, 1, 0.5, 1]),
            ({}, [1, -1, 1, 0, 0]),
        ],
    )
    def test_values(self, arguments, expected):
        np.testing.assert_allclose(score(self.OF, answer(call("w", **arguments))), expected, atol=1e-12)

    def test_required_parameter_may_not_be_left_out(self):
        of = accepted_problem({"w": {"city": ["Rome"], "zone": ["", "EU"]}}, functions=[FUNCTION])
        assert score(of, answer(call("w", city="Rome", zone="eu"))) == PERFECT
        assert score(of, answer(call("w", city="Rome")))[1] < 3

    def test_schema_unknown(self):
        of = accepted_problem({"w": {"city": ["Rome"], "days": [3]}})
        assert score(of, answer(call("w", city="rome", days=3))) == PERFECT

    def test_gold_calls_that_overlap_in_what_they_accept(self):
        of = accepted_problem({"w": {"city": ["Rome", "Oslo"]}}, {"w": {"city": ["Rome"]}}, functions=[FUNCTION])
        assert score(of, answer(call("w", city="Rome"), call("w", city="Oslo"))) == PERFECT

    def test_parallel_calls_of_one_function_in_any_order(self):
        truth = [{"w": {"city": [city], "days": ["", n]}} for n, city in enumerate(["Rome", "Oslo", "Bonn"])]
        of = accepted_problem(*truth, functions=[FUNCTION])
        assert score(of, answer(*bfcl_gold_calls(truth)[::-1])) == PERFECT


values = st.sampled_from([0, 1, 2.0, True, "a", "A", "b", None, ["a"]])
arguments = st.dictionaries(st.sampled_from(["city", "days", "unit"]), values, max_size=3)
some_calls = st.lists(st.builds(lambda n, a: call(n, **a), st.sampled_from("wv"), arguments), min_size=1, max_size=3)
truths = st.lists(
    st.builds(
        lambda name, parameters: {name: parameters},
        st.sampled_from("wv"),
        st.dictionaries(
            st.sampled_from(["city", "days", "unit"]),
            st.lists(st.sampled_from(["", 0, 1, "a", "b", None]), min_size=1, max_size=3, unique=True),
        ),
    ),
    min_size=1,
    max_size=3,
)
LOOSE = [{**FUNCTION, "name": name, "parameters": {**FUNCTION["parameters"], "required": []}} for name in "wv"]


class TestProperties:
    @given(some_calls, some_calls)
    def test_equals_the_released_code_where_the_gold_is_exact(self, gold, predicted):
        of, response = problem(gold), answer(*predicted)
        assert tool_correctness(of, response) == pytest.approx(toolrl_correctness(of.meta["gold"], response), abs=1e-9)

    @given(some_calls | st.just([]), some_calls | st.just([]))
    def test_the_ladder_is_all_at_the_top_exactly_when_correctness_is(self, gold, predicted):
        for response in (answer(*predicted), answer(*gold)):
            _, correctness, *ladder = score(problem(gold), response)
            assert (correctness == 3.0) == (ladder == [1.0, 1.0, 1.0])

    @given(truths, st.lists(arguments, min_size=1, max_size=3), st.data())
    def test_correctness_is_top_exactly_when_the_leaderboard_says_valid(self, truth, predicted, data):
        names = st.sampled_from("wv")
        calls = [call(data.draw(names), **given_) for given_ in predicted]
        of = accepted_problem(*truth, functions=LOOSE)
        for candidate in (calls, bfcl_gold_calls(truth), bfcl_gold_calls(truth)[::-1]):
            _, correctness, *ladder = score(of, answer(*candidate))
            assert (correctness == 3.0) == bfcl_valid(LOOSE, truth, candidate).valid
            assert (correctness == 3.0) == (ladder == [1.0, 1.0, 1.0])

    @given(st.text(max_size=40))
    def test_no_text_raises(self, text):
        for of in (TestExactGold.ONE, TestNoCallNeeded.CHAT, TestAcceptedValues.OF):
            score(of, text)
            score(of, f"<think></think>\n<tool_call>\n{text}\n</tool_call>")

    def test_large_and_deep_output(self):
        deep = '{"name": "w", "parameters": {"city": ' + "[" * 10_000 + "]" * 10_000 + "}}"
        many = "\n".join(['{"name": "w", "parameters": {"city": "Oslo"}}'] * 20_000)
        for text in (deep, many, "[" * 10_000_000, '"' + "x" * 10_000_000):
            response = f"<think></think>\n<tool_call>\n{text}\n</tool_call>"
            assert score(TestAcceptedValues.OF, response)[1] < 0


class TestTargets:
    @pytest.mark.parametrize("target", [None, [], {}, {"calls": None}, {"accepted": []}])
    def test_target_of_another_form_is_an_error(self, target):
        with pytest.raises(ValueError, match="must be a mapping with a list 'calls'"):
            score_tool_calls(target, "")
        with pytest.raises(RewardError, match="'correctness' failed on row 0"):
            RewardVector([tool_correctness])([Problem("", target)], [""])

    def test_missing_gold_is_an_error(self):
        with pytest.raises(RewardError, match=r"'format' failed on row 0: KeyError\('gold'\)"):
            RewardVector([tool_format])([Problem("", {"calls": []})], [""])


class TestFormatGold:
    def test_sections(self):
        text = format_gold([call("f", a="é"), call("g")], thought=" t ", response="done")
        assert text == (
            '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {"a": "é"}}\n{"name": "g", "parameters": {}}'
            "\n</tool_call>\n<response>done</response>"
        )
        assert format_gold([], response="") == "<think></think>\n<response></response>"

    @given(some_calls, st.text(max_size=20))
    def test_scores_top_on_itself(self, calls, thought):
        gold = format_gold(calls, thought=thought.replace("<", ""))
        target = {"calls": json.loads(json.dumps(calls)), "accepted": None, "functions": []}
        assert score(Problem("", target, {"gold": gold}), gold) == PERFECT

    @pytest.mark.parametrize(
        ("calls", "texts"),
        [
            ([], {}),
            ([], {"response": "a</response>"}),
            ([call("f")], {"thought": "</think>\n<tool_call>\n"}),
            ([call("f", a="</tool_call>")], {}),
            ([call("f", a=float("nan"))], {}),
        ],
    )
    def test_refuses_what_would_break_the_format(self, calls, texts):
        with pytest.raises(ValueError, match="format_gold"):
            format_gold(calls, **texts)
