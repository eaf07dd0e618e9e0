"""`Problem`, `reward`, `RewardVector`: kinds, bounds, error propagation, pickling, selection, immutability."""

import dataclasses
import pickle

import numpy as np
import pytest

from llm_morl_rewards import Problem, RewardError, RewardVector, reward


@reward(low=0.0, high=10.0)
def length(problem, response):
    return float(len(response))


@reward(low=-1.0, high=1.0, kind="batch", name="sign")
def batch_sign(problems, responses):
    return np.array([1.0 if response else -1.0 for response in responses])


@reward(low=0.0, high=1.0, kind="group", name="first")
def first_of_group(problems, responses, group):
    return np.array([float(np.flatnonzero(group == g)[0] == row) for row, g in enumerate(group)])


def make(value, kind="pointwise", low=0.0, high=1.0):
    """A reward named "made" that always returns (or, called as a batch, repeats) ``value``."""

    @reward(low=low, high=high, kind=kind, name="made")
    def made(*arguments):
        return value

    return made


PROBLEMS = [Problem("a"), Problem("a"), Problem("b")]
RESPONSES = ["xyz", "", "z"]


class TestProblem:
    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Problem("a").prompt = "b"

    def test_later_change_of_the_callers_meta_does_not_reach_it(self):
        meta = {"gold": 1}
        problem = Problem("a", meta=meta)
        meta["gold"] = 2
        assert problem.meta == {"gold": 1}

    def test_prompt_that_is_no_text_is_named(self):
        with pytest.raises(TypeError, match=r"prompt=.*int: 3"):
            Problem(3)

    def test_pickles(self):
        problem = Problem("a", {"calls": []}, {"gold": "g"})
        assert pickle.loads(pickle.dumps(problem)) == problem


class TestReward:
    def test_declares_without_wrapping(self):
        assert (length.name, length.low, length.high, length.kind) == ("length", 0.0, 10.0, "pointwise")
        assert length(Problem("a"), "xy") == 2.0

    def test_given_name_wins(self):
        assert batch_sign.name == "sign"

    def test_callable_object_takes_the_name_of_its_class(self):
        class Constant:
            def __call__(self, problem, response):
                return 0.5

        assert reward(low=0.0, high=1.0)(Constant()).name == "Constant"

    @pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
    def test_refuses_bounds_that_are_none(self, low, high):
        with pytest.raises(ValueError, match="finite with low < high"):
            reward(low=low, high=high)

    def test_refuses_an_unknown_kind(self):
        with pytest.raises(ValueError, match=r"kind.*'listwise'"):
            reward(low=0.0, high=1.0, kind="listwise")


class TestRewardVector:
    def test_evaluates_all_kinds_in_order(self):
        vector = RewardVector([length, batch_sign, first_of_group])
        values = vector(PROBLEMS, RESPONSES, np.array([0, 0, 1]))
        np.testing.assert_array_equal(values, [[3.0, 1.0, 1.0], [0.0, -1.0, 0.0], [1.0, 1.0, 1.0]])
        assert values.dtype == np.float64
        assert vector.names == ("length", "sign", "first")
        assert [f.name for f in vector] == list(vector.names)
        assert len(vector) == 3
        np.testing.assert_array_equal(vector.low, [0.0, -1.0, 0.0])
        np.testing.assert_array_equal(vector.high, [10.0, 1.0, 1.0])

    def test_result_and_bounds_are_fresh(self):
        vector = RewardVector([length])
        first = vector(PROBLEMS, RESPONSES)
        first[:] = 7.0
        vector.low[:] = 7.0
        np.testing.assert_array_equal(vector(PROBLEMS, RESPONSES), [[3.0], [0.0], [1.0]])
        np.testing.assert_array_equal(vector.low, [0.0])

    def test_rewards_cannot_write_into_what_the_caller_holds(self):
        kept = np.zeros(3)

        @reward(low=0.0, high=1.0, kind="group", name="vandal")
        def vandal(problems, responses, group):
            assert isinstance(problems, tuple)
            assert isinstance(responses, tuple)
            group[:] = 99
            return kept

        group = np.array([0, 0, 1])
        RewardVector([vandal])(PROBLEMS, RESPONSES, group)[:] = 5.0
        np.testing.assert_array_equal(group, [0, 0, 1])
        np.testing.assert_array_equal(kept, 0.0)

    def test_no_rows(self):
        assert RewardVector([length, batch_sign])([], []).shape == (0, 2)

    def test_select_reorders_and_refuses(self):
        vector = RewardVector([length, batch_sign])
        assert vector.select(["sign", "length"]).names == ("sign", "length")
        assert vector.select(["sign"])(PROBLEMS, RESPONSES).shape == (3, 1)
        with pytest.raises(ValueError, match=r"unknown \['clarity'\]; known are \['length', 'sign'\]"):
            vector.select(["clarity"])
        with pytest.raises(ValueError, match="distinct"):
            vector.select(["sign", "sign"])
        with pytest.raises(ValueError, match="at least one"):
            vector.select([])

    def test_refuses_what_is_no_reward(self):
        with pytest.raises(TypeError, match=r"entry 1 .*lacks.*'low'"):
            RewardVector([length, len])

    def test_refuses_equal_names(self):
        with pytest.raises(ValueError, match="distinct"):
            RewardVector([length, length])

    def test_refuses_counts_that_differ(self):
        with pytest.raises(ValueError, match="3 problems for 2 responses"):
            RewardVector([length])(PROBLEMS, ["a", "b"])

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            RewardVector([length]).functions = ()

    def test_pickles(self):
        vector = RewardVector([length, batch_sign])
        loaded = pickle.loads(pickle.dumps(vector))
        np.testing.assert_array_equal(loaded(PROBLEMS, RESPONSES), vector(PROBLEMS, RESPONSES))


class TestErrors:
    def test_exception_names_reward_and_row_and_keeps_its_cause(self):
        @reward(low=0.0, high=1.0, name="picky")
        def picky(problem, response):
            return 1.0 / len(response)

        with pytest.raises(RewardError, match=r"'picky' failed on row 1: ZeroDivisionError") as caught:
            RewardVector([picky])(PROBLEMS, ["x", "", ""])
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    @pytest.mark.parametrize("kind", ["batch", "group"])
    def test_exception_in_a_whole_batch_names_the_reward(self, kind):
        @reward(low=0.0, high=1.0, kind=kind, name="judge")
        def judge(*arguments):
            raise TimeoutError("no answer")

        with pytest.raises(RewardError, match=r"'judge' failed on the batch of 3 rows: TimeoutError"):
            RewardVector([judge])(PROBLEMS, RESPONSES, np.zeros(3, dtype=np.int64))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.01])
    def test_value_outside_the_bounds_names_reward_and_row(self, value):
        with pytest.raises(RewardError, match=r"'made' returned .* on row 0.*\[0.0, 1.0\]"):
            RewardVector([make(value)])(PROBLEMS, RESPONSES)
        with pytest.raises(RewardError, match=r"'made' returned .* on row 2"):
            RewardVector([make([0.0, 1.0, value], kind="batch")])(PROBLEMS, RESPONSES)

    def test_rounding_is_clipped_into_the_bounds(self):
        assert RewardVector([make(1.0 + 1e-9)])(PROBLEMS, RESPONSES).max() == 1.0

    def test_wrong_shape_is_named(self):
        with pytest.raises(RewardError, match=r"shape \(3,\), got \(2,\)"):
            RewardVector([make([0.0, 1.0], kind="batch")])(PROBLEMS, RESPONSES)

    def test_group_reward_without_groups(self):
        with pytest.raises(ValueError, match="'first' is of kind 'group' and needs group="):
            RewardVector([first_of_group])(PROBLEMS, RESPONSES)


def in_capitals(problem):
    return problem.prompt.isupper()


@reward(low=-2.0, high=10.0, name="shout", applies=in_capitals)
def shout(problem, response):
    assert problem.prompt.isupper()
    return float(len(response))


@reward(low=0.0, high=1.0, kind="batch", name="share", applies=in_capitals)
def share(problems, responses):
    assert all(problem.prompt.isupper() for problem in problems)
    return np.full(len(problems), 1 / len(problems))


@reward(low=-1.0, high=9.0, kind="group", name="label", applies=in_capitals)
def label(problems, responses, group):
    assert len(problems) == len(responses) == len(group)
    return group.astype(float)


class TestApplies:
    PROBLEMS = (Problem("A"), Problem("b"), Problem("C"), Problem("d"))
    RESPONSES = ("x", "xx", "xxx", "")

    def test_where_it_does_not_apply_the_value_is_the_low_bound_and_nothing_is_called(self):
        vector = RewardVector([length, shout, share, label])
        values = vector(self.PROBLEMS, self.RESPONSES, np.array([4, 5, 6, 7]))
        np.testing.assert_array_equal(values, [[1, 1, 0.5, 4], [2, -2, 0, -1], [3, 3, 0.5, 6], [0, -2, 0, -1]])

    def test_mask(self):
        vector = RewardVector([length, shout])
        assert vector.masked
        assert not RewardVector([length, batch_sign]).masked
        mask = vector.mask(self.PROBLEMS)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, [[True, True], [True, False], [True, True], [True, False]])
        mask[:] = False
        assert vector.mask(self.PROBLEMS)[0].all()
        assert vector.mask([]).shape == (0, 2)
        assert RewardVector([length]).mask(self.PROBLEMS).all()

    @pytest.mark.parametrize("function", [share, label])
    def test_a_batch_without_applicable_rows_calls_nothing(self, function):
        values = RewardVector([function])([Problem("b")], ["x"], np.zeros(1, np.int64))
        assert values.tolist() == [[function.low]]

    def test_errors_name_the_row_of_the_whole_batch(self):
        @reward(low=0.0, high=1.0, name="bad", applies=in_capitals)
        def bad(problem, response):
            return 2.0 if response == "xxx" else 0.0

        with pytest.raises(RewardError, match=r"'bad' returned .* on row 2"):
            RewardVector([bad])(self.PROBLEMS, self.RESPONSES)

    def test_applies_must_answer_with_a_bool(self):
        @reward(low=0.0, high=1.0, name="vague", applies=lambda problem: None)
        def vague(problem, response):
            return 0.0

        with pytest.raises(RewardError, match="'vague': applies must return a bool, got None on row 0"):
            RewardVector([vague])(self.PROBLEMS, self.RESPONSES)

    def test_an_exception_in_applies_names_the_row(self):
        @reward(low=0.0, high=1.0, name="broken", applies=lambda problem: problem.meta["missing"])
        def broken(problem, response):
            return 0.0

        with pytest.raises(RewardError, match=r"'broken': applies failed on row 0: KeyError"):
            RewardVector([broken]).mask(self.PROBLEMS)

    def test_pickles(self):
        vector = pickle.loads(pickle.dumps(RewardVector([shout, share])))
        np.testing.assert_array_equal(vector.mask(self.PROBLEMS)[:, 0], [True, False, True, False])
