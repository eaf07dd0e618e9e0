"""The checks that rubrics name: values by hand, bad parameters, the time limit of patterns, import paths."""

import contextlib
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards import Problem
from llm_morl_rewards.rubric_checks import CHECKS, PatternTimeout, resolve_check, try_parameters

P = Problem("")
#: Backtracks without end in `regex` too, which sees through simpler ones.
CATASTROPHIC = r"(a|aa)+$"

VALUES = [
    ("min_words", {"count": 2}, "one", False),
    ("min_words", {"count": 2}, "one two", True),
    ("min_words", {"count": 0}, "", True),
    ("max_words", {"count": 2}, "one two", True),
    ("max_words", {"count": 2}, "one two three", False),
    ("count_between", {"text": "ab", "low": 1}, "xabab", True),
    ("count_between", {"text": "ab", "low": 3}, "xabab", False),
    ("count_between", {"text": "ab", "high": 1}, "xabab", False),
    ("count_between", {"text": "aa", "low": 1, "high": 1}, "aaa", True),
    ("count_between", {"text": "AB", "low": 1}, "xab", False),
    ("count_between", {"text": "AB", "low": 1, "ignore_case": True}, "xab", True),
    ("contains", {"texts": "Tea"}, "some tea", 1.0),
    ("contains", {"texts": "Tea", "ignore_case": False}, "some tea", 0.0),
    ("contains", {"texts": ["tea", "milk", "sugar", "jam"]}, "milk", 0.25),
    ("contains", {"texts": ["STRASSE"]}, "straße", 1.0),
    ("not_contains", {"texts": ["tea", "milk"]}, "Milk", False),
    ("not_contains", {"texts": ["tea", "milk"]}, "jam", True),
    ("starts_with", {"text": "# "}, "\n # Title", True),
    ("starts_with", {"text": "# "}, "Title # ", False),
    ("starts_with", {"text": "dear"}, "Dear", False),
    ("starts_with", {"text": "dear", "ignore_case": True}, "Dear", True),
    ("json_valid", {}, " [1, 2]\n", True),
    ("json_valid", {}, "[1, 2] and more", False),
    ("json_valid", {}, "NaN", False),
    ("json_valid", {}, "[" * 100_000, False),
    ("json_valid", {}, "[" * 101 + "]" * 101, False),
    ("json_valid", {"type": "object"}, "{}", True),
    ("json_valid", {"type": "object"}, "[]", False),
    ("json_valid", {"type": "string"}, '"x"', True),
    ("json_valid", {"type": "number"}, "3.5", True),
    ("json_valid", {"type": "number"}, "true", False),
    ("no_repetition", {"n": 2}, "a b a b", 2 / 3),
    ("no_repetition", {"n": 1}, "A a", 0.5),
    ("no_repetition", {}, "a b c", 1.0),
    ("matches", {"pattern": r"\d+"}, "route 66", True),
    ("matches", {"pattern": r"\d+", "whole": True}, "route 66", False),
    ("matches", {"pattern": r"^B.c", "flags": "ims"}, "a\nb\nc", True),
    ("matches", {"pattern": r"^B.c", "flags": "im"}, "a\nb\nc", False),
]


@pytest.mark.parametrize(("name", "parameters", "response", "value"), VALUES)
def test_values(name, parameters, response, value):
    assert CHECKS[name](P, response, **parameters) == pytest.approx(value)


def test_every_check_has_a_value_here():
    assert {name for name, *_ in VALUES} == set(CHECKS)


@given(response=st.text(alphabet=st.characters(exclude_categories=())))
def test_whatever_is_written_gives_a_score(response):
    for name, parameters, *_ in VALUES:
        assert 0 <= CHECKS[name](P, response, **parameters) <= 1


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in {"no_repetition"}])
def test_long_responses_take_linear_time(name):
    """Quadratic time would take minutes here, and meet the suite's limit."""
    parameters = next(p for n, p, *_ in VALUES if n == name)
    assert 0 <= CHECKS[name](P, "a (" * 1_000_000, **parameters) <= 1


@pytest.mark.parametrize(
    ("name", "parameters", "rule"),
    [
        ("min_words", {"count": -1}, "count must be an integer of at least 0, got -1"),
        ("max_words", {"count": True}, "count must be an integer of at least 0, got True"),
        ("max_words", {"count": "3"}, "got '3'"),
        ("max_words", {}, "signature: missing a required argument: 'count'"),
        ("max_words", {"count": 3, "words": 4}, "signature: got an unexpected keyword argument 'words'"),
        ("count_between", {"text": "", "low": 1}, "text must be a text of at least one"),
        ("count_between", {"text": "a", "low": 3, "high": 2}, "high must be at least low, got low=3, high=2"),
        ("contains", {"texts": []}, "texts must be a text or a list of at least one"),
        ("contains", {"texts": ["a", 3]}, "texts must be a text of at least one character, got 3"),
        ("not_contains", {"texts": 3}, "texts must be"),
        ("starts_with", {"text": 3}, "text must be"),
        ("json_valid", {"type": "list"}, r"type must be one of .*'array'.*, got 'list'"),
        ("no_repetition", {"n": 0}, "n must be at least 1, got 0"),
        ("matches", {"pattern": "("}, r"pattern '\(' is malformed"),
        ("matches", {"pattern": "a", "flags": "iz"}, "flags must be letters of 'imsx', got 'iz'"),
        ("matches", {"pattern": "a", "timeout_s": 0}, "timeout_s must be a positive number of seconds, got 0"),
        ("matches", {"pattern": "a", "timeout_s": float("inf")}, "timeout_s must be"),
    ],
)
def test_bad_parameters_are_named(name, parameters, rule):
    with pytest.raises((TypeError, ValueError), match=rule):
        try_parameters(CHECKS[name], parameters)


class TestTimeLimit:
    def test_catastrophic_pattern_stops_at_the_limit(self):
        before = time.process_time()
        with pytest.raises(PatternTimeout, match=r"\(a\|aa\)\+\$' ran for 0.05 s on a response of 61 characters"):
            CHECKS["matches"](P, "a" * 60 + "!", pattern=CATASTROPHIC, timeout_s=0.05)
        # Without a limit it would take 2 ** 40 steps; the bound is far above the limit and far below that.
        assert time.process_time() - before < 10

    def test_the_same_pattern_matches_what_it_matches(self):
        assert CHECKS["matches"](P, "a" * 60, pattern=CATASTROPHIC) is True

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            (r"(a+)+$", (True, False, False)),
            (r"(x+x+)+y", (False, False, False)),
            (r"(?=(a|aa)+$)", (True, False, False)),
            (r"(a|aa)*?$", (True, True, True)),
        ],
    )
    def test_known_patterns_of_the_kind_answer_rightly_or_stop(self, pattern, found):
        for response, truth in zip(["a" * 40, "a" * 60 + "!", "x" * 60], found, strict=True):
            with contextlib.suppress(PatternTimeout):
                assert CHECKS["matches"](P, response, pattern=pattern, timeout_s=0.05) is truth

    def test_without_regex_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "regex", None)
        with pytest.raises(ImportError, match=r"llm-morl-env\[judge\]"):
            CHECKS["matches"](P, "", pattern="never compiled before: a")


class TestResolve:
    def test_by_import_path(self):
        assert resolve_check("operator:eq")(1, 1) is True
        assert resolve_check("pathlib:Path.is_file").__name__ == "is_file"

    def test_callables_stay(self):
        assert resolve_check(len) is len

    @pytest.mark.parametrize(
        ("check", "rule"),
        [
            ("no_such_check", "'module:function' or one of .*'min_words'.*, got 'no_such_check'"),
            (":eq", "got ':eq'"),
            ("operator:", "got 'operator:'"),
            ("no_such_module:f", "'no_such_module:f' cannot be imported: No module named"),
            ("operator:no_such", "cannot be imported: .*no attribute 'no_such'"),
            ("math:pi", "must be callable, got 3.14"),
        ],
    )
    def test_what_names_nothing(self, check, rule):
        with pytest.raises(ValueError, match=rule):
            resolve_check(check)

    def test_text_is_imported_never_evaluated(self):
        with pytest.raises(ValueError, match="cannot be imported"):
            resolve_check("builtins:eval('1')")
