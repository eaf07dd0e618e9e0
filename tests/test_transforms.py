"""Noisy and saturated objectives, and what holds for all transforms: order, ids and views, plain values."""

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from shaping_task import easy, hard, judge, make, some

from llm_morl_env import expressions, make_env, make_task
from llm_morl_env.registration import DIALOGUE_VIEWS, IDS, VIEWS
from llm_morl_env.testing import check_mo_env
from llm_morl_env.transforms import (
    TRANSFORMS,
    GateObjective,
    NoisyObjective,
    PreferenceInPrompt,
    SaturatedObjective,
    ScaleToUnit,
    Widened,
    transform_of,
)

MIXED = (NoisyObjective(scale=0.25), SaturatedObjective(jitter=0.1))


def scores(task, n, seed=0, response="ab"):
    """Rewards (n, K) of one response, again and again."""
    return task.score([task[0]] * n, [response] * n, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["toolcall", "toolcall-multiturn", "mixture", "dentfront", "contextfront"])
def test_tasks_of_every_sort_keep_the_contract_in_every_view(name, view):
    """One turn, dialogues, objectives that do not always apply, fronts; what a transform meets is not the subject."""
    if name == "toolcall-multiturn" and view not in DIALOGUE_VIEWS:
        view = "text"
    first = make_task(name).rewards.names[0]
    transforms = [*MIXED, NoisyObjective(on=first)]
    kwargs = {"max_response_tokens": 4} if view in ("token", "index") and not name.endswith("front") else {}
    kwargs |= {"max_turns": 2} if name == "toolcall-multiturn" else {}
    check_mo_env(lambda: make_env(task=name, view=view, transforms=transforms, **kwargs), n_steps=20)


@pytest.mark.parametrize("env_id", IDS)
def test_through_gymnasium(env_id):
    env = gym.make(env_id, view="text", transforms=MIXED)
    plain = gym.make(env_id, view="text").unwrapped
    assert env.unwrapped.objective_names == (*plain.objective_names, "noise", "saturated")
    envs = gym.make_vec(env_id, num_envs=4, group_size=2, transforms=MIXED)
    envs.reset(seed=3)
    first = envs.step(["ab"] * 4)[1]
    envs.reset(seed=3)
    np.testing.assert_array_equal(envs.step(["ab"] * 4)[1], first)
    assert len(set(first[:, -2])) == 4  # noise of its own for each response
    assert len(set(first[:, -1])) == 1  # the same text, the same jitter
    envs.reset(seed=4)
    assert (envs.step(["ab"] * 4)[1][:, -2] != first[:, -2]).all()


def test_noise_is_bounded_unbiased_and_never_clipped():
    task = NoisyObjective(scale=0.25)(make_task("dentfront"))
    noise = scores(task, 20_000)[:, 2]
    assert np.abs(noise).max() <= 0.25
    assert abs(noise.mean()) < 4 * 0.25 / np.sqrt(3 * 20_000)
    assert noise.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.02)
    assert (task.rewards.low[2], task.rewards.high[2]) == (-0.25, 0.25)


@pytest.mark.parametrize("response", ["", "bbbbbb"])
def test_noise_on_an_objective_keeps_its_mean_at_either_bound(response):
    plain = make_task("dentfront")
    task = NoisyObjective(on="b", scale=0.5)(plain)
    assert task.rewards.names == ("a", "b")
    assert (task.rewards.low.tolist(), task.rewards.high.tolist()) == ([0, -0.5], [1, 1.5])
    noisy = scores(task, 20_000, response=response)
    expected = plain.score([plain[0]], [response])[0]
    assert (noisy[:, 0] == expected[0]).all()
    assert noisy[:, 1].mean() == pytest.approx(expected[1], abs=4 * 0.5 / np.sqrt(3 * 20_000))
    assert np.ptp(noisy[:, 1]) == pytest.approx(1.0, rel=0.01)
    np.testing.assert_array_equal(task.pareto_front(), plain.pareto_front())


def test_two_noises_are_drawn_in_order():
    task = NoisyObjective(name="second")(NoisyObjective(name="first")(make_task("dentfront")))
    rng = np.random.default_rng(0)
    expected = [rng.uniform(-0.5, 0.5, size=3) for _ in range(2)]
    np.testing.assert_allclose(scores(task, 3)[:, 2:].T, expected, rtol=1e-6)


def test_saturated_is_flat_and_jitter_is_a_function_of_the_text():
    plain = make_task("dentfront")
    assert (scores(SaturatedObjective(value=0.5)(plain), 3)[:, 2] == 0.5).all()
    words = [f"{i:b}".replace("0", "a").replace("1", "b") for i in range(1, 60)]
    for value, sign in ((1.0, -1), (0.0, 1)):
        task = SaturatedObjective(value=value, jitter=1e-6)(plain)
        column = task.score([task[0]] * len(words), words)[:, 2].astype(np.float64)
        assert len(set(column)) > 10
        deviations = sign * (column - value)
        assert deviations.min() >= 0.0
        assert deviations.max() <= 1.1e-6
        np.testing.assert_array_equal(column, task.score([task[0]] * len(words), words)[:, 2])
    vanishes = SaturatedObjective(jitter=1e-9)(plain)
    assert (vanishes.score([vanishes[0]] * len(words), words)[:, 2] == 1).all()


def test_fronts_gain_the_expected_value():
    front = make_task("dentfront").pareto_front()
    task = make_task("dentfront", transforms=[NoisyObjective(), SaturatedObjective(value=0.75)])
    expected = np.column_stack([front, np.zeros(len(front)), np.full(len(front), 0.75)])
    np.testing.assert_array_equal(task.pareto_front(), expected)
    with pytest.raises(ValueError, match="task 'toolcall' has no known Pareto front"):
        make_task("toolcall", transforms=[NoisyObjective()]).pareto_front()


def test_the_given_task_is_left_as_it_was():
    plain = make_task("dentfront")
    before = (plain.rewards.names, plain.perturbations)
    NoisyObjective(on="a")(plain)
    assert (plain.rewards.names, plain.perturbations) == before


def test_transforms_and_their_tasks_are_values():
    task = make_task("countsfront", transforms=[*MIXED, NoisyObjective(on="a")])
    again = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(scores(again, 5), scores(task, 5))
    np.testing.assert_array_equal(scores(copy.deepcopy(task), 5), scores(task, 5))
    assert NoisyObjective() == NoisyObjective(scale=0.5)


def test_widened_calls_what_it_wraps():
    inner = make_task("dentfront").rewards.functions[0]
    wide = Widened(inner, 2.0)
    assert (wide.low, wide.high, wide.kind, wide.name) == (-2.0, 3.0, inner.kind, inner.name)
    problem = make_task("dentfront")[0]
    assert wide(problem, "aaa") == inner(problem, "aaa")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noisy", NoisyObjective()),
        ("noisy(on='b', scale=0.1)", NoisyObjective(on="b", scale=0.1)),
        ("saturated(value=0.0, jitter=1e-06)", SaturatedObjective(value=0.0, jitter=1e-6)),
        ("gate(easy='brevity', on='correctness', threshold=3)", GateObjective("brevity", "correctness", 3)),
        ("scale", ScaleToUnit()),
        ("scale(objectives=('a', 'b'))", ScaleToUnit(("a", "b"))),
        ("preference(seed=3, copies=4)", PreferenceInPrompt(seed=3, copies=4)),
        ("preference(weights=(1, 2))", PreferenceInPrompt((1, 2))),
        ("preference(weights={'a': 1.0})", PreferenceInPrompt({"a": 1.0})),
    ],
)
def test_as_text(text, expected):
    assert expressions.construct(text, TRANSFORMS) == expected
    assert expressions.describe(expected, TRANSFORMS) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoisyObjective(scale=0.0), r"NoisyObjective\(scale=\) must be finite and above 0, got 0.0"),
        (lambda: NoisyObjective(scale=float("nan")), "must be finite and above 0, got nan"),
        (lambda: SaturatedObjective(value=1.5), r"SaturatedObjective\(value=\) must lie in \[0, 1\], got 1.5"),
        (lambda: SaturatedObjective(jitter=-1e-9), r"SaturatedObjective\(jitter=\) must lie in \[0, 0.5\], got -1e-09"),
        (
            lambda: make_task("dentfront", transforms=[NoisyObjective(on="c")]),
            r"NoisyObjective\(on=\) must be one of \('a', 'b'\) of task 'dentfront', got 'c'",
        ),
        (
            lambda: make_task("dentfront", transforms=[NoisyObjective(), NoisyObjective()]),
            r"NoisyObjective\(name=\): task 'dentfront' has an objective 'noise' already",
        ),
        (
            lambda: make_task("dentfront", transforms=[SaturatedObjective("a")]),
            r"SaturatedObjective\(name=\): task 'dentfront' has an objective 'a' already",
        ),
    ],
)
def test_wrong_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


POOL = (
    NoisyObjective(on="hard", scale=0.25),
    NoisyObjective(on="some", scale=0.5),
    NoisyObjective(),
    SaturatedObjective(jitter=0.1),
    GateObjective("easy", on="hard", threshold=0.6),
    GateObjective("some", on="judge", threshold=0.3),
    ScaleToUnit(),
    ScaleToUnit(("some",)),
    PreferenceInPrompt(copies=2),
)


@settings(max_examples=60, deadline=None)
@given(st.permutations(POOL), st.integers(1, len(POOL)), st.integers(0, 10_000))
def test_transforms_compose_in_any_order(order, count, seed):
    """Values stay inside the bounds, masks and pickles hold, the given tasks are left alone, batches equal rows."""
    task = make(easy, hard, judge, some)
    for transform in order[:count]:
        before = (task.rewards.names, task.perturbations, task.max_prompt_tokens, task[0])
        made = transform(task)
        assert (task.rewards.names, task.perturbations, task.max_prompt_tokens, task[0]) == before
        task = made
    rng = np.random.default_rng(seed)
    problems = [task[int(i)] for i in rng.integers(len(task), size=6)]
    responses = ["e" * int(n) for n in rng.integers(0, 9, size=6)]
    values = task.rewards(problems, responses)
    assert (values >= task.rewards.low).all()
    assert (values <= task.rewards.high).all()
    mask = task.rewards.mask(problems)
    np.testing.assert_array_equal(mask[:, 3], [problem.target != 3 for problem in problems])
    assert mask[:, [0, 1, 2]].all()
    scored = task.score(problems, responses, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(
        scored[~mask], np.broadcast_to(task.rewards.low, mask.shape)[~mask].astype(np.float32)
    )
    again = pickle.loads(pickle.dumps(task)).score(problems, responses, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(scored, again)
    rows = [task.rewards([p], [r])[0] for p, r in zip(problems, responses, strict=True)]
    np.testing.assert_array_equal(values, rows)


class TestPlainValues:
    KWARGS = (
        {"transforms": ["noisy(scale=0.25)", "gate(easy='b', on='a', threshold=0.5)", "scale"]},
        {
            "transforms": [
                {"transform": "noisy", "scale": 0.25},
                {"transform": "gate", "easy": "b", "on": "a", "threshold": 0.5},
                {"transform": "scale"},
            ]
        },
    )

    @pytest.mark.parametrize("kwargs", KWARGS)
    def test_specs_survive_json_and_mean_the_objects(self, kwargs):
        objects = [NoisyObjective(scale=0.25), GateObjective("b", "a", 0.5), ScaleToUnit()]
        env = gym.make("DentFront-MO-v0", view="text", **kwargs)
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        direct = gym.make("DentFront-MO-v0", view="text", transforms=objects)
        envs = gym.make_vec("DentFront-MO-v0", num_envs=1, **kwargs)
        assert json.loads(envs.spec.to_json())["kwargs"]["transforms"] == kwargs["transforms"]
        rewards = []
        for made in (env, again, direct):
            made.reset(seed=4)
            rewards.append(made.step("abab")[1].tolist())
        assert rewards[0] == rewards[1] == rewards[2]
        assert env.unwrapped.objective_names == ("a", "b", "noise")

    def test_every_transform_by_name(self):
        assert transform_of("scale") == ScaleToUnit()
        listed = transform_of({"transform": "preference", "weights": [1, 2], "copies": 3})
        assert listed == PreferenceInPrompt((1, 2), copies=3)
        assert transform_of({"transform": "scale", "objectives": ["a"]}) == ScaleToUnit(("a",))
        assert transform_of(listed) is listed

    @pytest.mark.parametrize(
        ("transforms", "error", "message"),
        [
            ("noisy", TypeError, "transforms= must be a sequence, got 'noisy'"),
            ({"transform": "noisy"}, TypeError, "transforms= must be a sequence"),
            (NoisyObjective(), TypeError, "transforms= must be a sequence"),
            ([3], TypeError, "a transform must be a callable, a text or a mapping, got 3"),
            (["loud"], ValueError, "unknown name 'loud'"),
            (["noisy(volume=3)"], ValueError, "volume"),
            ([{"name": "noisy"}], ValueError, "'transform' must be one of .*got None"),
            ([{"transform": "noisy", "scale": -1}], ValueError, r"NoisyObjective\(scale=\)"),
        ],
    )
    def test_what_is_none_is_named(self, transforms, error, message):
        with pytest.raises(error, match=message):
            make_task("dentfront", transforms=transforms)
