"""The leaderboard's rules: the value rule case by case, whole verdicts, and mutations of accepted answers."""

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards.bfcl import bfcl_gold_calls, bfcl_valid, standardize_string, value_accepted


def function(name="book", required=("city",), **properties):
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": list(required)}}


def call(name="book", **arguments):
    return {"name": name, "arguments": arguments}


STRING, INTEGER, FLOAT, BOOLEAN, ANY = ({"type": t} for t in ("string", "integer", "float", "boolean", "any"))
STRINGS = {"type": "array", "items": STRING}
PAIR = {"type": "tuple", "items": FLOAT}
AREA = {"type": "dict", "properties": {"width": INTEGER, "unit": STRING}}
AREAS = {"type": "array", "items": AREA}
HUGE = 10**400


class TestValueRule:
    @pytest.mark.parametrize(
        ("value", "accepted", "schema"),
        [
            # strings: without case, spaces and ,./-_*^, single quotes as double ones
            ("New York", ["new york"], STRING),
            ("a,b.c/d-e_f*g^h i", ["ABCDEFGHI"], STRING),
            ("it's", ['it"s'], STRING),
            ("b", ["a", "b"], STRING),
            ("dataset", ["data-set"], ANY),
            # numbers
            (5, [5], INTEGER),
            (5, [5.0], INTEGER),
            (5, [5.0], FLOAT),
            (5.0, [5], FLOAT),
            (0.5, [1, 0.5], FLOAT),
            (HUGE, [HUGE], INTEGER),
            (5, [5.0], {"type": "number"}),
            # booleans
            (True, [True], BOOLEAN),
            (False, [True, False], BOOLEAN),
            # lists, to any depth
            ([], [[]], STRINGS),
            (["New-York", "b"], [["x"], ["new york", "B"]], STRINGS),
            ([1, 2.0], [[1.0, 2.0]], PAIR),
            ((1.0, 2.0), [[1.0, 2.0]], PAIR),
            ([["A", "b"], ["c"]], [[["a", "b"], ["c"]]], {"type": "array", "items": STRINGS}),
            # dicts: each key holds its accepted values
            ({"width": 2, "unit": "M"}, [{"width": [1, 2], "unit": ["m"]}], AREA),
            ({"width": 2}, [{"width": [2], "unit": ["", "m"]}], AREA),
            ({}, ["", {}], AREA),
            ({"deep": {"er": ["X"]}}, [{"deep": [{"er": [["x"]]}]}], {"type": "dict"}),
            ([{"width": 1}, {"width": 2}], [[{"width": [1]}, {"width": [3, 2]}]], AREAS),
            # an accepted value of another type than the schema's, as it stands, beside those of its type
            (None, [None], STRING),
            (None, ["", "Rome", None], STRING),
            ("rome", [None, "Rome"], STRING),
            ("data['x']", ["data['x']"], STRINGS),
            ("dontcare", ["dontcare", True], BOOLEAN),
            (5.0, [5.0], INTEGER),
            (["Apple"], [["Apple"]], STRING),
            # "" among the accepted: an empty value of the schema's type says the same
            ("", ["", "x"], STRING),
            ([], ["", ["x"]], STRINGS),
            # no type demanded
            ("A", ["a"], None),
            (5.0, [5], {}),
        ],
    )
    def test_accepted(self, value, accepted, schema):
        assert value_accepted(value, accepted, schema)

    @pytest.mark.parametrize(
        ("value", "accepted", "schema"),
        [
            ("Rome", ["Paris"], STRING),
            ("a\tb", ["ab"], STRING),
            ("5", [5], INTEGER),
            (5, ["5"], STRING),
            (5.0, [5], INTEGER),
            (5.5, [5], FLOAT),
            (float("nan"), [float("nan")], FLOAT),
            (HUGE, [1e300], FLOAT),
            (True, [1], INTEGER),
            (True, [1.0], FLOAT),
            (False, [0], {}),
            (1, [True], BOOLEAN),
            ("true", [True], BOOLEAN),
            (None, ["None"], STRING),
            (None, [False, 0, ""], BOOLEAN),
            (["b", "a"], [["a", "b"]], STRINGS),
            (["a"], [["a", "b"]], STRINGS),
            (["a", "b"], [["a"], ["b"]], STRINGS),
            ("a", [["a"]], STRINGS),
            ([True], [[1]], {"type": "array", "items": INTEGER}),
            ([1.0], [[1]], {"type": "array", "items": INTEGER}),
            ([["c"], ["a", "b"]], [[["a", "b"], ["c"]]], {"type": "array", "items": STRINGS}),
            ({"width": 2}, [{"width": [2], "unit": ["m"]}], AREA),
            ({"width": 2, "more": 1}, [{"width": [2]}], AREA),
            ({"width": 2.0}, [{"width": [2]}], AREA),
            ({"width": True}, [{"width": [1]}], {"type": "dict"}),
            ([2], [{"width": [2]}], AREA),
            ([{"width": 2}, {"width": 1}], [[{"width": [1]}, {"width": [2]}]], AREAS),
            ({}, [""], AREA),
            ("", ["", 5], INTEGER),
            ([], ["", 5], INTEGER),
            ([], ["", "x"], STRING),
            ("DATA['x']", ["data['x']"], STRINGS),
            ("x", [], STRING),
            ("x", [""], STRING),
        ],
    )
    def test_not_accepted(self, value, accepted, schema):
        assert not value_accepted(value, accepted, schema)

    @given(st.text(), st.text())
    def test_strings_compare_by_their_standard_form(self, first, second):
        assert standardize_string(standardize_string(first)) == standardize_string(first)
        assert value_accepted(first, [first.replace("-", " "), second], STRING)

    def test_deep_and_large_model_output(self):
        deep = []
        for _ in range(10_000):
            deep = [deep]
        assert not value_accepted(deep, [["a"]], STRINGS)
        assert not value_accepted({"a": deep}, [{"a": [1]}], AREA)
        assert not value_accepted("x" * 10_000_000, ["y"] * 3, STRING)
        verdict = bfcl_valid([function(city=STRINGS)], [{"book": {"city": [["a"]]}}], [call(city=deep)])
        assert not verdict.valid
        assert len(verdict.reason) < 1000


FUNCTIONS = [
    function(city=STRING, nights=INTEGER, price=FLOAT, breakfast=BOOLEAN, guests=STRINGS, room=AREA),
    function("cancel", ["number"], number=INTEGER),
]
BOOK = {
    "city": ["Rome", "Roma"],
    "nights": [2],
    "price": ["", 80.0],
    "breakfast": ["", True],
    "guests": [["Ann", "Bob"]],
    "room": [{"width": [4], "unit": ["", "m"]}],
}
GOLD = bfcl_gold_calls([{"book": BOOK}])


class TestVerdict:
    def test_gold_is_valid_and_says_nothing(self):
        assert bfcl_valid(FUNCTIONS, [{"book": BOOK}], GOLD) == (True, "")

    def test_one_function_need_not_be_in_a_list(self):
        assert bfcl_valid(FUNCTIONS[0], [{"book": BOOK}], GOLD).valid

    @pytest.mark.parametrize("truth", [None, []])
    def test_irrelevance_means_no_call(self, truth):
        assert bfcl_valid(FUNCTIONS, truth, []) == (True, "")
        assert bfcl_valid(FUNCTIONS, truth, GOLD) == (False, "expected 0 calls, got 1")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (
                {"city": None},
                r"book: parameter 'city' must be of type string .*got NoneType None; accepted are \['Rome'",
            ),
            ({"city": "Paris"}, r"book: parameter 'city' must be an accepted value, got str 'Paris'"),
            ({"nights": True}, r"'nights' must be of type integer .*got bool True"),
            ({"nights": 2.0}, r"'nights' must be of type integer .*got float 2.0"),
            ({"nights": 3}, r"'nights' must be an accepted value, got int 3"),
            ({"extra": 1}, r"book: parameter 'extra' is not expected, only \['breakfast', .*\] are; got value 1"),
            ({"nights": 10**10_000}, r"'nights' must be an accepted value, got int <int without repr"),
            ({"city": "x" * 5000}, r"'city' .*\(5002 characters\)"),
        ],
    )
    def test_reason_names_function_parameter_rule_and_value(self, change, reason):
        verdict = bfcl_valid(FUNCTIONS, [{"book": BOOK}], [call(**{**GOLD[0]["arguments"], **change})])
        assert not verdict.valid
        assert_matches(verdict.reason, reason)

    def test_required_and_expected_parameters_must_be_there(self):
        truth = [{"book": {"city": ["", "Rome"], "nights": [2]}}]
        assert_matches(
            bfcl_valid(FUNCTIONS, truth, [call(nights=2)]).reason, "book: parameter 'city' is required, got only"
        )
        assert_matches(bfcl_valid(FUNCTIONS, truth, [call(city="Rome")]).reason, "'nights' may not be left out")

    def test_parameter_that_the_schema_lacks_is_unexpected_even_where_the_truth_has_it(self):
        truth = [{"cancel": {"number": [1], "reason": ["", "late"]}}]
        assert bfcl_valid(FUNCTIONS, truth, [call("cancel", number=1)]).valid
        assert_matches(
            bfcl_valid(FUNCTIONS, truth, [call("cancel", number=1, reason="late")]).reason, "'reason' is not"
        )

    def test_names_are_compared_exactly(self):
        for name in ("Book", "book ", "cancel", "", None, ["book"]):
            verdict = bfcl_valid(FUNCTIONS, [{"book": BOOK}], [{**GOLD[0], "name": name}])
            assert verdict == (False, f"expected a call of 'book', got one of {name!r}")

    @pytest.mark.parametrize("odd", [None, 1, "book", {}, {"name": "book"}, {"name": "book", "arguments": [1]}])
    def test_calls_of_another_form_are_not_valid(self, odd):
        assert "a call must be" in bfcl_valid(FUNCTIONS, [{"book": BOOK}], [odd]).reason

    @pytest.mark.parametrize(
        "odd", [None, "book", {}, {"book": {}, "cancel": {}}, {"book": [1]}, {"book": {"city": "x"}}]
    )
    def test_truth_of_another_form_is_the_callers_error(self, odd):
        with pytest.raises(ValueError, match="ground_truth entry must be"):
            bfcl_valid(FUNCTIONS, [odd], GOLD)
        with pytest.raises(ValueError, match="ground_truth entry must be"):
            bfcl_gold_calls([odd])

    def test_truth_that_names_an_unknown_function_is_the_callers_error(self):
        with pytest.raises(ValueError, match=r"\['fly'\], which functions= lacks; it has \['book', 'cancel'\]"):
            bfcl_valid(FUNCTIONS, [{"fly": {}}], GOLD)


class TestParallel:
    def test_order_does_not_matter(self):
        truth = [{"book": BOOK}, {"cancel": {"number": [1]}}, {"cancel": {"number": [2]}}]
        calls = bfcl_gold_calls(truth)
        for shuffled in (calls, calls[::-1], calls[1:] + calls[:1]):
            assert bfcl_valid(FUNCTIONS, truth, shuffled).valid

    def test_each_call_serves_once(self):
        truth = [{"cancel": {"number": [1]}}, {"cancel": {"number": [2]}}]
        calls = [call("cancel", number=1), call("cancel", number=1)]
        assert bfcl_valid(FUNCTIONS, truth, calls).reason.startswith(
            "cancel: parameter 'number' must be an accepted value"
        )

    def test_finds_the_assignment_that_a_greedy_search_misses(self):
        truth = [{"cancel": {"number": [1, 2]}}, {"cancel": {"number": [1]}}]
        assert bfcl_valid(FUNCTIONS, truth, [call("cancel", number=1), call("cancel", number=2)]).valid

    def test_reason_speaks_of_the_call_of_the_right_name(self):
        truth = [{"cancel": {"number": [1]}}, {"book": {"city": ["Rome"]}}]
        reason = bfcl_valid(FUNCTIONS, truth, [call(city="Rome"), call("cancel", number=9)]).reason
        assert reason.startswith("cancel: parameter 'number'")
        reason = bfcl_valid(FUNCTIONS, truth, [call(city="Oslo"), call("cancel", number=9)]).reason
        assert reason.startswith("cancel: parameter 'number'")

    @pytest.mark.parametrize("calls", [[], GOLD, GOLD * 3])
    def test_count_must_agree(self, calls):
        truth = [{"book": BOOK}, {"book": BOOK}]
        assert bfcl_valid(FUNCTIONS, truth, calls).reason == f"expected 2 calls, got {len(calls)}"


class TestGoldCalls:
    def test_first_value_that_is_not_the_marker(self):
        room = {"width": 4, "unit": "m"}
        (gold,) = GOLD
        assert gold == call(city="Rome", nights=2, price=80.0, breakfast=True, guests=["Ann", "Bob"], room=room)

    @pytest.mark.parametrize("falsy", [0, 0.0, False, None, [], {}])
    def test_falsy_values_are_values(self, falsy):
        assert bfcl_gold_calls([{"f": {"a": ["", falsy], "b": [""]}}]) == [call("f", a=falsy)]

    def test_dicts_in_lists(self):
        truth = [{"f": {"a": [[{"k": ["x", "y"], "o": [""]}, {"k": [1]}]]}}]
        assert bfcl_gold_calls(truth) == [call("f", a=[{"k": "x"}, {"k": 1}])]

    def test_no_call(self):
        assert bfcl_gold_calls(None) == bfcl_gold_calls([]) == []

    def test_result_is_fresh(self):
        truth = [{"book": copy.deepcopy(BOOK)}]
        bfcl_gold_calls(truth)[0]["arguments"]["guests"].append("Eve")
        assert truth == [{"book": BOOK}]


# --- mutations of random accepted answers -------------------------------------------------------------------------

scalars = {
    "string": st.text("abc", min_size=1, max_size=4),
    "integer": st.integers(-5, 5),
    "float": st.floats(-5, 5).map(lambda x: round(x, 1)) | st.integers(-5, 5),
    "boolean": st.booleans(),
}
WRONG_TYPE = {"string": [1, True, None, ["a"]], "integer": [True, 1.5, 2.0, "1", None], "float": [True, "1.0", None]}
WRONG_TYPE |= {"boolean": [0, 1, "true", None], "array": ["a", {"a": 1}, None, 3]}


@st.composite
def problems(draw):
    """A function, its ground truth and an accepted call; every parameter is required and has one value."""
    types = draw(st.dictionaries(st.sampled_from("pqrs"), st.sampled_from([*scalars, "array"]), min_size=1))
    properties, truth = {}, {}
    for name, kind in types.items():
        if kind == "array":
            item = draw(st.sampled_from([*scalars]))
            properties[name] = {"type": "array", "items": {"type": item}}
            truth[name] = [draw(st.lists(scalars[item], min_size=1, max_size=3))]
        else:
            properties[name] = {"type": kind}
            truth[name] = [draw(scalars[kind])]
    return function("f", types, **properties), [{"f": truth}]


@given(problems(), st.data())
def test_gold_is_accepted_and_each_mutation_rejected(problem, data):
    described, truth = problem
    ((name, arguments),) = [(c["name"], c["arguments"]) for c in bfcl_gold_calls(truth)]
    assert bfcl_valid([described], truth, [call(name, **arguments)]).valid
    parameter = data.draw(st.sampled_from(sorted(arguments)))
    schema = described["parameters"]["properties"][parameter]
    mutations = [
        call(name + "x", **arguments),
        call(name, **{key: value for key, value in arguments.items() if key != parameter}),
        call(name, **arguments, extra=1),
        *(call(name, **{**arguments, parameter: wrong}) for wrong in WRONG_TYPE[schema["type"]]),
    ]
    if schema["type"] == "array":
        mutations.append(call(name, **{**arguments, parameter: arguments[parameter] * 2}))
    if schema["type"] == "string":
        mutations.append(call(name, **{**arguments, parameter: arguments[parameter] + "x"}))
    for mutated in mutations:
        verdict = bfcl_valid([described], truth, [mutated])
        assert not verdict.valid
        assert verdict.reason
    assert not bfcl_valid([described], truth, []).valid
    assert not bfcl_valid([described], truth, [call(name, **arguments)] * 2).valid


def assert_matches(text, pattern):
    assert re.search(pattern, text), text


def test_a_verdict_is_as_true_as_it_is_valid():
    assert bfcl_valid([], None, [])
    assert not bfcl_valid([], None, [{"name": "f", "arguments": {}}])
