"""`rubric_rewards`: the three aggregations, gates, polarity, kinds, errors, pickles, and training environments."""

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_env import make_text_vec
from llm_morl_rewards import Problem, RewardError
from llm_morl_rewards.judge import CachedJudge, DeterministicJudge, JudgeError
from llm_morl_rewards.rubric import Criterion, Rubric, RubricError
from llm_morl_rewards.rubric_rewards import aggregate_scores, rubric_rewards

RUBRIC = Rubric(
    [
        Criterion("brief", "check", check="max_words", parameters={"count": 6}, hard=True, group="form"),
        Criterion("polite", "check", check="contains", parameters={"texts": ["please", "thank"]}, group="form"),
        Criterion("detail", "question", question="Does it give more detail?", weight=3, group="form"),
        Criterion("blunt", "question", question="Is it blunt?", polarity=-1),
        Criterion("loud", "check", check="count_between", parameters={"text": "!", "low": 1}, polarity=-1),
    ]
)
JUDGE = DeterministicJudge({"detail": "longer", "blunt": "shorter"})
PROBLEMS = [Problem("Ask for tea.")] * 4
RESPONSES = ["tea", "Tea, please!", "some tea, please, thank you", "I would like to have some tea now"]
GROUP = np.zeros(4, np.int64)
#: Words 1, 2, 5, 8: "detail" in thirds; "blunt" is the shorter one, a fault; brief fails in the last.
CRITERIA = {
    "brief": [1, 1, 1, 0],
    "polite": [0, 0.5, 1, 0],
    "detail": [0, 1 / 3, 2 / 3, 1],
    "blunt": [0, 1 / 3, 2 / 3, 1],
    "loud": [1, 0, 1, 1],
}
FORM = np.array([1, 1, 1, 0]) * (np.array(CRITERIA["polite"]) + 3 * np.array(CRITERIA["detail"])) / 4
TOTAL = [1, 1, 1, 0] * (4 * FORM + CRITERIA["blunt"] + CRITERIA["loud"]) / 6


class Counted:
    """Counts what a judge is asked."""

    identity, concurrency = "counted", 1

    def __init__(self):
        self.asked = Counter()

    def __call__(self, questions, problem, response_a, response_b):
        self.asked[tuple(questions), response_a, response_b] += 1
        return JUDGE(questions, problem, response_a, response_b)


class TestAggregations:
    def test_criteria(self):
        rewards = rubric_rewards(RUBRIC, JUDGE)
        assert rewards.names == tuple(CRITERIA)
        assert [f.kind for f in rewards] == ["pointwise", "pointwise", "group", "group", "pointwise"]
        assert (rewards.low.tolist(), rewards.high.tolist()) == ([0.0] * 5, [1.0] * 5)
        made = rewards(PROBLEMS, RESPONSES, GROUP)
        np.testing.assert_allclose(made, np.array(list(CRITERIA.values())).T, atol=1e-12)

    def test_groups(self):
        rewards = rubric_rewards(RUBRIC, JUDGE, "groups")
        assert rewards.names == ("form", "blunt", "loud")
        made = rewards(PROBLEMS, RESPONSES, GROUP)
        np.testing.assert_allclose(made.T, [FORM, CRITERIA["blunt"], CRITERIA["loud"]], atol=1e-12)
        assert made[3, 0] == 0.0
        assert made[3, 1] == 1.0  # a gate floors its own group only

    def test_total(self):
        rewards = rubric_rewards(RUBRIC, JUDGE, "total")
        assert rewards.names == ("total",)
        np.testing.assert_allclose(rewards(PROBLEMS, RESPONSES, GROUP)[:, 0], TOTAL, atol=1e-12)

    def test_gates_alone(self):
        length = {"check": "max_words", "hard": True, "group": "g"}
        rubric = Rubric(
            [Criterion(name, "check", parameters={"count": n}, **length) for name, n in [("a", 1), ("b", 2)]]
        )
        rewards = rubric_rewards(rubric, aggregate="groups")
        assert rewards(PROBLEMS[:3], ["x", "x y", "x y z"]).ravel().tolist() == [1.0, 0.0, 0.0]

    @given(
        scores=st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=5),
        weights=st.lists(st.floats(1e-300, 1e300), min_size=4, max_size=4),
        hard=st.lists(st.booleans(), min_size=4, max_size=4),
    )
    def test_between_the_least_and_the_greatest(self, scores, weights, hard):
        criteria = [
            Criterion(str(i), "check", check=len, weight=w, hard=h)
            for i, (w, h) in enumerate(zip(weights, hard, strict=True))
        ]
        given_scores = np.array(scores)
        made = aggregate_scores(given_scores, criteria)
        gate, soft = (given_scores[:, hard] == 1).all(axis=1), given_scores[:, ~np.array(hard)]
        assert (made[~gate] == 0).all()
        if soft.shape[1]:
            assert (made[gate] >= soft[gate].min(axis=1, initial=1) - 1e-9).all()
            assert (made[gate] <= soft[gate].max(axis=1, initial=0) + 1e-9).all()
        else:
            np.testing.assert_array_equal(made, gate)

    @given(st.lists(st.text(max_size=30), min_size=4, max_size=4))
    def test_bounds_and_determinism(self, responses):
        for aggregate in ("criteria", "groups", "total"):
            rewards = rubric_rewards(RUBRIC, JUDGE, aggregate)
            made = rewards(PROBLEMS, responses, GROUP)
            assert ((made >= 0) & (made <= 1)).all()
            np.testing.assert_array_equal(made, rewards(PROBLEMS, responses, GROUP))


class TestComparisons:
    def test_a_pair_is_compared_once_for_all_questions(self):
        judge = Counted()
        rewards = rubric_rewards(RUBRIC, judge)
        rewards(PROBLEMS, RESPONSES, GROUP)
        assert sum(judge.asked.values()) == len(judge.asked) == 12
        assert {questions for questions, _, _ in judge.asked} == {("detail", "blunt")}

    @pytest.mark.parametrize("change", ["response", "problem", "group"])
    def test_another_batch_is_compared_anew(self, change):
        judge = Counted()
        rewards = rubric_rewards(RUBRIC, judge)
        rewards(PROBLEMS, RESPONSES, GROUP)
        problems = [Problem("Ask for milk.")] * 4 if change == "problem" else PROBLEMS
        responses = ["milk", *RESPONSES[1:]] if change == "response" else RESPONSES
        group = np.array([0, 0, 1, 1]) if change == "group" else GROUP
        made = rewards(problems, responses, group)
        assert sum(judge.asked.values()) > 12
        np.testing.assert_array_equal(made, rubric_rewards(RUBRIC, JUDGE)(problems, responses, group))

    def test_options(self):
        judge = Counted()
        rubric_rewards(RUBRIC, judge, both_orders=False)(PROBLEMS, RESPONSES, GROUP)
        assert sum(judge.asked.values()) == 6
        judge = Counted()
        rubric_rewards(RUBRIC, judge, opponents=2)(PROBLEMS, RESPONSES, GROUP)
        assert sum(judge.asked.values()) == 8

    def test_what_it_returns_is_fresh(self):
        rewards = rubric_rewards(RUBRIC, JUDGE)
        before = rewards(PROBLEMS, RESPONSES, GROUP)
        rewards(PROBLEMS, RESPONSES, GROUP)[:] = -1
        np.testing.assert_array_equal(rewards(PROBLEMS, RESPONSES, GROUP), before)


class TestReference:
    PROBLEMS = tuple(Problem("Ask for tea.", meta={"gold": "some tea, thank you"}) for _ in RESPONSES)

    def test_values_without_groups(self):
        rewards = rubric_rewards(RUBRIC, JUDGE, reference="gold")
        assert [f.kind for f in rewards] == ["pointwise", "pointwise", "batch", "batch", "pointwise"]
        made = rewards(self.PROBLEMS, RESPONSES)
        assert made[:, 2].tolist() == made[:, 3].tolist() == [0.0, 0.0, 1.0, 1.0]

    def test_one_response_alone_has_a_value(self):
        rewards = rubric_rewards(RUBRIC, JUDGE, "total", reference="gold")
        assert rewards(self.PROBLEMS[:1], ["some tea, thank you"])[0, 0] == pytest.approx(3.5 / 6)

    def test_problem_without_one(self):
        with pytest.raises(RewardError, match=r"reference='gold'\).*got None"):
            rubric_rewards(RUBRIC, JUDGE, reference="gold")(PROBLEMS, RESPONSES)

    def test_has_no_opponents(self):
        with pytest.raises(ValueError, match="opponents=2 are of the group"):
            rubric_rewards(RUBRIC, JUDGE, reference="gold", opponents=2)


class TestFaults:
    def test_questions_need_a_judge(self):
        with pytest.raises(ValueError, match=r"judge=\) is needed for the questions \['detail', 'blunt'\]"):
            rubric_rewards(RUBRIC)

    @pytest.mark.parametrize(
        ("options", "rule"),
        [
            ({"aggregate": "sum"}, r"aggregate=\) must be one of .*, got 'sum'"),
            ({"on_timeout": "zero"}, r"on_timeout=\) must be one of .*, got 'zero'"),
            ({"opponents": 0}, "opponents must be at least 1, got 0"),
        ],
    )
    def test_options(self, options, rule):
        with pytest.raises(ValueError, match=rule):
            rubric_rewards(RUBRIC, JUDGE, **options)

    def test_imports_fail_before_training(self):
        with pytest.raises(RubricError, match="criterion 'own': field 'check'"):
            rubric_rewards(Rubric([Criterion("own", "check", check="no_such_module:f")]))

    def test_groups_are_needed(self):
        with pytest.raises(ValueError, match="batched environment"):
            rubric_rewards(RUBRIC, JUDGE)(PROBLEMS, RESPONSES)

    @pytest.mark.parametrize("aggregate", ["criteria", "groups", "total"])
    def test_failure_of_the_judge_is_never_a_zero(self, aggregate):
        class Down:
            identity, concurrency = "down", 1

            def __call__(self, questions, problem, response_a, response_b):
                raise JudgeError("no answer", criteria=[*questions], status=503)

        with pytest.raises(RewardError, match=r"criteria 'detail', 'blunt'; rows \d and \d; HTTP status 503") as caught:
            rubric_rewards(RUBRIC, Down(), aggregate)(PROBLEMS, RESPONSES, GROUP)
        assert isinstance(caught.value.__cause__, JudgeError)

    @pytest.mark.parametrize("aggregate", ["criteria", "groups", "total"])
    @pytest.mark.parametrize("question", [False, True])
    def test_a_pattern_without_end_names_criterion_and_row(self, aggregate, question):
        slow = {"pattern": "(a|aa)+$", "timeout_s": 0.02}
        criteria = [Criterion("slow", "check", check="matches", parameters=slow, group="g")]
        criteria += [Criterion("blunt", "question", question="Is it blunt?", group="g")] if question else []
        responses = ["a", "a" * 60 + "!", "b", "c"]
        with pytest.raises(RewardError, match=r"row 1: .*criterion 'slow': the pattern"):
            rubric_rewards(Rubric(criteria), JUDGE, aggregate)(PROBLEMS, responses, GROUP)
        floored = rubric_rewards(Rubric(criteria), JUDGE, aggregate, on_timeout="floor")
        made = floored(PROBLEMS, responses, GROUP)
        assert made[0, 0] > made[1, 0]


class TestPickle:
    @pytest.mark.parametrize("aggregate", ["criteria", "groups", "total"])
    def test_rewards(self, aggregate, tmp_path):
        rewards = rubric_rewards(RUBRIC, CachedJudge(JUDGE, tmp_path / "v.jsonl"), aggregate)
        expected = rewards(PROBLEMS, RESPONSES, GROUP)
        loaded = pickle.loads(pickle.dumps(rewards))
        np.testing.assert_array_equal(loaded(PROBLEMS, RESPONSES, GROUP), expected)

    def test_the_objectives_of_a_copy_share_their_comparisons(self):
        loaded = pickle.loads(pickle.dumps(rubric_rewards(RUBRIC, JUDGE)))
        assert loaded.functions[2].comparisons is loaded.functions[3].comparisons
        first, second = loaded.select(["detail"]), rubric_rewards(RUBRIC, JUDGE)
        assert (first(PROBLEMS, RESPONSES, GROUP)[:, 0] == second(PROBLEMS, RESPONSES, GROUP)[:, 2]).all()


class TestEnvironment:
    def test_end_to_end(self):
        """Two groups of four; the environment's rewards are those of the rubric, group by group."""
        judge = Counted()
        envs = make_text_vec(
            ["Ask for tea.", "Ask for milk."],
            rubric_rewards(RUBRIC, judge),
            num_envs=8,
            group_size=4,
        )
        envs.reset(seed=0)
        responses = [*RESPONSES, *RESPONSES[::-1]]
        _, rewards, *_, info = envs.step(responses)
        expected = np.array(list(CRITERIA.values())).T
        np.testing.assert_allclose(rewards, np.concatenate([expected, expected[::-1]]), atol=1e-6)
        assert envs.unwrapped.objective_names == tuple(CRITERIA)
        assert sum(judge.asked.values()) == 24
        np.testing.assert_allclose(info["reward_components"]["detail"].reshape(2, 4).mean(axis=1), 0.5)

    def test_failure_stops_the_step(self):
        def down(problem, response):
            raise ConnectionError("no route")

        judge = DeterministicJudge({"detail": down, "blunt": "shorter"})
        envs = make_text_vec(["Ask for tea."], rubric_rewards(RUBRIC, judge), num_envs=2, group_size=2)
        envs.reset(seed=0)
        with pytest.raises(RewardError, match=r"'detail' failed.*no route"):
            envs.step(["tea", "tea please"])
