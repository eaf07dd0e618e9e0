"""Noisy and saturated objectives, gates, scales, preferences: values, fronts, order, ids and views, plain values."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env import expressions, make_env, make_task
from llm_morl_env.registration import IDS, VIEWS
from llm_morl_env.tasks.custom import text_task
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
from llm_morl_env.transforms.preference import draw_weights
from llm_morl_rewards import Problem, RewardVector, reward

MIXED = (NoisyObjective(scale=0.25), SaturatedObjective(jitter=0.1))


def scores(task, n, seed=0, response="ab"):
    """Rewards (n, K) of one response, again and again."""
    return task.score([task[0]] * n, [response] * n, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["toolcall", "toolcall-multiturn", "mixture", "dentfront", "contextfront"])
def test_tasks_of_every_sort_keep_the_contract_in_every_view(name, view):
    """One turn, dialogues, objectives that do not always apply, fronts; what a transform meets is not the subject."""
    first = make_task(name).rewards.names[0]
    transforms = [*MIXED, NoisyObjective(on=first)]
    check_mo_env(lambda: make_env(task=name, view=view, transforms=transforms), n_steps=15)


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


VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"


@reward(low=0.0, high=1.0)
def easy(problem, response):
    return float("e" in response)


@reward(low=-1.0, high=1.0)
def hard(problem, response):
    return len(response) / 4 - 1


@reward(low=0.0, high=1.0, kind="batch", name="judge")
def judge(problems, responses):
    return np.array([len(r) / 8 for r in responses])


@reward(low=0.0, high=1.0, kind="group", name="rank")
def rank(problems, responses, group):
    """1 for the longest of its group."""
    lengths = np.array([len(r) for r in responses])
    return np.array([float(n == lengths[group == g].max()) for n, g in zip(lengths, group, strict=True)])


@reward(low=0.0, high=1.0, name="echo")
def echo(problem, response):
    """What a reward sees of the prompt."""
    return float(response == problem.prompt)


def make(*rewards, **kwargs):
    return text_task([Problem(f"say {i}", i) for i in range(5)], list(rewards), max_response_tokens=16, **kwargs)


def test_the_conditioned_reward_of_the_paper():
    if not VECTORS.exists():
        pytest.skip("no reference numbers here")
    v = json.loads(VECTORS.read_text())["gdpo"]["conditioned_reward"]
    column = {"easy": v["easy"], "hard": v["hard"]}

    def batch(name):
        @reward(low=0.0, high=1.0, kind="batch", name=name)
        def values(problems, responses):
            return np.array([column[name][int(r)] for r in responses], float)

        return values

    task = make(batch("easy"), batch("hard"))
    for key, threshold in (("conditioned", v["threshold"]), ("conditioned_half", v["threshold_half"])):
        gated = GateObjective("easy", on="hard", threshold=threshold)(task)
        np.testing.assert_array_equal(gated.score([task[0]] * 4, ["0", "1", "2", "3"])[:, 0], v[key])


@pytest.mark.parametrize("others", [(), (judge,), (judge, rank)])
def test_a_gate_on_every_kind(others):
    """Whatever the kinds, it is the formula on the columns."""
    task = make(easy, hard, *others)
    responses, group = ["eeee", "e", "abcdefgh", "", "abcdee"], np.array([0, 0, 1, 1, 1])
    plain = task.rewards([task[0]] * 5, responses, group)
    names = task.rewards.names
    for one in names:
        for other in names:
            if one == other:
                continue
            k, on = names.index(one), names.index(other)
            threshold = 0.5
            gated = GateObjective(one, on=other, threshold=threshold)(task)
            expected = plain.copy()
            expected[plain[:, on] < threshold, k] = task.rewards.low[k]
            np.testing.assert_array_equal(gated.rewards([task[0]] * 5, responses, group), expected)
            assert gated.rewards.names == names
            np.testing.assert_array_equal(gated.rewards.low, task.rewards.low)


def test_a_gate_knows_no_front():
    task = make_task("dentfront", transforms=[GateObjective("b", on="a", threshold=0.5)])
    with pytest.raises(ValueError, match="no known Pareto front"):
        task.pareto_front()


def test_a_gate_after_noise_gates_the_noise():
    noisy = NoisyObjective(on="hard", scale=0.5)(NoisyObjective(on="easy", scale=0.25)(make(easy, hard)))
    gated = GateObjective("easy", on="hard", threshold=0.0)(noisy)
    n, rng, same = 400, np.random.default_rng(0), np.random.default_rng(0)
    before = noisy.score([noisy[0]] * n, ["eeee"] * n, rng=same)
    after = gated.score([noisy[0]] * n, ["eeee"] * n, rng=rng)
    closed = before[:, 1] < 0
    assert 0.3 < closed.mean() < 0.7
    np.testing.assert_array_equal(after[closed, 0], np.float32(noisy.rewards.low[0]))
    np.testing.assert_array_equal(after[~closed], before[~closed])


def test_scaling_is_affine_in_values_fronts_and_noise():
    task = make(easy, hard, judge)
    scaled = ScaleToUnit()(task)
    responses = ["", "eeee", "abcdefgh"]
    plain = task.rewards([task[0]] * 3, responses)
    np.testing.assert_allclose(scaled.rewards([task[0]] * 3, responses), (plain - [0, -1, 0]) / [1, 2, 1])
    assert ScaleToUnit(("hard",))(task).rewards.high.tolist() == [1, 1, 1]
    front = make_task("dentfront").pareto_front()
    widened = make_task("dentfront", transforms=["noisy(on='b', scale=0.5)", "scale"])
    np.testing.assert_allclose(widened.pareto_front(), front * [1, 0.5] + [0, 0.25])
    noisy = NoisyObjective(on="hard", scale=0.5)(task)
    both = ScaleToUnit()(noisy)
    one, other = (t.score([t[0]] * 50, ["eeee"] * 50, rng=np.random.default_rng(0)) for t in (noisy, both))
    np.testing.assert_allclose(other[:, 1], (one[:, 1] + 1.5) / 3, rtol=1e-6)
    # What is added after the scaling is not scaled.
    later = NoisyObjective()(both).score([task[0]] * 50, ["eeee"] * 50, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(later[:, :3], other)


class TestPreference:
    def test_fixed_weights_stand_in_every_prompt(self):
        task = PreferenceInPrompt({"hard": 3, "easy": 1}, template="{prompt} [{weights}]")(make(easy, hard, judge))
        for split in ("train", "eval"):
            for problem in task.with_split(split):
                assert problem.prompt.endswith(" [easy 0.25, hard 0.75, judge 0]")
                assert problem.meta["preference"] == {"easy": 0.25, "hard": 0.75, "judge": 0.0}

    def test_drawn_weights_are_those_that_are_written_and_reproducible(self):
        task = PreferenceInPrompt(copies=40)(make(easy, hard, judge))
        assert len(task) == 200
        seen = []
        for index, problem in enumerate(task):
            weights = problem.meta["preference"]
            written = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
            assert problem.prompt == f"{written}\nsay {index % 5}"
            assert sum(weights.values()) == pytest.approx(1)
            seen.append(tuple(weights.values()))
        again = pickle.loads(pickle.dumps(task))
        assert [problem.prompt for problem in again] == [problem.prompt for problem in task]
        other = PreferenceInPrompt(copies=40, seed=1)(make(easy, hard, judge))
        assert [problem.prompt for problem in other] != [problem.prompt for problem in task]
        assert len(set(seen)) > 40
        assert task[7:9][1].prompt == task[8].prompt
        assert task[-1].prompt == task[199].prompt
        with pytest.raises(IndexError):
            task[200]

    def test_all_lattice_weights_are_equally_likely(self):
        rng, n = np.random.default_rng(0), 6000
        counts = {}
        for _ in range(n):
            weights = draw_weights(rng, 3, 4)
            counts[weights] = counts.get(weights, 0) + 1
        assert len(counts) == 15  # (4 + 2) over 2
        expected = n / 15
        assert sum((c - expected) ** 2 / expected for c in counts.values()) < 36.1  # chi squared, 14, 0.1 %

    def test_rewards_grammar_and_examples_see_the_prompt_as_it_was(self):
        plain = make(echo)
        task = PreferenceInPrompt()(plain)
        assert task.score([task[1]], ["say 1"]).tolist() == [[1]]
        assert task.score([task[1]], [task[1].prompt]).tolist() == [[0]]
        context, letters = make_task("contextfront"), "abcd"
        told = PreferenceInPrompt(parts=3, symbols=letters, template="{weights}{prompt}")(context)
        np.testing.assert_array_equal(told.pareto_front(), context.pareto_front())
        for problem, original in zip(told[:3], context[:3], strict=True):
            assert problem.prompt[3:] == original.prompt
            np.testing.assert_array_equal(told.grammar.allowed(problem, []), context.grammar.allowed(original, []))
            np.testing.assert_array_equal(told.score([problem], ["ab"]), context.score([original], ["ab"]))

    @pytest.mark.parametrize("name", ["toolcall", "mathreasoning", "summarize"])
    def test_the_bound_on_prompts_holds(self, name):
        plain = make_task(name)
        for transform in (PreferenceInPrompt(), PreferenceInPrompt((1, 1, 1))):
            task = transform(plain)
            room = task.max_prompt_tokens - plain.max_prompt_tokens
            assert room > 0
            for index in range(40):
                grown = task.tokenizer.count(task[index].prompt) - plain.tokenizer.count(plain[index].prompt)
                assert 0 < grown <= room

    def test_copies_know_no_front(self):
        task = PreferenceInPrompt(parts=2, symbols="abc", template="{weights}{prompt}", copies=2)
        with pytest.raises(ValueError, match="no known Pareto front"):
            task(make_task("dentfront")).pareto_front()


def not_three(problem):
    return problem.target != 3


@reward(low=-2.0, high=2.0, applies=not_three)
def some(problem, response):
    return float(len(response) % 5 - 2)


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


@pytest.mark.parametrize("view", VIEWS)
def test_the_shaping_transforms_keep_the_contract(view):
    gate = GateObjective("brevity", on="correctness", threshold=3)
    transforms = [gate, ScaleToUnit(("correctness",)), PreferenceInPrompt(copies=3)]
    check_mo_env(lambda: make_env(task="toolcall", view=view, transforms=transforms), n_steps=40)


def test_batches_of_rewards_by_group_are_gated_in_the_batched_view():
    gate = GateObjective("easy", on="rank", threshold=1)
    from llm_morl_env import make_text_vec

    envs = make_text_vec(["a", "b"], [easy, rank], num_envs=4, group_size=2, transforms=[gate, "scale"])
    envs.reset(seed=0)
    assert envs.step(["e", "ee", "xx", "e"])[1].tolist() == [[0, 0], [1, 1], [0, 1], [0, 0]]


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


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: GateObjective("a", "a", 0.5), r"GateObjective\(easy=, on=\) must be two objectives, got 'a' twice"),
        (lambda: GateObjective("c", "a", 0.5), r"GateObjective\(easy=\) must be one of \('a', 'b'\) .* got 'c'"),
        (lambda: GateObjective("a", "c", 0.5), r"GateObjective\(on=\) must be one of"),
        (lambda: GateObjective("a", "b", 0.0), r"threshold=\) must lie in \(0, 1\], the bounds of 'b', got 0.0"),
        (lambda: GateObjective("a", "b", 1.5), "got 1.5"),
        (lambda: GateObjective("a", "b", float("nan")), "got nan"),
        (lambda: ScaleToUnit(("a", "a")), r"ScaleToUnit\(objectives=\) must be distinct"),
        (lambda: ScaleToUnit(("c",)), r"ScaleToUnit\(objectives=\) must be one of"),
        (lambda: PreferenceInPrompt(), r"tokenizer of task 'dentfront' reads .* write weights by symbols="),
        (lambda: PreferenceInPrompt((1, 2, 3)), r"weights=\) must be 2 finite numbers"),
        (lambda: PreferenceInPrompt((0, 0)), "not all 0"),
        (lambda: PreferenceInPrompt((-1, 2)), "none negative"),
        (lambda: PreferenceInPrompt({"c": 1}), r"unknown \['c'\]; the objectives are \('a', 'b'\)"),
        (
            lambda: PreferenceInPrompt(template="{weights}"),
            r"template=\) must hold \{weights\} and \{prompt\} once each",
        ),
        (
            lambda: PreferenceInPrompt(symbols="abc"),
            r"symbols=\) must be parts \+ 1 = 11 distinct characters, got 'abc'",
        ),
        (lambda: PreferenceInPrompt(copies=0), r"copies=\) must be at least 1, got 0"),
        (
            lambda: PreferenceInPrompt((0.3, 0.7), parts=2, symbols="abc", template="{weights}{prompt}"),
            "must be multiples of 1/2 to be written by symbols",
        ),
    ],
)
def test_wrong_options_of_the_shaping_transforms_are_named(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_task("dentfront", transforms=[make_it()])


def test_a_str_is_no_sequence_of_names():
    with pytest.raises(TypeError, match="sequence of names, got the str 'ab'"):
        ScaleToUnit("ab")


def test_two_preferences_are_refused():
    with pytest.raises(ValueError, match="hold a preference already"):
        PreferenceInPrompt()(PreferenceInPrompt()(make(easy)))


def test_wrappers_of_rewards_pass_on_where_they_apply():
    task = make(some, easy)
    for transform in (NoisyObjective(on="some"), ScaleToUnit(), GateObjective("some", "easy", 1), PreferenceInPrompt()):
        made = transform(task)
        problems = [made[2], made[3]]
        np.testing.assert_array_equal(made.rewards.mask(problems)[:, 0], [True, False])
    plain = replace(task, rewards=RewardVector([easy]))
    assert not ScaleToUnit()(plain).rewards.masked
