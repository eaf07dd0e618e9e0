"""Pairings and win rates: by hand, symmetry, position bias, equal texts, failures with their rows, threads."""

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards import Problem
from llm_morl_rewards.judge import DeterministicJudge, JudgeError
from llm_morl_rewards.win_rates import pairings, reference_rates, win_rates

Q = {"long": "Is it long?"}
LONG = DeterministicJudge({"long": "longer"})
TEXTS = st.lists(st.sampled_from(["", "a", "a b", "b a", "a b c", "d e f g"]), min_size=1, max_size=9)


class Scripted:
    """A judge of a function of the two responses, that counts what it was asked."""

    identity = "scripted"

    def __init__(self, verdict, concurrency=1):
        self.verdict, self.concurrency, self.asked = verdict, concurrency, Counter()

    def __call__(self, questions, problem, response_a, response_b):
        self.asked[problem.prompt, response_a, response_b] += 1
        return dict.fromkeys(questions, self.verdict(response_a, response_b))


def rates(judge, responses, group=None, problems=None, questions=Q, **options):
    group = np.zeros(len(responses), np.int64) if group is None else np.array(group)
    problems = [Problem(f"p{g}") for g in group] if problems is None else problems
    return win_rates(judge, questions, problems, responses, group, **options)


class TestPairings:
    @given(count=st.integers(0, 12), opponents=st.none() | st.integers(1, 14))
    def test_everyone_meets_as_many_as_asked(self, count, opponents):
        pairs = pairings(count, opponents)
        assert pairs == sorted(set(pairs))
        assert all(0 <= i < j < count for i, j in pairs)
        met = Counter(player for pair in pairs for player in pair)
        wanted = count - 1 if opponents is None else min(opponents, count - 1)
        for player in range(count):
            assert wanted <= met[player] <= wanted + (wanted < count - 1 and wanted % 2 == 1 == count % 2)

    @pytest.mark.parametrize("opponents", [0, -1, True])
    def test_needs_an_opponent(self, opponents):
        with pytest.raises(ValueError, match=f"opponents must be at least 1, got {opponents}"):
            pairings(3, opponents)


class TestWinRates:
    def test_by_hand(self):
        """Three words beat all, two texts of two words draw with each other."""
        assert rates(LONG, ["a", "a b", "b a", "a b c"]).ravel().tolist() == [0.0, 0.5, 0.5, 1.0]

    def test_graded_verdicts(self):
        judge = Scripted(lambda a, b: (len(a) - len(b)) / 10)
        assert rates(judge, ["", "aaa", "aaaaa"]).ravel().tolist() == pytest.approx([0.3, 0.525, 0.675])

    def test_several_questions(self):
        judge = DeterministicJudge({"long": "longer", "short": "shorter"})
        made = rates(judge, ["a", "a b"], questions={"short": "?", "long": "?"})
        assert made.tolist() == [[1.0, 0.0], [0.0, 1.0]]

    def test_groups_do_not_meet(self):
        judge = Scripted(lambda a, b: np.sign(len(a) - len(b)))
        made = rates(judge, ["a", "aaa", "aa", "aaaa"], group=[7, -2, 7, -2])
        assert made.ravel().tolist() == [0.0, 0.0, 1.0, 1.0]
        assert set(judge.asked) == {
            ("p7", "a", "aa"),
            ("p7", "aa", "a"),
            ("p-2", "aaa", "aaaa"),
            ("p-2", "aaaa", "aaa"),
        }

    def test_alone_and_none(self):
        assert rates(LONG, ["a", "b b"], group=[0, 1]).tolist() == [[0.5], [0.5]]
        assert rates(LONG, []).shape == (0, 1)

    @given(responses=TEXTS)
    def test_all_pairs_mean_a_half(self, responses):
        made = rates(LONG, responses)
        assert ((made >= 0) & (made <= 1)).all()
        assert made.mean() == pytest.approx(0.5)

    @given(responses=TEXTS)
    def test_all_pairs_are_the_mean_over_the_others(self, responses):
        """Against the formula, row by row, equal texts drawing."""
        lengths = np.array([len(text.split()) for text in responses])
        wins = (1 + np.sign(lengths[:, None] - lengths[None, :])) / 2
        n = len(responses)
        expected = (wins.sum(axis=1) - 0.5) / (n - 1) if n > 1 else [0.5]
        np.testing.assert_allclose(rates(LONG, responses).ravel(), expected, atol=1e-12)

    @given(responses=TEXTS, opponents=st.none() | st.integers(1, 4), order=st.randoms(), both=st.booleans())
    def test_the_order_of_rows_is_nothing(self, responses, opponents, order, both):
        options = {"opponents": opponents, "both_orders": both}
        biased = Scripted(lambda a, b: 0.25 if a > b else 0.75)
        place = list(range(len(responses)))
        order.shuffle(place)
        for judge in (LONG, biased):
            made = rates(judge, responses, **options)
            shuffled = rates(judge, [responses[i] for i in place], **options)
            np.testing.assert_allclose(shuffled, made[place], atol=1e-12)
            assert len({(text, float(rate[0])) for text, rate in zip(responses, made, strict=True)}) == len(
                set(responses)
            )

    @given(responses=TEXTS, bias=st.floats(0, 0.5), opponents=st.none() | st.integers(1, 4))
    def test_a_bias_for_a_place_cancels(self, responses, bias, opponents):
        def verdict(a, b):
            return 0.5 * np.sign(len(a) - len(b))

        fair, biased = Scripted(verdict), Scripted(lambda a, b: verdict(a, b) + bias)
        expected = rates(fair, responses, opponents=opponents)
        np.testing.assert_allclose(rates(biased, responses, opponents=opponents), expected, atol=1e-12)

    def test_in_one_order_a_bias_stays(self):
        always_first = Scripted(lambda a, b: 1.0)
        made = rates(always_first, ["a", "b"], both_orders=False)
        assert sorted(made.ravel().tolist()) == [0.0, 1.0]
        assert sum(always_first.asked.values()) == 1

    def test_number_of_comparisons(self):
        responses = [str(i) for i in range(8)] + ["0", "1"]
        for options, expected in [
            ({}, 56),
            ({"both_orders": False}, 28),
            ({"opponents": 2}, 16),
            ({"opponents": 3}, 24),
        ]:
            judge = Scripted(lambda a, b: 0.0)
            rates(judge, responses, **options)
            assert sum(judge.asked.values()) == expected
            assert set(judge.asked.values()) == {1}

    def test_tournament_ranks_the_extremes(self):
        responses = ["w " * n for n in range(12)]
        made = rates(LONG, responses, opponents=4).ravel()
        assert (made[0], made[-1]) == (0.0, 1.0)

    def test_lone_surrogates(self):
        assert rates(LONG, ["\ud800", "a b"]).ravel().tolist() == [0.0, 1.0]

    def test_a_group_has_one_problem(self):
        with pytest.raises(ValueError, match="rows 0 and 2 of one group"):
            rates(LONG, ["a", "b", "c"], problems=[Problem("x"), Problem("x"), Problem("y")])

    def test_inputs_stay(self):
        responses, group = ["a", "b b"], np.zeros(2, np.int64)
        group.setflags(write=False)
        win_rates(LONG, Q, (Problem(""),) * 2, responses, group)
        assert responses == ["a", "b b"]


class TestReference:
    def test_by_hand(self):
        responses = ["a", "b c", "a b c", "x y"]
        made = reference_rates(LONG, Q, [Problem("")] * 4, responses, ["x y"] * 4)
        assert made.ravel().tolist() == [0.0, 0.5, 1.0, 0.5]

    @given(responses=TEXTS, bias=st.floats(0, 0.5))
    def test_a_bias_for_a_place_cancels(self, responses, bias):
        def verdict(a, b):
            return 0.5 * np.sign(len(a) - len(b))

        shown = Q, [Problem("")] * len(responses), responses, ["a b"] * len(responses)
        fair = reference_rates(Scripted(verdict), *shown)
        np.testing.assert_allclose(
            reference_rates(Scripted(lambda a, b: verdict(a, b) + bias), *shown), fair, atol=1e-12
        )
        np.testing.assert_allclose(reference_rates(Scripted(verdict), *shown, both_orders=False), fair, atol=1e-12)

    def test_numbers_of_comparisons(self):
        for both, expected in [(True, 4), (False, 2)]:
            judge = Scripted(lambda a, b: 0.0)
            reference_rates(judge, Q, [Problem("")] * 3, ["a", "b", "r"], ["r"] * 3, both_orders=both)
            assert sum(judge.asked.values()) == expected

    def test_failure_names_the_row(self):
        with pytest.raises(JudgeError, match="rows 1 and 1"):
            reference_rates(Scripted(lambda a, b: 2.0), Q, [Problem("")] * 2, ["r", "a"], ["r"] * 2)


class TestFailures:
    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_names_the_rows(self, concurrency):
        def verdict(a, b):
            if {a, b} == {"bad", "c"}:
                raise JudgeError("no answer", criteria=["long"], status=500)
            return 0.0

        with pytest.raises(JudgeError) as caught:
            rates(Scripted(verdict, concurrency), ["a", "b", "c", "bad"])
        assert sorted(caught.value.rows) == [2, 3]
        assert (caught.value.criteria, caught.value.status) == (("long",), 500)

    def test_other_exceptions_keep_their_cause(self):
        def verdict(a, b):
            raise ZeroDivisionError("in the judge")

        with pytest.raises(JudgeError, match=r"ZeroDivisionError\('in the judge'\).*rows \d and \d") as caught:
            rates(Scripted(verdict), ["a", "b"])
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_verdicts_out_of_range(self):
        with pytest.raises(JudgeError, match=r"must be a number in \[-1, 1\], got 1.5 \(criteria 'long'; rows"):
            rates(Scripted(lambda a, b: 1.5), ["a", "b"])


class TestConcurrency:
    def test_as_many_at_once_as_the_judge_takes_and_no_more(self):
        """Three calls wait for each other; a fourth at the same time would be seen."""
        barrier, running, most, lock = threading.Barrier(3), 0, 0, threading.Lock()

        def verdict(a, b):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            barrier.wait(timeout=30)
            with lock:
                running -= 1
            return 0.0

        rates(Scripted(verdict, concurrency=3), ["a", "b", "c"])  # six comparisons
        assert most == 3

    @given(responses=TEXTS)
    def test_threads_change_nothing(self, responses):
        def verdict(a, b):
            return (len(a) - len(b)) / 10

        made = rates(Scripted(verdict, concurrency=4), responses)
        np.testing.assert_array_equal(made, rates(Scripted(verdict), responses))
