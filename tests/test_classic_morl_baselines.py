"""morl-baselines behind `train_classic`: every algorithm runs, and each patch and refusal has its reason upstream."""

import importlib.metadata
import json
import os
import random
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from classic_extra import require

require("morl_baselines")

from llm_morl_agents.classic import ALGORITHMS, train_classic  # noqa: E402  (after the skip)
from llm_morl_agents.classic.actors import ClassicPolicy, Stage, Stateless  # noqa: E402
from llm_morl_agents.classic.compat import (  # noqa: E402
    PATCHES,
    float_observations,
    morl_baselines_compat,
    on_processor,
    sandbox,
    seeded,
    silenced,
    wide_actions,
)
from llm_morl_agents.classic.recorder import History  # noqa: E402

pytestmark = pytest.mark.classic

DENT = "DentFront-MO-v0"
INDEX = {"view": "index", "env_kwargs": {"k": 3, "obs_mode": "onehot"}}
NETWORK = {"net_arch": [16], "batch_size": 8, "learning_starts": 20}
#: Settings that make each one quick.
TINY = {
    "pcn": {"num_er_episodes": 10, "num_model_updates": 2},
    "lcn": {"num_er_episodes": 10, "num_model_updates": 2},
    "envelope": NETWORK,
    "gpi_ls": {**NETWORK, "net_arch": [16, 16], "timesteps_per_iter": 50, "num_eval_episodes_for_front": 1},
    "morld": {"pop_size": 2, "exchange_every": 60, "policy_args": {"net_arch": [16, 16], "batch_size": 8}},
    "ipro": {"num_steps": 8, "max_iterations": 1, "eval_episodes": 1, "update_epochs": 1},
    "nlmoppo": {"num_steps": 8, "weights": [[0.2, 0.8], [1, 0]], "eval_episodes": 1},
    "eupg": {"weights": [0.5, 0.5]},
    "moql": {"weights": [[0, 1], [1, 0]]},
    "mp_moql": {"timesteps_per_iteration": 60},
    "pql": {},
}
NAMES = [name for name, row in ALGORITHMS.items() if row.library == "morl_baselines"]


def train(algo, steps=150, *, seed=0, **kwargs):
    return train_classic(
        algo, DENT, **{**INDEX, "total_timesteps": steps, "seed": seed, "algo_kwargs": TINY[algo], **kwargs}
    )


def played(result, seed=0):
    return np.stack([policy.returns([0, 0], split="eval", seed=seed) for policy in result.policies])


@pytest.mark.parametrize("algo", NAMES)
def test_every_algorithm_trains_claims_and_plays(algo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    threads, printing = torch.get_num_threads(), np.get_printoptions()
    result = train(algo, history=tmp_path / "rows.jsonl")
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states  # noqa: NPY002
    assert (torch.get_num_threads(), np.get_printoptions()) == (threads, printing)
    assert os.listdir(tmp_path) == ["rows.jsonl"]
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == result.history
    assert result.history[-1]["kind"] == "progress"
    assert result.steps == result.history[-1]["steps"] >= 50
    assert result.stopped is None
    assert result.cpu_seconds > 0
    assert len(result.policies) >= 1
    assert result.front.shape == (len(result.policies), 2)
    assert ((result.front >= -1e-6) & (result.front <= 1 + 1e-6)).all()
    returns = played(result)
    assert returns.shape == (len(result.policies), 2, 2)
    assert ((returns >= 0) & (returns <= 1)).all()
    assert np.array_equal(returns[:, 0], returns[:, 1])  # one problem, deterministic policies
    assert np.array_equal(returns, played(result))
    assert result.policy([0.3, 0.7]).returns([0], split="eval", seed=0).shape == (1, 2)
    assert len({policy.label for policy in result.policies}) == len(result.policies)


@pytest.mark.parametrize("algo", ["pcn", "envelope", "moql"])
def test_equal_seeds_give_equal_results(algo):
    one, two, other = train(algo), train(algo), train(algo, seed=1)
    assert np.array_equal(one.front, two.front)
    assert np.array_equal(played(one), played(two))
    assert one.history[-1]["mean_return"] == two.history[-1]["mean_return"] != other.history[-1]["mean_return"]


def test_library_and_player_agree_on_what_envelope_does():
    result = train("envelope", algo_kwargs={**NETWORK, "gamma": 1.0})
    env = gym.make(DENT, view="index", k=3, obs_mode="onehot")
    from morl_baselines.multi_policy.envelope.envelope import Envelope

    with morl_baselines_compat(0):
        agent = Envelope(env=env, log=False, **NETWORK)
    weights = np.array([0.4, 0.6])
    # The network behind the policy, asked by the library one observation at a time.
    agent.q_net = result.policy(weights).player(1, None).choose.__wrapped__.__wrapped__.__closure__[0].cell_contents
    total, over = np.zeros(2), False
    seen, _ = env.reset(options={"problem": 0, "split": "eval"})
    while not over:
        seen, reward, over, _, _ = env.step(agent.eval(seen, weights))
        total += reward
    assert result.policy(weights).returns([0], split="eval", seed=0)[0] == pytest.approx(total, abs=1e-6)


def test_time_ends_a_training_and_keeps_what_was_learned():
    result = train("pcn", 10**7, max_cpu_seconds=0.5)
    assert result.stopped == "time"
    assert 0.5 <= result.cpu_seconds < 10
    assert 0 < result.steps < 10**7
    assert len(result.policies) >= 1


def test_interrupt_ends_a_training_and_keeps_what_was_learned():
    import signal

    rows = []

    def interrupt(row):
        rows.append(row)
        if len(rows) == 1:
            signal.raise_signal(signal.SIGINT)

    result = train("pcn", 10**7, progress=interrupt, max_cpu_seconds=60)
    assert result.stopped == "interrupt"
    assert len(result.policies) >= 1


@pytest.mark.parametrize(("algo", "steps"), [("nlmoppo", 500), ("ipro", 1000)])
def test_too_few_steps_for_an_update_are_refused(algo, steps):
    with pytest.raises(
        ValueError, match=r"total_timesteps=\) is too small: each of the algorithm's runs gets 100 steps"
    ):
        train_classic(algo, DENT, **{**INDEX, "total_timesteps": steps, "seed": 0})


def test_a_population_below_the_number_of_objectives_is_refused_where_weights_are_even():
    own = TINY["morld"]
    with pytest.raises(ValueError, match=r"algo_kwargs\['pop_size'\] must be at least 2, .*, got 1"):
        train("morld", algo_kwargs={**own, "pop_size": 1})
    from morl_baselines.common.weights import equally_spaced_weights

    with silenced(), pytest.raises(AttributeError):  # why: pymoo makes no fewer directions
        equally_spaced_weights(3, 2)


def test_settings_of_the_network_of_gpi_ls():
    with pytest.raises(ValueError, match=r"\['net_arch'\] of 'gpi_ls' must be at least two sizes, .*, got \[16\]"):
        train("gpi_ls", algo_kwargs=NETWORK)
    for name, value in (("drop_rate", 0.1), ("layer_norm", False)):
        own = {**TINY["gpi_ls"], name: value}
        assert train("gpi_ls", 50, algo_kwargs=own).steps == 50
        with pytest.raises(ValueError, match=rf"\['{name}'\] belong to the library's own network"):
            train("gpi_ls", algo_kwargs={**own, "network": "shared"})
    from morl_baselines.multi_policy.gpi_pd.gpi_pd import QNet

    with pytest.raises(AssertionError):  # why: nothing is left for the layers after the branches
        QNet((4,), 3, 2, [16])


def test_exploration_goes_over_what_the_result_says():
    assert train("envelope", 150).exploration_steps == 75
    assert train("pcn", 150).exploration_steps is None


def test_sweeps_share_the_time():
    result = train_classic("moql", DENT, **{**INDEX, "total_timesteps": 10**6, "seed": 0, "max_cpu_seconds": 1.0})
    assert len(result.policies) == 5


def test_unknown_settings_are_named():
    with pytest.raises(
        ValueError, match=r"algo_kwargs of 'pcn': unknown \['learningrate'\]; known are .*learning_rate"
    ):
        train("pcn", algo_kwargs={"learningrate": 1})


def test_returns_are_as_the_task_pays_also_where_learning_is_scaled():
    kwargs = {"view": "index", "env_kwargs": {"k": 4, "difficulty": "easy"}, "total_timesteps": 60, "seed": 0}
    for scaled in (True, False):
        result = train_classic("pcn", "ToolCall-MO-v0", algo_kwargs=TINY["pcn"], scaled=scaled, **kwargs)
        returns = result.policies[0].returns(range(8), split="eval", seed=0)
        assert (returns[:, 1] < 0).all()  # nearly untrained: correctness is at -3, not at 0
        assert (result.front[:, 1] < 1.5).all()


class Wide(gym.Env):
    """One step, 300 actions; only action 299 pays."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(300)
    reward_space = gym.spaces.Box(0, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([0.7, 0.2], np.float32), {}

    def step(self, action):
        return np.array([0.7, 0.2], np.float32), np.full(2, float(action == 299), np.float32), True, False, {}


if "Wide-MO-v0" not in gym.registry:
    gym.register("Wide-MO-v0", entry_point=Wide, disable_env_checker=True)


def library(algo, env, **kwargs):
    """An algorithm as the library builds it, without the compatibility context."""
    with silenced():
        if algo == "envelope":
            from morl_baselines.multi_policy.envelope.envelope import Envelope

            return Envelope(env=env, log=False, net_arch=[8], buffer_size=9, **kwargs)
        if algo == "gpi_ls":
            from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPILS

            return GPILS(env=env, log=False, net_arch=[8, 8], buffer_size=9, **kwargs)
        if algo == "pql":
            from morl_baselines.multi_policy.pareto_q_learning.pql import PQL

            return PQL(env=env, ref_point=np.zeros(2), log=False, **kwargs)
        from morl_baselines.single_policy.esr.eupg import EUPG

        return EUPG(env=env, scalarization=np.dot, log=False, **kwargs)


def stored(agent, name, obs, action):
    buffer = agent.buffer if hasattr(agent, "buffer") else agent.replay_buffer
    rest = (np.zeros(2), action) if hasattr(agent, "buffer") else (action,)
    buffer.add(obs, *rest, np.zeros(2), obs, True)
    return getattr(buffer, name)[0].tolist()


@pytest.mark.parametrize("algo", ["envelope", "gpi_ls"])
def test_actions_above_255(algo):
    env = gym.make("Wide-MO-v0")
    obs = np.array([0.7, 0.2], np.float32)
    with pytest.raises((OverflowError, AssertionError)):  # older numpy wraps, newer numpy refuses
        assert stored(library(algo, env), "actions", obs, 299) == [299]
    with wide_actions(History()):
        assert stored(library(algo, env), "actions", obs, 299) == [299]
    with pytest.raises((OverflowError, AssertionError)):  # and the library is as before
        assert stored(library(algo, env), "actions", obs, 299) == [299]


class Near(gym.Env):
    """One step, four actions: a front of vectors that are alike in their first four digits."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(4)
    reward_space = gym.spaces.Box(0, 1, (2,), np.float32)

    def __init__(self, view):
        super().__init__()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        reward = np.array([0.5 + 1e-5 * action, 0.5 - 1e-5 * action], np.float32)
        return np.zeros(2, np.float32), reward, True, False, {}


if "Near-MO-v0" not in gym.registry:
    gym.register("Near-MO-v0", entry_point=Near, disable_env_checker=True)


@pytest.mark.parametrize("algo", ["pcn", "pql"])
def test_policies_of_nearly_equal_returns_have_labels_of_their_own(algo):
    kwargs = {"view": "index", "total_timesteps": 100, "seed": 0, "algo_kwargs": TINY[algo], "scaled": False}
    result = train_classic(algo, "Near-MO-v0", **kwargs)
    labels = [policy.label for policy in result.policies]
    assert len(set(labels)) == len(labels) == 4
    assert len({label.partition(": ")[2] for label in labels}) == 1


@pytest.mark.parametrize("algo", ["moql", "sb3_ppo"])
def test_preferences_of_a_sweep_that_read_alike_are_refused(algo):
    if algo == "sb3_ppo":
        require("stable_baselines3")
    weights = [[0.33331, 0.66669], [0.33332, 0.66668], [1, 0]]
    with pytest.raises(
        ValueError, match=r"\['weights'\] must differ in their first three digits, got \['0.333 0.667'\]"
    ):
        train_classic(algo, DENT, **{**INDEX, "total_timesteps": 50, "seed": 0, "algo_kwargs": {"weights": weights}})


#: In a process that has not imported the library yet, without ``distutils``.
FIRST_IMPORT = """
import importlib.util
import sys

import numpy as np

from llm_morl_agents.classic import train_classic

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "distutils" else find(name, *rest)
sys.modules.pop("distutils", None), sys.modules.pop("distutils.util", None)
before = np.get_printoptions()
assert not any(name.startswith("morl_baselines") for name in sys.modules)
train_classic({algo!r}, {env!r}, view="index", env_kwargs={kwargs!r}, total_timesteps=60, seed=0, algo_kwargs={own!r})
from morl_baselines.common import morl_algorithm

assert np.get_printoptions() == before, np.get_printoptions()
assert morl_algorithm.strtobool.__module__ == "llm_morl_agents.classic.compat"
"""


def test_the_first_import_changes_nothing_and_needs_no_distutils():
    code = FIRST_IMPORT.format(algo="gpi_ls", env=DENT, kwargs=INDEX["env_kwargs"], own=TINY["gpi_ls"])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_conditioned_networks_are_asked_what_fronts_are_valued_at():
    from llm_morl_agents.fronts.evaluation import evaluate_front

    result = train("envelope")
    found = evaluate_front(result.policies, DENT, n_episodes=4, seeds=range(8))
    np.testing.assert_allclose(np.array(found.weights), found.conditions, atol=1e-6)


def test_float_observations_of_eupg():
    env, obs = gym.make("Wide-MO-v0"), np.array([0.7, 0.2], np.float32)
    assert stored(library("eupg", env), "obs", obs, 1) == [0, 0]
    with float_observations(History()):
        assert stored(library("eupg", env), "obs", obs, 1) == pytest.approx([0.7, 0.2])


def test_device_is_ignored_by_envelope(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises((AssertionError, RuntimeError)):  # device="cpu" was asked for
        library("envelope", gym.make("Wide-MO-v0"), device="cpu")
    with on_processor(History()):
        assert str(library("envelope", gym.make("Wide-MO-v0"), device="cpu").device) == "cpu"


def test_logging_needs_no_account(monkeypatch):
    from morl_baselines.multi_policy.pcn.pcn import PCN

    env, history = gym.make(DENT, **INDEX["env_kwargs"], view="index"), History()
    factors = np.ones(3, np.float32)

    def online(*args, mode=None, **kwargs):
        assert mode != "online", "an account is asked for"

    import wandb

    monkeypatch.setattr(wandb, "init", online)
    with pytest.raises(AssertionError, match="an account"):
        PCN(env=env, scaling_factor=factors, log=True)
    with morl_baselines_compat(0, history):
        agent = PCN(env=env, scaling_factor=factors, log=True, seed=0)
        agent.train(100, env, np.zeros(2), num_er_episodes=10, num_model_updates=1, num_points_pf=2)
    names = {name for row in history.rows for name in row}
    assert {"train/loss", "eval/hypervolume", "eval/front"} <= names
    assert wandb.init is online


def test_every_patch_is_needed_by_the_installed_release():
    version = importlib.metadata.version("morl-baselines")
    assert [patch.name for patch in PATCHES if not patch.needed(version)] == []


def test_refused_text_view_fails_upstream():
    with pytest.raises((TypeError, AttributeError)):
        library("envelope", gym.make(DENT, view="text"))


@pytest.mark.parametrize("form", ["matrix", "mapping"])
@pytest.mark.parametrize("algo", ["envelope", "pcn"])
def test_refused_observations_that_are_not_flat_fail_upstream(algo, form):
    env = gym.make(DENT, **INDEX["env_kwargs"], view="index")
    flat = env.observation_space
    if form == "matrix":
        env, error, words = gym.wrappers.ReshapeObservation(env, (2, flat.shape[0] // 2)), RuntimeError, "Kernel|shapes"
    else:
        space = gym.spaces.Dict({"seen": flat})
        env = gym.wrappers.TransformObservation(env, lambda seen: {"seen": seen}, space)
        error, words = TypeError, "'NoneType' object is not subscriptable"

    def run():
        if algo == "envelope":
            return library(algo, env).train(20, weight=np.array([0.5, 0.5]))
        from morl_baselines.multi_policy.pcn.pcn import PCN

        agent = PCN(env=env, scaling_factor=np.ones(3, np.float32), log=False)
        return agent.train(20, env, np.zeros(2), num_er_episodes=2, num_model_updates=1, num_points_pf=1)

    with silenced(), sandbox(), seeded(0), pytest.raises(error, match=words):
        run()


ONE = {"view": "index", "env_kwargs": {"k": 3, "objectives": ("format",)}, "total_timesteps": 60, "seed": 0}


def test_refused_single_objective_fails_upstream(monkeypatch):
    """A population shares among neighbours in weights, and one objective has one weight."""
    monkeypatch.setattr("llm_morl_agents.classic.train.assert_supported", lambda *args: None)
    with pytest.raises(AssertionError) as raised:
        train_classic("morld", "ToolCall-MO-v0", algo_kwargs=TINY["morld"], **ONE)
    assert raised.traceback[-1].name == "nearest_neighbors"


@pytest.mark.parametrize("algo", [name for name in NAMES if name not in ("morld", "pql")])
def test_other_algorithms_learn_one_objective(algo):
    """MO-PPO of a single reward is PPO: a use, and a check of tasks."""
    own = {name: value for name, value in TINY[algo].items() if name != "weights"}
    own |= {"weights": [[1]]} if sweeps(algo) else {}
    result = train_classic(algo, "ToolCall-MO-v0", algo_kwargs=own, **{**ONE, "total_timesteps": 300})
    assert result.front.shape[1] == 1
    assert result.policy([1]).returns([0, 1], split="eval", seed=0).shape == (2, 1)


def sweeps(algo):
    """Whether it trains a policy for each preference."""
    return ALGORITHMS[algo].policies == "sweep"


def test_refused_starts_fail_upstream():
    """A table over all observations there could be is too large; numbered, state 0 is the start of one problem only."""
    env = gym.make("ToolCall-MO-v0", objectives=("format", "correctness"))
    with silenced(), pytest.raises(ValueError, match=r"too large|too big|dimension"):
        library("pql", env).train(10, env)


def test_dents_come_within_reach_of_linear_weights():
    """Bent objectives change what weights prefer, not what dominates; what is given back is as the task pays."""
    result = train("envelope", algo_kwargs={**TINY["envelope"], "curvature": 30.0})
    assert {policy.weights for policy in result.policies} == {None}
    returns = played(result)[:, 0]
    front = gym.make(DENT).unwrapped.pareto_front()
    assert all((front >= point - 1e-5).all(axis=1).any() for point in returns)
    assert result.front == pytest.approx(returns, abs=1e-5)  # claims of one problem and deterministic policies


def test_env_without_a_spec_fails_upstream():
    made = gym.make(DENT, view="index", k=3)
    bare = type(made.unwrapped)(made.unwrapped.task, k=3)
    with pytest.raises(AttributeError, match="id"):
        library("envelope", bare).get_config()


def test_pcn_claims_single_episodes():
    """Why fronts are re-evaluated: on rewards that are nothing but luck the claim is far above the mean."""

    class Lucky(Wide):
        action_space = gym.spaces.Discrete(2)

        def step(self, action):
            pay = self.np_random.random(2).astype(np.float32)
            return np.array([0.7, 0.2], np.float32), pay, True, False, {}

    env = Lucky()
    env.spec = gym.registry["Wide-MO-v0"]
    from morl_baselines.multi_policy.pcn.pcn import PCN

    with morl_baselines_compat(0):
        env.reset(seed=0)
        env.action_space.seed(0)
        agent = PCN(env=env, scaling_factor=np.ones(3, np.float32), log=False, seed=0)
        agent.train(200, env, np.zeros(2), num_er_episodes=50, num_model_updates=1, num_points_pf=1)
    claimed = np.array([e[2][0].reward for e in agent.experience_replay]).max(axis=0)
    assert (claimed > 0.9).all()
    stage = Stage(lambda: Lucky(), np.asarray)
    policy = ClassicPolicy(
        "x", None, claimed, stage, lambda n, rng: Stateless(lambda obs, masks: np.zeros(len(obs), int))
    )
    assert (policy.returns([0] * 200, split="train", seed=0).mean(axis=0) < 0.6).all()
