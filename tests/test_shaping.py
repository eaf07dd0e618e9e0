"""Gates, scales and preferences: values, fronts, noise before and after, prompts, the contract, errors."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gold_play import gold_play
from shaping_task import easy, echo, hard, judge, make, rank, some

from llm_morl_env import make_env, make_task, make_text_vec
from llm_morl_env.registration import DIALOGUE_VIEWS, VIEWS, make_vector_env
from llm_morl_env.tasks.building import LazyProblems
from llm_morl_env.testing import check_mo_env
from llm_morl_env.transforms import GateObjective, NoisyObjective, PreferenceInPrompt, ScaleToUnit
from llm_morl_env.transforms.plain import PLAIN_PROMPT, PlainFront
from llm_morl_env.transforms.preference import draw_weights
from llm_morl_rewards import Problem, RewardVector, reward

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"


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

    def test_a_front_may_look_at_the_first_problems_of_an_endless_split(self):
        class Endless(LazyProblems):
            def __len__(self):
                return 2**31 - 1

            def problem(self, index):
                assert index < 3
                return Problem(f"told {index}", meta={PLAIN_PROMPT: str(index)})

        assert PlainFront(lambda problems: [problems[i].prompt for i in range(3)])(Endless()) == ["0", "1", "2"]

    @pytest.mark.parametrize("name", ["dentfront", "toolcall-multiturn", "mixture"])
    def test_environments_say_it_in_the_order_of_the_objectives(self, name):
        letters = {"parts": 2, "symbols": "abc", "template": "{weights}{prompt}", "copies": 8}
        told = PreferenceInPrompt(**(letters if name == "dentfront" else {}))
        asks = {"transforms": [told, "noisy(name='more')"]}
        envs = make_vector_env(4, task=name, group_size=2, **asks)
        _, info = envs.reset(seed=0)
        for row, index in enumerate(info["problem"].tolist()):
            for view in DIALOGUE_VIEWS if name == "toolcall-multiturn" else VIEWS:
                env = make_env(task=name, view=view, **asks)
                _, one = env.reset(options={"problem": index})
                np.testing.assert_array_equal(one["preference"], info["preference"][row])
            weights = env.task[index].meta["preference"]
            assert info["preference"][row].tolist() == [weights[n] for n in envs.objective_names[:-1]] + [0.0]
        assert len(np.unique(info["preference"], axis=0)) == 2
        assert "preference" not in make_vector_env(4, task=name).reset(seed=0)[1]

    def test_copies_know_no_front(self):
        task = PreferenceInPrompt(parts=2, symbols="abc", template="{weights}{prompt}", copies=2)
        with pytest.raises(ValueError, match="no known Pareto front"):
            task(make_task("dentfront")).pareto_front()


@pytest.mark.parametrize("view", VIEWS)
def test_the_shaping_transforms_keep_the_contract(view):
    gate = GateObjective("brevity", on="correctness", threshold=3)
    transforms = [gate, ScaleToUnit(("correctness",)), PreferenceInPrompt(copies=3)]
    policy = None if view == "choice" else gold_play  # what is gated is not paid for random words
    check_mo_env(lambda: make_env(task="toolcall", view=view, transforms=transforms), n_steps=60, policy=policy)


def test_batches_of_rewards_by_group_are_gated_in_the_batched_view():
    gate = GateObjective("easy", on="rank", threshold=1)
    envs = make_text_vec(["a", "b"], [easy, rank], num_envs=4, group_size=2, transforms=[gate, "scale"])
    envs.reset(seed=0)
    assert envs.step(["e", "ee", "xx", "e"])[1].tolist() == [[0, 0], [1, 1], [0, 1], [0, 0]]


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
