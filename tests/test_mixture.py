"""Mixtures of tasks: union of objectives, masks, dispatch, splits, environments, specs, what does not go together."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from llm_morl_env import make_task
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.sampling import Cooldown, Temperature
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.tasks.mixture import Mixture, mixture_task
from llm_morl_env.testing import check_mo_env
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_env.transforms import GateObjective, NoisyObjective, PreferenceInPrompt, ScaleToUnit
from llm_morl_rewards import Problem, reward

TIERS = {
    "easy": {"task": "toolcall", "difficulty": "easy", "objectives": ["format", "correctness"]},
    "hard": {"task": "toolcall", "difficulty": "hard", "objectives": ["correctness", "name"]},
}


@reward(low=0.0, high=1.0)
def right(problem, response):
    return float(response == problem.target)


@reward(low=0.0, high=1.0, kind="batch", name="right")
def right_batch(problems, responses):
    return np.array([float(r == p.target) for p, r in zip(problems, responses, strict=True)])


@reward(low=0.0, high=1.0, kind="group", name="first")
def first_of_group(problems, responses, group):
    return np.array([float(np.flatnonzero(group == g)[0] == row) for row, g in enumerate(group)])


@reward(low=-1.0, high=2.0, name="right")
def wide(problem, response):
    return 2.0


@reward(low=-5.0, high=5.0, applies=lambda problem: problem.target == "x")
def rare(problem, response):
    return 5.0


def small(name, rewards=(right,), n=6, target="x", **kwargs):
    return text_task([Problem(f"{name} {i}", target) for i in range(n)], list(rewards), name=name, **kwargs)


def two(first, second, weights=(0.5, 0.5), **kwargs):
    return mixture_task({"a": weights[0], "b": weights[1]}, tasks={"a": first, "b": second}, **kwargs)


def tiers(**kwargs):
    return mixture_task({"easy": 0.7, "hard": 0.3}, task_kwargs=TIERS, **kwargs)


def test_objectives_are_the_union_and_score_their_own_tasks():
    mixed, parts = tiers(), {name: make_task(**kwargs) for name, kwargs in TIERS.items()}
    assert mixed.rewards.names == ("format", "correctness", "name")
    assert (mixed.rewards.low.tolist(), mixed.rewards.high.tolist()) == ([0, -3, 0], [1, 3, 1])
    seen = {"easy": 0, "hard": 0}
    for problem in mixed[:12]:
        name, gold = problem.meta["task"], problem.meta["gold"]
        plain = parts[name][seen[name]]
        seen[name] += 1
        assert problem.prompt == plain.prompt
        for response in (gold, gold[:-4], ""):
            scores = dict(zip(mixed.rewards.names, mixed.score([problem], [response])[0], strict=True))
            own = dict(zip(parts[name].rewards.names, parts[name].score([plain], [response])[0], strict=True))
            assert {key: scores[key] for key in own} == own
            (missing,) = scores.keys() - own.keys()
            assert scores[missing] == mixed.rewards.low[mixed.rewards.names.index(missing)]
        mask = mixed.rewards.mask([problem])[0]
        assert [n for n, m in zip(mixed.rewards.names, mask, strict=True) if m] == [
            n for n in mixed.rewards.names if n in parts[name].rewards.names
        ]
        np.testing.assert_array_equal(mixed.score([problem], [gold])[0][mask], mixed.rewards.high[mask])
    assert min(seen.values()) >= 3


def test_splits_have_the_shares_in_every_beginning():
    mixed = tiers()
    assert set(mixed.problems) == {"train", "eval", "unseen"}
    assert len(mixed) == 2**31 - 1
    assert len(mixed.with_split("eval")) == 731  # 512 easy ones
    for split in mixed.problems:
        names = [problem.meta["task"] for problem in mixed.with_split(split)[:60]]
        for n in range(1, 61):
            assert abs(names[:n].count("easy") - 0.7 * n) <= 1
    held_out = [problem.prompt for problem in mixed.with_split("eval")]
    assert len(set(held_out)) > 0.97 * len(held_out)


def test_it_is_a_value():
    mixed = tiers(upweight="temperature(tau=2)", transforms=["noisy(on='name')", {"transform": "scale"}])
    again = pickle.loads(pickle.dumps(mixed))
    for index in (0, 5, 10**9):
        assert again[index] == mixed[index]
    gold = mixed[0].meta["gold"]
    one, other = (t.score([t[0]], [gold], rng=np.random.default_rng(0)) for t in (mixed, again))
    np.testing.assert_array_equal(one, other)
    assert Mixture is mixture_task


def test_grammar_examples_and_caps():
    letters = make_task("toolcall", difficulty="easy", max_response_tokens=200)
    mixed = two(letters, small("b", max_response_tokens=9, max_prompt_tokens=999))
    assert (mixed.max_response_tokens, mixed.max_prompt_tokens) == (200, 999)
    assert mixed.examples is None
    for problem in mixed[:2]:
        mask = mixed.grammar.allowed(problem, [])
        if problem.meta["task"] == "a":
            np.testing.assert_array_equal(mask, letters.grammar.allowed(letters[0], []))
        else:
            assert mask.sum() == mixed.tokenizer.vocab_size - 2
    assert two(small("a"), small("b")).grammar is None
    assert two(small("a"), small("b"), max_response_tokens=5).max_response_tokens == 5
    default = mixture_task()
    for index in range(4):
        problem = default[index]
        part = make_task(problem.meta["task"])
        assert default.examples(problem) == (part.examples or default.examples)(problem)
        assert default.examples(problem)["good"] == problem.meta["gold"]


def test_kinds_are_dispatched_on_their_own_rows():
    mixed = two(small("a", [right]), small("b", [right_batch, first_of_group], target="y"))
    assert [function.kind for function in mixed.rewards] == ["batch", "group"]
    a, b = mixed[0], mixed[1]
    assert [p.meta["task"] for p in (a, b)] == ["a", "b"]
    problems, responses = [b, a, b, a, b], ["y", "x", "x", "y", "y"]
    values = mixed.rewards(problems, responses, np.array([3, 5, 3, 5, 7]))
    np.testing.assert_array_equal(values, [[1, 1], [1, 0], [0, 0], [0, 0], [1, 1]])


def test_a_function_that_does_not_always_apply_keeps_its_own_mask():
    mixed = two(small("a", [rare]), small("b", [right, rare], target="y"))
    assert mixed.rewards.names == ("rare", "right")
    np.testing.assert_array_equal(mixed.rewards.mask([mixed[0], mixed[1]]), [[True, False], [False, True]])
    assert not two(small("a"), small("b")).rewards.masked


def test_transforms_act_on_the_union():
    gate = GateObjective("format", on="correctness", threshold=3)
    mixed = tiers(transforms=[gate, NoisyObjective(on="format", scale=0.25), ScaleToUnit(), PreferenceInPrompt()])
    rng = np.random.default_rng(0)
    for problem in mixed[:6]:
        easy = problem.meta["task"] == "easy"
        score = mixed.score([problem], [problem.meta["gold"]], rng=rng)[0]
        assert score[1] == 1
        assert score[2] == (0 if easy else 1)
        # Noise on an objective that does not apply is ignored: the reward is the lower bound.
        assert (score[0] > 0.4) if easy else (score[0] == 0)
        assert problem.prompt.startswith("format ")
        assert problem.meta["task"] in TIERS
    env = TextVectorEnv(mixed, num_envs=8, group_size=2)
    _, info = env.reset(seed=0)
    assert info["objective_mask"].shape == (8, 3)


def test_where_the_gates_objective_is_missing_the_gate_is_open():
    first = two(small("a", [right]), small("b", [first_of_group, right]))
    mixed = GateObjective("right", on="first", threshold=1)(first)
    a, b = mixed[0], mixed[1]
    values = mixed.rewards([a, b, b], ["x", "x", "x"], np.array([0, 1, 1]))
    np.testing.assert_array_equal(values[:, 0], [1, 1, 0])
    noisy = GateObjective("right", on="first", threshold=1)(NoisyObjective(scale=0.1)(first))
    scored = noisy.score([a, b, b], ["x", "x", "x"], np.array([0, 1, 1]), np.random.default_rng(0))
    np.testing.assert_array_equal(scored[:, 0], [1, 1, 0])


class TestEnvironments:
    def test_single_views_say_which_objectives_apply(self):
        mixed = tiers(upweight=Temperature(2.0))
        for view in (TextEnv, TokenEnv):
            env = view(mixed)
            for index in range(4):
                _, info = env.reset(options={"problem": index})
                expected = mixed.rewards.mask([mixed[index]])[0]
                np.testing.assert_array_equal(info["objective_mask"], expected)
                assert info["objective_mask"].dtype == np.bool_
                assert type(info["loss_weight"]) is float
                assert info["loss_weight"] == mixed.sampler.loss_weights([mixed[index]], 0.0)[0]
                info["objective_mask"][:] = False
                np.testing.assert_array_equal(env._info()["objective_mask"], expected)
        plain = TextEnv(make_task("toolcall"))
        assert set(plain.reset(seed=0)[1]) == {"problem", "split"}

    @pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
    def test_batches_say_it_of_the_rows_that_they_name(self, mode):
        mixed = tiers(upweight=Cooldown(4.0))
        envs = TextVectorEnv(mixed, num_envs=12, group_size=2, autoreset_mode=mode)

        def check(info, progress):
            problems = [mixed[i] for i in info["problem"]]
            np.testing.assert_array_equal(info["objective_mask"], mixed.rewards.mask(problems))
            np.testing.assert_array_equal(info["loss_weight"], mixed.sampler.loss_weights(problems, progress))
            assert info["loss_weight"].dtype == np.float64
            assert info["_objective_mask"].all()
            assert (info["objective_mask"][::2] == info["objective_mask"][1::2]).all()
            assert len(set(info["problem"])) == 6

        _, info = envs.reset(seed=0, options={"progress": 0.25})
        check(info, 0.25)
        before = info["problem"].copy()
        _, rewards, _, _, info = envs.step(["x"] * 12)
        check(info, 0.25)  # an automatic reset keeps the progress
        finished = info["final_info"] if mode == "SameStep" else info
        check(finished, 0.25)
        np.testing.assert_array_equal(finished["problem"], before)
        assert (
            rewards[~finished["objective_mask"]] == np.broadcast_to([0, -3, 0], (12, 3))[~finished["objective_mask"]]
        ).all()
        if mode == "Disabled":
            mask = np.zeros(12, bool)
            mask[4:6] = True
            weights = info["loss_weight"]
            _, info = envs.reset(options={"reset_mask": mask, "progress": 1.0})
            np.testing.assert_array_equal(info["loss_weight"][~mask], weights[~mask])
            np.testing.assert_array_equal(info["loss_weight"][mask], 1.0)  # cooled down: the weights themselves
        check(envs.reset(seed=0)[1], 0.0)

    def test_progress_changes_what_is_drawn(self):
        mixed = tiers(sampling="cooldown(start=1000000.0)")
        envs = TextVectorEnv(mixed, num_envs=400)

        def share(progress):
            _, info = envs.reset(seed=1, options={"progress": progress})
            return np.mean([mixed[i].meta["task"] == "easy" for i in info["problem"]])

        assert share(0.0) == pytest.approx(0.5, abs=0.1)
        assert share(1.0) == pytest.approx(0.7, abs=0.1)
        assert "loss_weight" not in envs.reset()[1]

    @pytest.mark.parametrize("progress", [-0.1, 1.5, "half", True, float("nan")])
    def test_progress_must_be_a_share(self, progress):
        with pytest.raises(ValueError, match=r"'progress' must be a number in \[0, 1\]"):
            TextEnv(tiers()).reset(options={"progress": progress})

    @pytest.mark.parametrize("view", ["text", "token"])
    def test_the_contract_with_every_option(self, view):
        env = gym.make(
            "Mixture-MO-v0",
            view=view,
            weights={"easy": 2, "hard": 1},
            task_kwargs=TIERS,
            sampling="temperature(tau=2)",
            upweight={"shares": "cooldown", "start": 3.0},
            transforms=[
                "noisy(on='format')",
                {"transform": "gate", "easy": "format", "on": "correctness", "threshold": 1},
            ],
            max_response_tokens=24,
        )
        check_mo_env(env, n_steps=30)

    def test_the_spec_survives_json(self):
        kwargs = {
            "weights": {"toolcall": 0.5, "mathreasoning": 0.5},
            "upweight": "temperature(tau=2)",
            "transforms": ["scale", {"transform": "preference", "weights": [1, 2, 3, 0, 0, 0]}],
        }
        env = gym.make("Mixture-MO-v0", view="text", **kwargs)
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
        first, second = env.reset(seed=3), again.reset(seed=3)
        assert first[0] == second[0]
        assert first[1]["loss_weight"] == second[1]["loss_weight"]
        np.testing.assert_array_equal(env.step("x")[1], again.step("x")[1])
        envs = gym.make_vec("Mixture-MO-v0", num_envs=4, group_size=2, **kwargs)
        assert envs.reset(seed=3)[1]["objective_mask"].shape == (4, 6)


class Echo:
    """A dialogue of some turns that repeats what was said."""

    max_reply_tokens = 8

    def __init__(self, max_turns):
        self.max_turns = max_turns

    def reply(self, problem, responses):
        return responses[-1]


def test_dialogues_mix_with_dialogues():
    from dataclasses import replace

    talks = {name: replace(small(name), dialogue=Echo(turns)) for name, turns in (("a", 2), ("b", 4))}
    mixed = mixture_task({"a": 1, "b": 1}, tasks=talks)
    assert (mixed.dialogue.max_turns, mixed.dialogue.max_reply_tokens) == (4, 8)
    a, b = mixed[0], mixed[1]
    assert mixed.dialogue.reply(a, ["x"]) == mixed.dialogue.reply(b, ["x"]) == "x"
    assert mixed.dialogue.reply(a, ["x", "y"]) is None  # the last turn of its task
    assert mixed.dialogue.reply(b, ["x", "y"]) == "y"
    with pytest.raises(ValueError, match=r"dialogues mix with dialogues only: \{'a': 'one turn', 'b': 'a dialogue'\}"):
        mixture_task({"a": 1, "b": 1}, tasks={"a": small("a"), "b": talks["b"]})


def test_preferences_of_the_tasks_are_kept():
    mixed = two(PreferenceInPrompt((3,))(small("a")), PreferenceInPrompt()(small("b", rewards=(right, rare))))
    for index in range(4):
        assert mixed.preferences(mixed[index]) == mixed[index].meta["preference"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mixture_task({}), "weights= must be a mapping of at least one task"),
        (lambda: mixture_task({"toolcall": 0.0}), "'toolcall' must be finite and above 0, got 0.0"),
        (lambda: mixture_task({"toolcall": 1.0, "summarize": 1e-9}), "share of 'summarize' must be at least 0.0001"),
        (lambda: mixture_task({"chess": 1.0}), "'chess' is neither in tasks= nor a built-in task"),
        (lambda: mixture_task({"toolcall": 1.0}, task_kwargs={"math": {}}), r"task_kwargs=: \['math'\] have no weight"),
        (
            lambda: mixture_task({"a": 1.0}, tasks={"a": small("a")}, task_kwargs={"a": {}}),
            r"task_kwargs=: \['a'\] are given by tasks= already",
        ),
        (lambda: mixture_task({"mixture": 1.0}), "'mixture' is a mixture itself"),
        (lambda: two(two(small("a"), small("b")), small("c")), "task 'a' draws its problems itself"),
        (lambda: two(small("a"), NoisyObjective()(small("b"))), "task 'b' has noise of its own"),
        (lambda: two(small("a"), PreferenceInPrompt()(small("b"))), "preferences in the prompts of one of 'a' and 'b'"),
        (lambda: two(small("a"), make_task("dentfront")), "a mixture needs one tokenizer: that of 'a' is"),
        (
            lambda: two(small("a"), small("b", [wide])),
            r"'right' has other bounds in other tasks: .*\(ScaleToUnit\).*'scale\(objectives=\('right',\)\)'",
        ),
        (lambda: two(small("a"), small("b"), objectives=["wrong"]), "unknown"),
        (lambda: two(small("a"), small("b"), max_response_tokens=0), "max_response_tokens must be at least 1"),
    ],
)
def test_what_does_not_go_together_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_scaling_makes_other_bounds_one():
    mixed = two(ScaleToUnit()(small("a")), ScaleToUnit()(small("b", [wide])))
    assert mixed.score([mixed[0], mixed[1]], ["no", "no"]).tolist() == [[0], [1]]


def test_a_problem_that_names_a_task_already_is_refused():
    tagged = text_task([Problem("x", meta={"task": "other"})], [right])
    with pytest.raises(ValueError, match="holds 'task' already"):
        two(small("a"), tagged)[1]


def test_objectives_select_and_order():
    assert tiers(objectives=["name", "format"]).rewards.names == ("name", "format")


def test_an_equal_tokenizer_file_is_one_tokenizer():
    other = small("b", tokenizer=TextTokenizer())
    assert two(small("a"), other).tokenizer.vocab_size == 1024
