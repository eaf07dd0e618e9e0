"""Checkpoints: exact resume in a fresh process, interruption, and every way in which a file can fail to fit."""

import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_task import comparable, correct, load, make_env, parameters_of, save_policy, short

from llm_morl_agents import checkpoint
from llm_morl_agents.agents import AGENTS, DVAO, GDPO, GRPO
from llm_morl_agents.checkpoint import CheckpointError, file_of, load_trained_policy, read_header
from llm_morl_agents.grouped_pg import GroupedPG
from llm_morl_agents.weighters import SAW, GradientInfluence, Static, Weighting

#: Agents whose continuation must equal not having stopped: class, constructor's options, `load_policy`'s options.
CASES = {name: (cls, {}, {}) for name, cls in AGENTS.items()} | {
    "saw": (GDPO, {"weighter": SAW(ema=0.7), "preference": [1.0, 2.0]}, {}),
    "schedule": (GRPO, {"schedule": "cosine", "warmup_steps": 2}, {}),
    "kl": (GDPO, {"kl_coef": 0.1, "entropy_coef": 0.01, "weight_decay": 0.1}, {}),
    "dynamic": (GRPO, {"dynamic_sampling": True, "max_resamples": 2, "stop": ["h"]}, {}),
    "epochs": (GDPO, {"epochs": 2, "mini_batches": 3, "micro_batches": 2, "ratio": "sequence"}, {}),
    "no baseline": (AGENTS["reinforce"], {"baseline": None}, {}),
    "any engine": (GRPO, {}, {"fast": False}),
    "bfloat16": (GRPO, {"kl_coef": 0.1}, {"dtype": "bfloat16"}),
    "exact gradients": (
        GDPO,
        {"weighter": GradientInfluence(eta=1.0, mu=0.01, accumulate=2, clip_norm=1.0, parameters=["mlp"])},
        {},
    ),
    "jvp": (GDPO, {"weighter": GradientInfluence("jvp", eta=1.0, mu=0.01, groups=3), "dynamic_sampling": True}, {}),
    "finite": (GRPO, {"weighter": GradientInfluence("jvp", eta=1.0, mu=0.01, method="finite")}, {"fast": False}),
    "realised": (GDPO, {"weighter": GradientInfluence("realised", eta=1.0, mu=0.01)}, {}),
    "lora": (GDPO, {"kl_coef": 0.1}, {"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}),
}
STOP_AT, STEPS = 2, 5


def environment(directory):
    return make_env(directory, num_envs=24, group_size=4)


def make(case, directory):
    cls, options, policy_options = CASES[case]
    return cls(environment(directory), load(directory, **policy_options), seed=11, learning_rate=1e-2, **options)


def continue_all(directory, runs):
    """What the fresh process does: load every case, train to the end, save; and write down the reports."""
    for case, (cls, _, _) in CASES.items():
        path = Path(runs) / case
        agent, rows = cls.load(path / "half", environment(directory)), []
        for steps in (1, STEPS - STOP_AT - 1):  # in two calls: the schedule's horizon must come from the file
            agent.learn(steps, [lambda report, rows=rows: rows.append(comparable(report))])
        agent.predict(["a?", "b?"])
        agent.save(path / "continued")
        (path / "rows.json").write_text(json.dumps(rows))


def in_a_fresh_process(code, *arguments, **options):
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    program = f"import sys, torch; torch.set_num_threads(1); import test_checkpoint; {code}"
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], env={**os.environ, "PYTHONPATH": path}, **options
    )


@pytest.fixture(scope="module")
def resumed(policy_directory, tmp_path_factory):
    """Reports of every case in one go; and, in files, its half way, its end, and its end after a fresh start there."""
    runs = tmp_path_factory.mktemp("runs")
    rows = {}
    for case in CASES:
        whole, rows[case] = make(case, policy_directory), []
        whole.predict(["a?"])
        whole.learn(STEPS, [lambda report, case=case: rows[case].append(comparable(report))])
        whole.predict(["a?", "b?"])
        whole.save(runs / case / "whole")
        half = make(case, policy_directory)
        half.predict(["a?"])
        half.learn(STEPS, [lambda report: report.step + 1 < STOP_AT], checkpoint_path=runs / case / "half")
    process = in_a_fresh_process(
        "test_checkpoint.continue_all(*sys.argv[1:])", policy_directory, runs, stderr=subprocess.PIPE, text=True
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return runs, rows


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_continuing_in_a_fresh_process_equals_not_having_stopped(resumed, case):
    runs, rows = resumed
    continued = json.loads((runs / case / "rows.json").read_text())
    assert continued == rows[case][STOP_AT:]
    assert len(continued) == STEPS - STOP_AT
    assert continued[-1]["step"] == STEPS - 1
    whole, other = (load_file(runs / case / f"{name}.safetensors") for name in ("whole", "continued"))
    assert whole.keys() == other.keys()
    for name, tensor in whole.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name
    assert read_header(runs / case / "whole") == read_header(runs / case / "continued")
    half = load_file(runs / case / "half.safetensors")
    assert any(not torch.equal(tensor, whole[name]) for name, tensor in half.items())


def test_what_a_checkpoint_holds(resumed):
    runs, _ = resumed
    header, tensors = read_header(runs / "saw" / "half"), load_file(runs / "saw" / "half.safetensors")
    assert (header["class"], header["step_count"], header["weighter"]) == ("GDPO", STOP_AT, "saw(ema=0.7)")
    assert header["options"]["preference"] == [1.0, 2.0]
    assert header["objectives"] == ["correct", "short"]
    assert tensors["weighter/share"].dtype == torch.float64
    assert {name.split("/")[0] for name in tensors} == {"policy", "optimizer", "weighter"}
    assert "reference" in {name.split("/")[0] for name in load_file(runs / "kl" / "half.safetensors")}
    lora = load_file(runs / "lora" / "half.safetensors")
    assert all("lora_" in name for name in lora)  # the base is not written
    with safe_open(runs / "saw" / "half.safetensors", framework="pt") as opened:
        assert set(opened.metadata()) == {"agent"}


def test_the_gain_of_the_last_step_is_kept_where_it_is_needed(resumed):
    runs, rows = resumed
    assert load_file(runs / "realised" / "half.safetensors")["realised"].dtype == torch.float64
    assert "realised" not in load_file(runs / "jvp" / "half.safetensors")
    for case in ("exact gradients", "jvp", "finite", "realised"):  # the weights depend on what was measured
        assert rows[case][-1]["weight/correct"] != rows[case][STOP_AT]["weight/correct"]


def test_nothing_is_pickled(policy_directory, tmp_path, monkeypatch):
    agent = make("saw", policy_directory).learn(1)

    def refuse(*args, **kwargs):
        raise AssertionError("pickle")

    for module, name in [(pickle, "dump"), (pickle, "dumps"), (pickle, "load"), (pickle, "loads")]:
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    agent.save(tmp_path / "agent")
    assert GDPO.load(tmp_path / "agent", environment(policy_directory)).step_count == 1


def test_names_of_files(tmp_path):
    assert file_of("run/agent") == Path("run/agent.safetensors")
    assert file_of("run/agent.safetensors") == Path("run/agent.safetensors")
    assert file_of("run/agent.v1") == Path("run/agent.v1.safetensors")


def test_save_returns_its_file_and_makes_folders(policy_directory, tmp_path):
    file = make("grpo", policy_directory).save(tmp_path / "a" / "b" / "agent")
    assert file == tmp_path / "a" / "b" / "agent.safetensors"
    assert [path.name for path in file.parent.iterdir()] == ["agent.safetensors"]


@pytest.mark.parametrize("failing", ["save_file", "replace"])
def test_an_interrupted_write_leaves_the_old_checkpoint(policy_directory, tmp_path, monkeypatch, failing):
    agent = make("saw", policy_directory)
    file = agent.learn(1).save(tmp_path / "agent")
    before = file.read_bytes()
    agent.learn(1)

    def half_written(tensors, path, metadata=None):
        Path(path).write_bytes(before[:100])
        raise OSError("no space left on device")

    def no_rename(*args):
        raise OSError("no rename")

    if failing == "save_file":
        monkeypatch.setattr(checkpoint, "save_file", half_written)
    else:
        monkeypatch.setattr(checkpoint.os, "replace", no_rename)
    with pytest.raises(OSError, match=r"no space|no rename"):
        agent.save(tmp_path / "agent")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["agent.safetensors"]
    assert GDPO.load(tmp_path / "agent", environment(policy_directory)).step_count == 1


def test_saving_changes_nothing(policy_directory, tmp_path):
    agent = make("saw", policy_directory).learn(2)
    parameters = parameters_of(agent.policy)
    state = copy.deepcopy(dict(agent.weighter_state))
    agent.save(tmp_path / "agent")
    for name, value in parameters_of(agent.policy).items():
        np.testing.assert_array_equal(value, parameters[name])
    np.testing.assert_array_equal(agent.weighter_state["share"], state["share"])


def test_a_given_policy_is_overwritten(policy_directory, tmp_path):
    agent = make("kl", policy_directory).learn(2)
    agent.save(tmp_path / "agent")
    policy = load(policy_directory)
    with torch.no_grad():
        for p in policy.trainable_parameters().values():
            p.add_(1.0)
    loaded = GDPO.load(tmp_path / "agent", environment(policy_directory), policy=policy)
    assert loaded.policy is policy
    for name, value in parameters_of(agent.policy).items():
        np.testing.assert_array_equal(parameters_of(policy)[name], value)
    assert comparable(loaded.step()) == comparable(agent.step())  # the KL term too: the reference was saved


def test_the_trained_policy_alone(policy_directory, tmp_path):
    agent = make("saw", policy_directory).learn(2)
    agent.save(tmp_path / "agent")
    policy = load_trained_policy(tmp_path / "agent")
    for name, value in parameters_of(agent.policy).items():
        np.testing.assert_array_equal(parameters_of(policy)[name], value)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_trained_policy(tmp_path / "other")


@dataclass(frozen=True)
class Counting(Static):
    """A weighter that is not built in, with JSON and array state."""

    rate: float = 0.5

    def init(self, objectives):
        return {"calls": 0, "scalar": np.array(1.5), "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3))}

    def __call__(self, signals, state):
        return Weighting(np.array([1.0, 2.0])), {**state, "calls": state["calls"] + 1}


def test_a_weighter_that_is_not_built_in(policy_directory, tmp_path):
    env = environment(policy_directory)
    agent = GRPO(env, load(policy_directory), weighter=Counting()).learn(2)
    agent.save(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="weighter Counting is not built in; pass weighter="):
        GRPO.load(tmp_path / "agent", env)
    state = GRPO.load(tmp_path / "agent", env, weighter=Counting()).weighter_state
    assert state["calls"] == 2
    assert state["scalar"].shape == ()
    np.testing.assert_array_equal(state["matrix"], np.arange(6.0).reshape(2, 3))


# --- what does not fit


@pytest.fixture
def saved(policy_directory, tmp_path):
    make("saw", policy_directory).learn(1).save(tmp_path / "agent")
    return tmp_path / "agent"


def test_wrong_class(saved, policy_directory):
    with pytest.raises(CheckpointError, match="holds a GDPO, not a GRPO"):
        GRPO.load(saved, environment(policy_directory))


@pytest.mark.parametrize(
    ("rewards", "message"),
    [((short, correct), r"\['correct', 'short'\].*has \['short', 'correct'\]"), ((correct,), r"has \['correct'\] in")],
)
def test_wrong_objectives(saved, policy_directory, rewards, message):
    with pytest.raises(CheckpointError, match=message):
        GDPO.load(saved, make_env(policy_directory, rewards))


def test_wrong_bounds(saved, policy_directory):
    env = environment(policy_directory)
    env.return_space = type(env.reward_space)(np.zeros(2, np.float32), np.full(2, 2, np.float32))
    with pytest.raises(CheckpointError, match=r"\[0.0, 0.0\], \[1.0, 1.0\].*\[2.0, 2.0\]"):
        GDPO.load(saved, env)


@pytest.mark.parametrize(("sizes", "message"), [({"hidden_size": 8}, "has shape"), ({"layers": 2}, "missing")])
def test_wrong_policy(saved, policy_directory, tmp_path, sizes, message):
    other = load(save_policy(tmp_path / "other", **sizes))
    before = parameters_of(other)
    with pytest.raises(CheckpointError, match=f"does not fit the policy .*other.*{message}"):
        GDPO.load(saved, environment(policy_directory), policy=other)
    for name, value in parameters_of(other).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("weighter", [Static(), SAW(ema=0.5), SAW(), Counting()])
def test_wrong_weighter(saved, policy_directory, weighter):
    with pytest.raises(CheckpointError, match=r"the checkpoint's weighter is saw\(ema=0.7\), got"):
        GDPO.load(saved, environment(policy_directory), weighter=weighter)


def test_the_same_weighter_may_be_given(saved, policy_directory):
    assert GDPO.load(saved, environment(policy_directory), weighter=SAW(ema=0.7)).weighter == SAW(ema=0.7)


def test_a_bare_grouped_pg_cannot_be_loaded(policy_directory, tmp_path):
    env = environment(policy_directory)
    GroupedPG(env, load(policy_directory), estimator=GRPO.composition).save(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="a bare GroupedPG cannot be loaded"):
        GroupedPG.load(tmp_path / "agent", env)


def test_no_file(policy_directory, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*agent\.safetensors"):
        DVAO.load(tmp_path / "agent", environment(policy_directory))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x00" * 64, {}, {"agent": "{"}, {"agent": "[]"}, {"agent": "3"}]
)
def test_not_a_checkpoint(policy_directory, tmp_path, content):
    file = tmp_path / "agent.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file({"x": torch.zeros(1)}, file, metadata=content)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of an agent|has checkpoint format None"):
        GDPO.load(file, environment(policy_directory))


def test_a_truncated_checkpoint(saved, policy_directory):
    file = file_of(saved)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a checkpoint of an agent"):
        GDPO.load(saved, environment(policy_directory))


def test_unknown_format(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"agent": '{"format": 99}'})
    with pytest.raises(CheckpointError, match="has checkpoint format 99; this version reads 1"):
        read_header(tmp_path / "a")


# --- Ctrl-C


def train_until_interrupted(directory, path):
    """What the interrupted process does; it tells the test when it is ready for a signal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit an ignored SIGINT
    agent = make("saw", directory)

    def until_handled(report):
        if report.step == 1:
            print("training", flush=True)
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # back after the first signal
                time.sleep(0.01)

    agent.learn(1000, [until_handled], checkpoint_path=path)
    print("returned", agent.interrupted, agent.step_count, flush=True)

    def for_ever(report):
        print("training again", flush=True)
        while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            time.sleep(0.01)
        print("seen", flush=True)
        time.sleep(60)

    try:
        agent.learn(1000, [for_ever], checkpoint_path=path)
    except KeyboardInterrupt:
        print("stopped at once", flush=True)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_in_a_real_process(policy_directory, tmp_path):
    process = in_a_fresh_process(
        "test_checkpoint.train_until_interrupted(*sys.argv[1:])",
        policy_directory,
        tmp_path / "agent",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def line():
        return process.stdout.readline().strip()

    try:
        assert line() == "training"
        process.send_signal(signal.SIGINT)
        assert line() == "returned True 2"
        agent = GDPO.load(tmp_path / "agent", environment(policy_directory))
        assert agent.step_count == 2
        assert line() == "training again"
        process.send_signal(signal.SIGINT)
        assert line() == "seen"
        process.send_signal(signal.SIGINT)
        assert line() == "stopped at once"
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
    never = make("saw", policy_directory)
    never.learn(2)
    assert comparable(agent.step()) == comparable(never.step())  # continuing equals not having stopped
    assert read_header(tmp_path / "agent")["step_count"] == 2  # the second signal saved nothing
