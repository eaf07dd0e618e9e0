"""The parts of `llm_morl_agents.classic` that need no other library: record, clock, environments, players, refusals."""

import contextlib
import json
import os
import random
import signal
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from llm_morl_agents.classic import ALGORITHMS, assert_supported, train_classic
from llm_morl_agents.classic.actors import ClassicPolicy, Stage, Stateless
from llm_morl_agents.classic.algorithms import on_simplex, resolve_algorithm
from llm_morl_agents.classic.clock import Clock, TrainingStopped
from llm_morl_agents.classic.compat import Patch, distutils_shim, replaced, sandbox, seeded, silenced, strtobool
from llm_morl_agents.classic.environments import Curved, Maker, VisitedStates, Watched
from llm_morl_agents.classic.recorder import History, WandbRecorder
from llm_morl_agents.classic.result import ClassicResult
from llm_morl_env.tasks.dent_front import dented

DENT = "DentFront-MO-v0"


def dent(**kwargs):
    return gym.make(DENT, **{"view": "index", "k": 3, "obs_mode": "onehot", **kwargs})


def not_flat(form):
    """A view of letters whose observations are a matrix, or a mapping."""
    env = dent()
    flat = env.observation_space
    if form == "matrix":
        return gym.wrappers.ReshapeObservation(env, (2, flat.shape[0] // 2))
    return gym.wrappers.TransformObservation(env, lambda seen: {"seen": seen}, gym.spaces.Dict({"seen": flat}))


def write(count):
    """Plays so many "a", then "b": options of the index view of letters are in the order of the alphabet."""

    def make(n, rng):
        written = [0]

        def choose(observations, masks):
            written[0] += 1
            return np.full(len(observations), 0 if written[0] <= count else 1)

        return Stateless(choose)

    return make


def test_history_is_json_lines(tmp_path):
    history = History(tmp_path / "deep" / "rows.jsonl")
    history.add({"step": np.int64(3), "nan": float("nan"), "front": np.eye(2), "tensor": torch.ones(1)})
    history.add({"b": True})
    lines = (tmp_path / "deep" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.rows
    assert history.rows[0] == {"step": 3, "nan": None, "front": [[1.0, 0.0], [0.0, 1.0]], "tensor": [1.0]}


def test_recorder_joins_what_is_logged_without_commit():
    history = History()
    recorder = WandbRecorder(history)
    recorder.log({"a": 1, "global_step": 7}, commit=False)
    assert history.rows == []
    recorder.log({"b": recorder.functions()["Table"](columns=["x"], data=[[np.float32(2)]])}, step=9)
    assert history.rows == [{"kind": "algorithm", "a": 1, "global_step": 7, "b": [[2.0]]}]
    recorder.log({"c": 1}, commit=False)
    recorder.finish()
    assert history.rows[1] == {"kind": "algorithm", "c": 1}


def test_clock_ends_quietly_when_the_time_is_over():
    history, seen = History(), []
    clock = Clock(10, history, max_cpu_seconds=0.05, progress=seen.append)
    with clock.running():
        while True:
            clock.tick()
    assert clock.stopped == "time"
    assert 0.05 <= clock.cpu_seconds < 5
    assert seen[-1].steps == clock.steps == history.rows[-1]["steps"] > 0
    spent = clock.cpu_seconds
    sum(range(10**5))
    assert clock.cpu_seconds == spent


def test_time_left_is_of_the_part_that_runs():
    assert Clock(8, History()).time_left == 1
    clock, seen = Clock(10**9, History(), max_cpu_seconds=0.2), []
    with clock.running():
        for part in (0.1, 0.2):
            with clock.until(part):
                seen.append([])
                while True:
                    seen[-1].append(clock.time_left)
                    clock.tick()
    for shares in seen:
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0.5
        assert shares[-1] < 0.5
    assert clock.time_left == 0


def test_clock_ends_at_the_first_interrupt_and_others_pass():
    clock = Clock(10, History())
    with clock.running():
        signal.raise_signal(signal.SIGINT)
        clock.tick()
        pytest.fail("the step after an interrupt is the end")
    assert clock.stopped == "interrupt"
    with pytest.raises(ZeroDivisionError), Clock(10, History()).running():
        1 / 0  # noqa: B018


def test_progress_is_printed_though_the_library_is_silenced(capsys):
    clock = Clock(1, History(), progress=print)
    with silenced(), clock.running():  # as trainers open them
        print("the library's own words")
    assert capsys.readouterr().out.startswith("ClassicProgress(")


def test_a_part_of_the_time_ends_a_part_of_the_training():
    clock, ended = Clock(10, History(), max_cpu_seconds=0.2), 0
    with clock.running():
        for part in (0.05, 0.1):
            with clock.until(part):
                while True:
                    clock.tick()
            ended += 1
            assert clock.stopped is None
            assert part <= clock.cpu_seconds < 0.2
        with clock.until(0.9):
            while True:
                clock.tick()
        pytest.fail("the whole time is over")
    assert (ended, clock.stopped) == (2, "time")


def test_maker_scales_and_gives_back_what_the_task_pays():
    maker = Maker("ToolCall-MO-v0", "token", {})
    assert maker.low.tolist() == [0, -3, 0]
    assert maker.width.tolist() == [1, 6, 1]
    assert maker.to_task([[0.5, 0.5, 1.0]]).tolist() == [[0.5, 0.0, 1.0]]
    assert maker.make().unwrapped.return_space.low.tolist() == [0, 0, 0]
    plain = Maker("ToolCall-MO-v0", "token", {}, scaled=False)
    assert plain.to_task([1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]
    assert plain.reference().tolist() == [0, -3, 0]


def test_curved_rewards_are_bent_back():
    plain, bent = Maker(DENT, "index", {"k": 3}), Maker(DENT, "index", {"k": 3}, curvature=30.0)
    returns = [Stage(maker.make, maker.to_task).play(write(2), [0], split="eval", seed=0) for maker in (plain, bent)]
    assert returns[0] == pytest.approx(returns[1], abs=1e-6)
    raw = Stage(bent.make, np.asarray).play(write(2), [0], split="eval", seed=0)
    assert (raw > returns[0] + 0.1).all()
    front = gym.make(DENT).unwrapped.pareto_front()
    weights = np.linspace(0, 1, 1001)[:, None] * [1, -1] + [0, 1]
    best = lambda points: len(set((points @ weights.T).argmax(axis=0)))  # noqa: E731
    assert (best(front), best(Curved.bend(front, 30.0))) == (4, 6)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [(DENT, {"curvature": -1.0}), (DENT, {"curvature": 3.0, "scaled": False}), ("ToolCall-MultiTurn-MO-v0", {})],
)
def test_curvature_is_refused(env_id, kwargs):
    with pytest.raises(ValueError, match="curvature must be 0, or above 0"):
        Maker(env_id, "token", {}, **{"curvature": 3.0, **kwargs})


def test_watched_seeds_once_and_counts_training_only():
    clock = Clock(10, History())
    make = lambda counted: Watched(gym.make("ToolCall-MO-v0"), clock, 5, counted=counted)  # noqa: E731
    one, two = make(True), make(False)
    first = [one.reset()[0] for _ in range(3)]
    again = [two.reset(seed=3)[0] for _ in range(3)]  # NLMOPPO gives the same seed before each episode
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    one.step(one.action_space.sample())
    two.step(two.action_space.sample())
    assert clock.steps == 1


def test_watched_stops_the_loop():
    clock = Clock(10, History(), max_cpu_seconds=1e-9)
    env = Watched(dent(), clock, 0, counted=False)
    env.reset()
    with pytest.raises(TrainingStopped):
        env.step(0)


def test_visited_states_are_numbered_in_order_and_the_end_is_one():
    env = VisitedStates(dent(), 100)
    assert env.reset()[0].tolist() == [0]
    seen = [env.step(action)[0].item() for action in (0, 1, 0, 0, 0)]
    assert seen == [2, 3, 4, 5, 6]
    observation, _, terminated, _, _ = env.step(0)
    assert terminated
    assert observation.tolist() == [VisitedStates.END]
    env.reset()
    assert env.step(0)[0].tolist() == [2]
    assert env.find(np.zeros(3)) == VisitedStates.END
    assert env.observation_space.contains(observation)


def test_visited_states_say_when_the_table_is_full():
    env = VisitedStates(dent(), 3)
    env.reset()
    env.step(0)
    with pytest.raises(ValueError, match="max_states=3 states is full"):
        env.step(0)


def test_stage_plays_one_episode_on_each_problem():
    stage = Stage(dent, np.asarray)
    for count in range(7):
        returns = ClassicPolicy("x", None, None, stage, write(count)).returns([0] * 40, split="eval", seed=1)
        assert returns.shape == (40, 2)
        assert returns == pytest.approx(np.tile([dented(count / 6, 0.12), 1 - count / 6], (40, 1)), abs=1e-6)


def test_stage_asks_for_the_problems_and_repeats_itself():
    asked = []

    class Asked(gym.Wrapper):
        def reset(self, *, seed=None, options=None):
            asked.append((seed, options))
            return self.env.reset(seed=seed, options=options)

    maker = Maker("ToolCall-MO-v0", "token", {"difficulty": "easy"})
    stage = Stage(lambda: Asked(maker.make()), maker.to_task)

    def at_random(n, rng):
        return Stateless(lambda obs, masks: np.array([rng.choice(np.flatnonzero(mask)) for mask in masks]))

    policy = ClassicPolicy("random", None, None, stage, at_random)
    one, two = (policy.returns([4, 2, 9], split="eval", seed=3) for _ in range(2))
    assert np.array_equal(one, two)
    assert [options for _, options in asked[:3]] == [{"problem": i, "split": "eval"} for i in (4, 2, 9)]
    assert asked[:3] == asked[3:]
    assert not np.array_equal(one, policy.returns([4, 2, 9], split="eval", seed=4))
    assert (one[:, 1] >= -3).all()
    assert (one[:, 1] < 0).any()  # as the task pays, not on [0, 1]


def result_of(claims, choose=None):
    policies = tuple(ClassicPolicy(str(i), None, np.array(c), None, None) for i, c in enumerate(claims))
    return ClassicResult(
        "x", DENT, "token", 0, policies, [], 0.0, 0, None, np.array([0.0, -3.0]), np.array([1.0, 6.0]), {}, {}, choose
    )


def test_result_compares_claims_on_the_scale_of_the_bounds():
    result = result_of([[1.0, -3.0], [0.4, 1.5], [0.0, 2.0]])
    assert result.front.tolist() == [[1.0, -3.0], [0.4, 1.5], [0.0, 2.0]]
    assert [result.policy(w).label for w in ([1, 0], [1, 1], [0, 2])] == ["0", "1", "2"]
    assert result_of([], lambda w: w.tolist()).policy([1, 3]) == [0.25, 0.75]
    with pytest.raises(ValueError, match="x has no policy"):
        result_of([]).policy([1, 1])


@pytest.mark.parametrize("weights", [[1.0], [1, -1], [0, 0], [np.nan, 1]])
def test_weights_that_are_no_preference_are_refused(weights):
    with pytest.raises(ValueError, match="w must be 2 finite numbers"):
        on_simplex(weights, 2, "w")


def test_table():
    assert {"pcn", "lcn", "envelope", "gpi_ls", "morld", "ipro", "eupg", "nlmoppo", "mp_moql", "moql", "pql"} <= set(
        ALGORITHMS
    )
    assert all(name == row.name and "default" in row.presets for name, row in ALGORITHMS.items())
    with pytest.raises(ValueError, match="algo must be one of"):
        resolve_algorithm("reinforce")
    with pytest.raises(ValueError, match="preset of 'pcn'"):
        ALGORITHMS["pcn"].settings("no such", None)
    assert ALGORITHMS["pcn"].settings(None, {"noise": 3})["noise"] == 3


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"total_timesteps": 0}, "total_timesteps"), ({"max_cpu_seconds": 0}, "max_cpu_seconds")]
)
def test_train_classic_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        train_classic("pcn", DENT, **{"view": "token", "total_timesteps": 9, "seed": 0, **kwargs})


@pytest.mark.parametrize("algo", [name for name, row in ALGORITHMS.items() if row.library == "morl_baselines"])
def test_supported(algo):
    assert_supported(algo, dent())


@pytest.mark.parametrize(
    ("algo", "env", "message"),
    [
        ("pcn", lambda: gym.make(DENT, view="text"), "actions must be Discrete.*view='token', 'index'"),
        (
            "pcn",
            lambda: not_flat("matrix"),
            r"observations must be a flat Box, got Box of shape \(2, 37\): .*FlattenObservation",
        ),
        ("sb3_ppo", lambda: not_flat("mapping"), "observations must be a flat Box, got Dict: take view='token'"),
        ("morld", lambda: gym.make("ToolCall-MO-v0", objectives=("format",)), "at least 2 .*, got 1: .*'sb3_ppo'"),
        ("pql", lambda: gym.make("ToolCall-MO-v0"), "begin in the same state.*DentFront-MO-v0"),
        ("pcn", lambda: dent().unwrapped.__class__(dent().unwrapped.task, k=3), "no spec.*gym.make"),
    ],
)
def test_refused(algo, env, message):
    with pytest.raises(ValueError, match=f"{algo} cannot be trained.*{message}"):
        assert_supported(algo, env())


def test_steps_of_exploration():
    assert {name for name, row in ALGORITHMS.items() if row.exploration is not None} == {
        *("envelope", "gpi_ls", "moql", "mp_moql", "pql")
    }
    rows = {name: row.exploration_steps(1000, row.settings(None, None)) for name, row in ALGORITHMS.items()}
    assert (rows["envelope"], rows["pql"], rows["sb3_dqn"], rows["maskable_ppo"]) == (500, 1000, 400, None)
    assert ALGORITHMS["sb3_dqn"].exploration_steps(1000, {"exploration_fraction": 0.1}) == 100
    assert ALGORITHMS["envelope"].exploration_steps(1000, {"epsilon_decay_steps": 7}) is None


def test_patches_end_with_the_release_that_fixes_them():
    patch = Patch("x", "y", lambda history: contextlib.nullcontext(), fixed_in="1.4.0")
    assert [patch.needed(v) for v in ("1.3.0", "1.3.9", "1.4.0", "1.10.0")] == [True, True, False, False]
    assert Patch("x", "y", lambda history: contextlib.nullcontext()).needed("99")


def test_replaced_puts_back_and_takes_away():
    class Owner:
        there = 1

    with contextlib.suppress(KeyError), replaced(Owner, {"there": 2, "new": 3}):
        assert (Owner.there, Owner.new) == (2, 3)
        raise KeyError
    assert Owner.there == 1
    assert not hasattr(Owner, "new")


def test_seeded_draws_alike_and_restores():
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    drawn = []
    for _ in range(2):
        with seeded(7):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert draw() == expected


def test_sandbox_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with sandbox():
        inside = os.getcwd()
        os.makedirs("weights")
    assert os.getcwd() == str(tmp_path)
    assert os.listdir(tmp_path) == []
    assert not os.path.exists(inside)


def test_silenced_restores_how_numpy_prints():
    before = np.get_printoptions()
    with silenced():
        np.set_printoptions(precision=2)
    assert np.get_printoptions() == before


def test_distutils_of_pythons_without(monkeypatch):
    find = "importlib.util.find_spec"
    for name in ("distutils", "distutils.util"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(find, lambda name: None)
    with distutils_shim():
        from distutils.util import strtobool as shimmed

        assert shimmed is strtobool
        with distutils_shim():  # within another, which takes it away
            assert sys.modules["distutils.util"].strtobool is strtobool
        assert "distutils" in sys.modules
    assert "distutils" not in sys.modules
    with pytest.raises(ValueError, match="invalid truth value 'maybe'"):
        strtobool("maybe")
