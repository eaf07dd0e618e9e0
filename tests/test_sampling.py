"""Temperature, Cooldown and up-weighting: shares, draws, and the two ways' gradients compared."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_env import expressions
from llm_morl_env.sampling import SAMPLING, Cooldown, MixtureSampler, Temperature, shares_of, tempered
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.tasks.mixed_problems import MixedProblems, tagged
from llm_morl_env.tasks.mixture import mixture_task
from llm_morl_rewards import Problem, reward

WEIGHTS = (0.7, 0.2, 0.1)


@reward(low=0.0, high=1.0)
def right(problem, response):
    return float(response == problem.target)


def small(name, n):
    return text_task([Problem(f"{name} {i}", "x") for i in range(n)], [right], name=name)


def mixture(sizes=(70, 70, 70), weights=WEIGHTS, **kwargs):
    names = "abc"[: len(sizes)]
    tasks = {name: small(name, n) for name, n in zip(names, sizes, strict=True)}
    return mixture_task(dict(zip(names, weights, strict=True)), tasks=tasks, **kwargs)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5), st.floats(0.05, 50.0))
def test_shares_are_a_distribution_in_the_order_of_the_weights(weights, tau):
    shares = tempered(weights, tau)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= 0).all()
    assert (np.diff(shares[np.argsort(weights)]) >= -1e-12).all()


def test_temperatures_at_the_ends():
    np.testing.assert_allclose(tempered(WEIGHTS, 1.0), WEIGHTS)
    np.testing.assert_allclose(tempered(WEIGHTS, float("inf")), 1 / 3)
    powers = np.array(WEIGHTS) ** (1 / 3)
    np.testing.assert_allclose(tempered(WEIGHTS, 3.0), powers / powers.sum())
    assert np.isfinite(tempered([1e-300, 1.0], 0.01)).all()


def test_cooldown_is_a_temperature_that_falls():
    linear = Cooldown(5.0, end=2.0, over=0.5)
    for t, tau in ((0.0, 5.0), (0.25, 3.5), (0.5, 2.0), (1.0, 2.0)):
        np.testing.assert_allclose(linear.shares(WEIGHTS, t), tempered(WEIGHTS, tau))
    step = Cooldown(5.0, over=0.5, shape="step")
    assert [step.tau(t) for t in (0.0, 0.49, 0.5, 1.0)] == [5.0, 5.0, 1.0, 1.0]
    assert linear.scheduled
    assert not Temperature().scheduled


def drawn(task, count, seed=0, progress=0.0):
    indices = task.sampler.draw(task, count, np.random.default_rng(seed), progress)
    return [task[i] for i in indices]


def shares_drawn(problems):
    names = [problem.meta["task"] for problem in problems]
    return np.array([names.count(name) for name in "abc"]) / len(names)


@pytest.mark.parametrize("tau", [1.0, 3.0, 0.5])
def test_draws_have_the_shares(tau):
    task, n = mixture((5000, 5000, 5000), sampling=Temperature(tau)), 6000
    expected = tempered(WEIGHTS, tau)
    assert (np.abs(shares_drawn(drawn(task, n)) - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


def test_draws_follow_the_progress_and_evaluations_the_weights():
    task = mixture((5000, 5000, 5000), sampling=Cooldown(1e6))
    assert task.sampler.scheduled
    np.testing.assert_allclose(shares_drawn(drawn(task, 6000)), 1 / 3, atol=0.03)
    np.testing.assert_allclose(shares_drawn(drawn(task, 6000, progress=1.0)), WEIGHTS, atol=0.03)
    np.testing.assert_allclose(shares_drawn(drawn(task.with_split("eval"), 6000)), WEIGHTS, atol=0.03)


def test_draws_are_distinct_reproducible_and_reach_every_problem():
    task = mixture((40, 7, 90))
    first = [problem.prompt for problem in drawn(task, 12)]
    assert first == [problem.prompt for problem in drawn(task, 12)]
    assert first != [problem.prompt for problem in drawn(task, 12, seed=1)]
    for seed in range(50):
        prompts = [problem.prompt for problem in drawn(task, 6, seed=seed)]
        assert len(set(prompts)) == 6
    seen = {problem.prompt for seed in range(150) for problem in drawn(task, 30, seed=seed)}
    assert len(seen) == 40 + 7 + 90


def test_a_slice_is_drawn_from_too():
    part = mixture()[:20]
    assert len(part) == 20
    np.testing.assert_allclose(shares_drawn(drawn(part, 6000)), WEIGHTS, atol=0.03)
    only = part[2:3]
    assert {problem.prompt for problem in drawn(only, 5)} == {only[0].prompt}


def test_loss_weights_are_ratios_of_shares():
    task = mixture(upweight=Temperature(2.0))
    problems = [next(p for p in task if p.meta["task"] == name) for name in "abc"]
    np.testing.assert_allclose(task.sampler.loss_weights(problems, 0.0), tempered(WEIGHTS, 2.0) / WEIGHTS)
    both = mixture(sampling=Temperature(3.0), upweight=Cooldown(2.0)).sampler
    expected = tempered(WEIGHTS, 1.5) / tempered(WEIGHTS, 3.0)
    np.testing.assert_allclose(both.loss_weights(problems, 0.5), expected)
    assert both.scheduled
    assert both.upweights
    plain = mixture().sampler
    assert not plain.upweights
    np.testing.assert_array_equal(plain.loss_weights(problems, 0.0), 1.0)


def test_upweighting_has_the_same_expected_gradient_and_a_larger_variance():
    """Li et al. 2024: one gradient a task, of equal size in directions of their own; tau = 3."""
    gradients = np.eye(3)
    target, n = tempered(WEIGHTS, 3.0), 200_000
    rng = np.random.default_rng(0)
    by_sampling = gradients[rng.choice(3, n, p=target)]
    names = rng.choice(3, n, p=WEIGHTS)
    sampler = MixtureSampler(("a", "b", "c"), WEIGHTS, upweight=Temperature(3.0))
    weights = sampler.loss_weights([Problem("", meta={"task": "abc"[i]}) for i in range(3)], 0.0)
    by_weight = gradients[names] * weights[names, None]
    np.testing.assert_allclose(by_sampling.mean(axis=0), target, atol=0.01)
    np.testing.assert_allclose(by_weight.mean(axis=0), target, atol=0.01)
    sampled, weighted = by_sampling.var(axis=0).sum(), by_weight.var(axis=0).sum()
    # Exactly: 1 - |p|^2 against sum p^2 / w - |p|^2.
    assert sampled == pytest.approx(1 - (target**2).sum(), rel=0.02)
    assert weighted == pytest.approx((target**2 / WEIGHTS).sum() - (target**2).sum(), rel=0.02)
    assert weighted > 1.3 * sampled


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.booleans(),
)
def test_mixed_problems(sizes, seed, repeat):
    """Shares of every beginning, every part, and the place of each problem."""
    raw = np.random.default_rng(seed).uniform(0.05, 1.0, len(sizes))
    shares = (raw / raw.sum()).tolist()
    parts = [tagged(str(c), [Problem(str(i)) for i in range(n)]) for c, n in enumerate(sizes)]
    mixed = MixedProblems(parts, shares, repeat=repeat)
    tasks = [int(problem.meta["task"]) for problem in mixed]
    counts = np.cumsum(np.eye(len(sizes))[tasks], axis=0)
    expected = np.arange(1, len(mixed) + 1)[:, None] * np.array(shares)
    assert np.abs(counts - expected).max() < len(sizes)
    for c, part in enumerate(parts):
        assert mixed.count(c) == tasks.count(c) >= 1
        shown = [problem.prompt for problem in mixed if problem.meta["task"] == str(c)]
        if repeat:
            assert set(shown) == {problem.prompt for problem in part}
        for number in range(mixed.count(c)):
            problem = mixed[mixed.index_of(c, number)]
            assert (problem.meta["task"], problem.prompt) == (str(c), str(number % len(part)))


def test_a_rare_task_is_there():
    parts = [[Problem("a")] * 100_000, [Problem("b")] * 100_000]
    mixed = MixedProblems(parts, (1 - 2e-4, 2e-4))
    assert mixed.count(1) == pytest.approx(2e-4 * len(mixed), abs=2)
    assert mixed[mixed.index_of(1, 3)].prompt == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("temperature(tau=2.0)", Temperature(2.0)), ("cooldown(start=5.0, over=0.5)", Cooldown(5.0, over=0.5))],
)
def test_as_text_and_as_mapping(text, expected):
    assert shares_of(text, "sampling=") == expected == pickle.loads(pickle.dumps(expected))
    assert expressions.describe(expected, SAMPLING) == text
    name, options = expressions.parse(text, SAMPLING)
    assert shares_of({"shares": name, **options}, "sampling=") == expected


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Temperature(0.0), ValueError, r"Temperature\(tau=\) must be above 0, got 0.0"),
        (lambda: Temperature(float("nan")), ValueError, "got nan"),
        (lambda: Cooldown(-1.0), ValueError, r"Cooldown\(start=\) must be finite and above 0, got -1.0"),
        (lambda: Cooldown(2.0, over=0.0), ValueError, r"Cooldown\(over=\) must lie in \(0, 1\], got 0.0"),
        (lambda: Cooldown(2.0, shape="cosine"), ValueError, r"Cooldown\(shape=\) must be one of .*'cosine'"),
        (lambda: shares_of("warm(tau=2)", "sampling="), ValueError, "unknown name 'warm'"),
        (lambda: shares_of({"tau": 2}, "sampling="), ValueError, "'shares' must be one of"),
        (lambda: shares_of(3, "upweight="), TypeError, "upweight= must be a Temperature"),
    ],
)
def test_wrong_options_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
