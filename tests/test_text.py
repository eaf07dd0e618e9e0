"""`count_words` and the `brevity` reward."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards import Problem, RewardError, RewardVector
from llm_morl_rewards.text import brevity, count_words


@pytest.mark.parametrize(("text", "words"), [("", 0), (" \n ", 0), ("one", 1), (" a\tb\nc  d ", 4), ("a\u2003b", 2)])
def test_count_words(text, words):
    assert count_words(text) == words


def words(n):
    return "w " * n


class TestBrevity:
    def test_bounds_name_and_kind(self):
        made = brevity(3, 7)
        assert (made.name, made.low, made.high, made.kind) == ("brevity", 0.0, 1.0, "pointwise")

    @pytest.mark.parametrize(("n", "value"), [(0, 1), (3, 1), (4, 0.75), (5, 0.5), (6, 0.25), (7, 0), (100, 0)])
    def test_values(self, n, value):
        assert brevity(3, 7)(Problem(""), words(n)) == pytest.approx(value, abs=1e-12)

    @given(target=st.integers(0, 20), extra=st.integers(1, 20), length=st.integers(0, 50), more=st.integers(0, 20))
    def test_stays_in_bounds_and_never_rises_with_length(self, target, extra, length, more):
        made = brevity(target, target + extra)
        shorter, longer = made(Problem(""), words(length)), made(Problem(""), words(length + more))
        assert 0.0 <= longer <= shorter <= 1.0

    def test_lengths_of_the_problem(self):
        made = brevity("target", "cap")
        assert made(Problem("", meta={"target": 1, "cap": 3}), "a b") == 0.5
        assert made(Problem("", meta={"target": 1, "cap": 5}), "a b") == 0.75
        assert brevity(1, "cap")(Problem("", meta={"cap": np.int64(5)}), "a b") == 0.75

    def test_own_counter(self):
        assert brevity(2, 4, len)(Problem(""), "abc") == 0.5

    @pytest.mark.parametrize("made", [brevity(3, 7), brevity("target", "cap", len)])
    def test_pickles(self, made):
        loaded = pickle.loads(pickle.dumps(made))
        assert loaded == made
        problem = Problem("", meta={"target": 1, "cap": 9})
        assert loaded(problem, "a b c d") == made(problem, "a b c d")

    @pytest.mark.parametrize(("target", "cap"), [(3, 3), (4, 3), (-1, 3)])
    def test_refuses_lengths_out_of_order(self, target, cap):
        with pytest.raises(ValueError, match=rf"0 <= target < cap, got target={target}, cap={cap}"):
            brevity(target, cap)

    @pytest.mark.parametrize("cap", [None, True, float("nan"), float("inf"), [3]])
    def test_refuses_what_is_no_length(self, cap):
        with pytest.raises(ValueError, match=r"cap.*finite number"):
            brevity(1, cap)

    def test_refuses_a_counter_that_is_none(self):
        with pytest.raises(TypeError, match="count="):
            brevity(1, 2, "words")

    @pytest.mark.parametrize(
        ("meta", "rule"),
        [({}, "no such entry"), ({"cap": "long"}, "finite number, got 'long'"), ({"cap": 1}, "0 <= target < cap")],
    )
    def test_problem_without_a_proper_length_is_an_error_with_reward_and_row(self, meta, rule):
        vector = RewardVector([brevity(1, "cap")])
        with pytest.raises(RewardError, match=rf"'brevity' failed on row 1.*{rule}"):
            vector([Problem("", meta={"cap": 5}), Problem("", meta=meta)], ["a", "a"])
