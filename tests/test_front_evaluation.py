from __future__ import annotations

import warnings

import numpy as np
import pytest
from front_policies import CoinPolicy, FixedPolicy

from llm_morl_agents.fronts.evaluation import EPISODES, Scene, evaluate_front
from llm_morl_env.metrics import expected_utility, hypervolume, igd_plus, maximum_utility_loss

DENT = "DentFront-MO-v0"
#: Problems of its evaluation split are many, and objectives differ in their bounds.
TOOL = "ToolCall-MO-v0"


def test_every_policy_answers_the_same_problems_once_for_each_seed():
    policies = [CoinPolicy(str(i), (0.5, 0.5, 0.5)) for i in range(3)]
    evaluation = evaluate_front(policies, TOOL, n_episodes=40, seeds=(3, 7), env_kwargs={"difficulty": "easy"})
    asked = {tuple(policy.asked) for policy in policies}
    assert asked == {((tuple(range(40)), "eval", 3), (tuple(range(40)), "eval", 7))}
    assert evaluation.returns.shape == (3, 2, 40, 3)
    assert evaluation.problems.tolist() == list(range(40))


def test_a_small_split_is_taken_in_whole_passes():
    assert Scene.of(DENT).problems(30, "eval").tolist() == [0] * 30
    split = Scene.of("ContextFront-MO-v0")
    assert split.task is not None
    size = len(split.task.with_split("eval"))
    problems = split.problems(size + 1, "eval")
    assert np.bincount(problems).tolist() == [2] * size


def test_means_and_measures_of_policies_without_noise():
    points = [(0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (0.2, 0.2)]
    policies = [FixedPolicy(str(i), point) for i, point in enumerate(points)]
    evaluation = evaluate_front(policies, DENT, n_episodes=30)
    np.testing.assert_allclose(evaluation.means, points)
    np.testing.assert_allclose(evaluation.intervals[0], points)
    assert evaluation.best.tolist() == [True, True, True, False]
    assert evaluation.front is not None
    expected = {
        "hypervolume": hypervolume(points, 0.0),
        "hypervolume_held_out": hypervolume(points, 0.0),
        "expected_utility": expected_utility(points, evaluation.conditions),
        "expected_utility_held_out": expected_utility(points, evaluation.conditions),
        "igd_plus": igd_plus(points, evaluation.front),
        "maximum_utility_loss": maximum_utility_loss(points, evaluation.front, evaluation.conditions),
    }
    assert evaluation.measures.keys() == expected.keys()
    for name, value in expected.items():
        found = evaluation.measures[name]
        np.testing.assert_allclose((found.value, found.low, found.high), value, atol=1e-12, err_msg=name)


def test_volumes_are_those_of_objectives_scaled_by_their_bounds():
    """Correctness of the tool-call task lies in [-3, 3]."""
    evaluation = evaluate_front([FixedPolicy("a", (0.5, 0.0, 1.0))], TOOL, n_episodes=30)
    assert evaluation.low.tolist() == [0.0, -3.0, 0.0]
    assert evaluation.measures["hypervolume"].value == pytest.approx(0.25)
    nearer = evaluate_front([FixedPolicy("a", (0.5, 0.0, 1.0))], TOOL, n_episodes=30, reference=[0.25, 0.0, 0.5])
    assert nearer.measures["hypervolume"].value == pytest.approx(0.25 * 0.5 * 0.5)
    assert nearer.below_reference == 0
    assert evaluate_front([FixedPolicy("a", (0.5, -3.0, 1.0))], TOOL, n_episodes=30).below_reference == 1


def test_served_utility_is_that_of_each_weights_own_policy():
    corners = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    crossed = [FixedPolicy("a", (0.2, 0.8), weights=corners[0]), FixedPolicy("b", (0.7, 0.3), weights=corners[1])]
    evaluation = evaluate_front(crossed, DENT, n_episodes=30, weights=corners)
    assert evaluation.measures["served_utility"].value == pytest.approx((0.2 + 0.3) / 2)
    assert evaluation.measures["expected_utility"].value == pytest.approx((0.7 + 0.8) / 2)
    without = evaluate_front([*crossed, FixedPolicy("c", (0.1, 0.1))], DENT, n_episodes=30, weights=corners)
    assert "served_utility" not in without.measures


def test_the_claim_of_a_lucky_episode_shows_as_optimism():
    """An archive that keeps the best of 20 single episodes of one and the same coin claims the ideal point."""
    generator = np.random.default_rng(0)
    policies = []
    for i in range(20):
        lucky = (generator.random((20, 2)) < 0.5).astype(np.float64)
        policies.append(CoinPolicy(str(i), (0.5, 0.5), claimed=lucky[lucky.sum(axis=1).argmax()]))
    evaluation = evaluate_front(policies, DENT, n_episodes=200)
    assert evaluation.claimed_hypervolume == pytest.approx(1.0)
    assert evaluation.optimism is not None
    assert evaluation.optimism > 0.6
    plain, held_out = (evaluation.measures[name].value for name in ("hypervolume", "hypervolume_held_out"))
    assert 0.25 < held_out < plain < 0.4


def test_there_is_no_optimism_without_a_claim_of_every_policy():
    policies = [FixedPolicy("a", (0.5, 0.5), claimed=np.array([1.0, 1.0])), FixedPolicy("b", (0.2, 0.2))]
    evaluation = evaluate_front(policies, DENT, n_episodes=30)
    assert evaluation.claimed_hypervolume is None
    assert evaluation.optimism is None


def test_choosing_and_valuing_on_the_same_problems_flatters_and_held_out_numbers_do_not():
    """Ten equal coins: their true expected utility is 1/2 for every weight."""
    plain, held_out = [], []
    for repeat in range(20):
        policies = [CoinPolicy(f"{repeat}-{i}", (0.5, 0.5)) for i in range(10)]
        measures = evaluate_front(policies, DENT, n_episodes=60, resamples=2).measures
        plain.append(measures["expected_utility"].value - 0.5)
        held_out.append(measures["expected_utility_held_out"].value - 0.5)
    assert np.mean(plain) > 0.05
    assert abs(np.mean(held_out)) < 0.015  # three standard errors


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = np.array([[0.2, 0.9], [0.6, 0.5]])
    covered, volumes = [], []
    for repeat in range(40):
        policies = [CoinPolicy(f"{repeat}-{i}", tuple(mean)) for i, mean in enumerate(truth.tolist())]
        evaluation = evaluate_front(policies, DENT, n_episodes=60, resamples=120)
        low, high = evaluation.intervals
        covered.append((low <= truth) & (truth <= high))
        found = evaluation.measures["hypervolume"]
        volumes.append(found.low <= hypervolume(truth, 0.0) <= found.high)
    assert 0.87 < np.mean(covered) < 0.99
    assert np.mean(volumes) > 0.8


def test_more_seeds_shorten_the_intervals_of_policies_that_draw():
    def width(seeds: range) -> float:
        evaluation = evaluate_front([CoinPolicy("a", (0.5, 0.5))], DENT, n_episodes=100, seeds=seeds)
        low, high = evaluation.intervals
        return float((high - low).mean())

    assert width(range(9)) == pytest.approx(width(range(1)) / 3, rel=0.25)


def test_the_same_call_gives_the_same_numbers():
    first, second = (
        evaluate_front([CoinPolicy("a", (0.3, 0.6)), CoinPolicy("b", (0.6, 0.3))], DENT, n_episodes=50, resamples=100)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.returns, second.returns)
    for name, found in first.measures.items():
        np.testing.assert_array_equal(found.replicates, second.measures[name].replicates)


def test_objectives_that_do_not_apply_are_left_out():
    """Only some problems of the mixture have each objective, and a policy's number for the others means nothing."""
    scene = Scene.of("Mixture-MO-v0")
    problems = scene.problems(40, "eval")
    applies = scene.applies(problems, "eval")
    assert not applies.all()
    assert applies.any(axis=0).all()
    evaluation = evaluate_front([FixedPolicy("top", tuple(scene.high))], "Mixture-MO-v0", n_episodes=40)
    np.testing.assert_array_equal(np.isnan(evaluation.returns[0, 0]), ~applies)
    np.testing.assert_allclose(evaluation.means[0], scene.high)


def test_few_episodes_warn():
    with pytest.warns(UserWarning, match="fewer than 30 episodes"):
        evaluate_front([FixedPolicy("a", (0.5, 0.5, 0.5))], TOOL, n_episodes=10, seeds=(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_front([FixedPolicy("a", (0.5, 0.5, 0.5))], TOOL, n_episodes=10, seeds=(0, 1, 2))
    assert EPISODES >= 30


@pytest.mark.parametrize(
    ("policies", "more", "message"),
    [
        ((), {}, "at least one policy"),
        (("a", "a"), {}, "labels must be distinct"),
        (("a",), {"n_episodes": 3}, "n_episodes"),
        (("a",), {"seeds": ()}, "seeds"),
        (("a",), {"seeds": (1, 1)}, "seeds"),
        (("a",), {"level": 1.0}, "level"),
        (("a",), {"weights": [[0.5, 0.6]]}, "weights"),
        (("a",), {"weights": [[1.0]]}, "weights"),
        (("a",), {"split": "nowhere"}, "split"),
    ],
)
def test_what_makes_no_sense_is_refused(policies, more, message):
    with pytest.raises(ValueError, match=message):
        evaluate_front([FixedPolicy(label, (0.5, 0.5)) for label in policies], DENT, **more)


@pytest.mark.parametrize(
    ("mean", "message"), [((0.5, 1.5), "objective 'b' must lie in"), ((0.5,), "shape"), ((0.5, np.nan), "'b'")]
)
def test_returns_of_another_scale_are_refused(mean, message):
    with pytest.raises(ValueError, match=message):
        evaluate_front([FixedPolicy("a", mean)], DENT, n_episodes=30)


def test_arguments_of_views_are_ignored():
    kwargs = {"view": "token", "obs_mode": "onehot", "length": 4}
    evaluation = evaluate_front([FixedPolicy("a", (0.5, 0.5))], DENT, n_episodes=30, env_kwargs=kwargs)
    assert evaluation.front is not None
    assert len(evaluation.front) == 5
